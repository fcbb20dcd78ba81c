//! `lariat run` with the real binaries over a real socket: bytes, statuses, streams, failures.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lariat_testing::agent::memory_kib;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};

#[test]
fn bytes_and_streams_are_exact() {
    let (fleet, _agent) = TestFleet::with_agent();
    let all_bytes = r"i=0; while [ $i -lt 256 ]; do printf '\'$(printf %03o $i); i=$((i+1)); done";
    let output = fleet.run(["run", "web1", "--", &format!("{all_bytes}; printf 'e\\0rr' >&2")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>());
    assert_eq!(output.stderr, b"e\0rr");
    let nothing = fleet.run(["run", "web1", "--", "true"]);
    assert!(nothing.stdout.is_empty() && nothing.stderr.is_empty());
}

#[test]
fn exit_statuses_are_the_commands_own() {
    let (fleet, _agent) = TestFleet::with_agent();
    let code = |command: &[&str]| {
        let args: Vec<&str> = ["run", "web1", "--"].iter().chain(command).copied().collect();
        fleet.run(args).status.code()
    };
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["exit 7"]), Some(7));
    assert_eq!(code(&["exit 255"]), Some(255));
    assert_eq!(code(&["kill -9 $$"]), Some(137));
    assert_eq!(code(&["kill -TERM $$"]), Some(143));
    assert_eq!(code(&["kill -PIPE $$"]), Some(141));
    assert_eq!(code(&["no-such-program-at-all"]), Some(127));
    assert_eq!(code(&["no-such-program-at-all", "x"]), Some(127));
    assert_eq!(code(&["/etc/passwd", "x"]), Some(126));
    assert_eq!(code(&["sh", "-c", "exit 9"]), Some(9));
}

#[test]
fn one_word_is_a_shell_line_and_several_are_an_exact_argv() {
    let (fleet, _agent) = TestFleet::with_agent();
    assert_eq!(fleet.ok(["run", "web1", "--", "echo $((1+1)) | tr 2 3"]), "3\n");
    let odd = ["run", "web1", "--", "printf", "<%s>", "a b", "$HOME", "*", "", "'\"\\"];
    assert_eq!(fleet.ok(odd), "<a b><$HOME><*><><'\"\\>");
}

#[test]
fn the_environment_is_clean_and_the_directory_is_home() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut command = fleet.lariat();
    command.env("SECRET_OF_MINE", "1").args(["run", "web1", "--env", "A=b c", "--", "env"]);
    let env = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut names: Vec<&str> = env.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let expected = ["A", "HOME", "LANG", "LARIAT_HOST", "LOGNAME", "PATH", "PWD", "SHELL", "USER"];
    // The shell itself sets PWD, and perhaps SHLVL and _.
    names.retain(|name| !["SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(names, expected, "{env}");
    assert!(env.contains("A=b c\n") && env.contains("LARIAT_HOST=web1\n"), "{env}");
    assert!(env.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"));
    assert_eq!(fleet.ok(["run", "web1", "--", "[ \"$PWD\" = \"$HOME\" ] && echo home"]), "home\n");
    assert_eq!(fleet.ok(["run", "web1", "--cwd", "/usr", "--", "pwd"]), "/usr\n");
    let error = fleet.fails(255, ["run", "web1", "--cwd", "/no/such", "--", "pwd"]);
    assert!(error.contains("web1") && error.contains("/no/such"), "{error}");
}

#[test]
fn stdin_is_empty_unless_it_is_sent_and_then_exact() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut command = fleet.lariat();
    command.args(["run", "web1", "--", "wc -c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its stdin stays open: the command must not wait for it.
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.trim(), "0");
    child.wait().unwrap();

    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut command = fleet.lariat();
    command.args(["run", "web1", "-i", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
}

#[test]
fn a_command_that_reads_no_stdin_does_not_hold_us() {
    let (fleet, _agent) = TestFleet::with_agent();
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let output = fleet.lariat().args(["run", "web1", "-i", "--", "exit 5"]).stdin(zero).output();
    assert_eq!(output.unwrap().status.code(), Some(5));
}

#[test]
fn a_command_that_stops_reading_stdin_goes_on() {
    let (fleet, _agent) = TestFleet::with_agent();
    for line in ["head -c 1 >/dev/null; exec 0<&-; seq 3; exit 5", "exec 0<&-; seq 3; exit 5"] {
        for _ in 0..5 {
            let zero = std::fs::File::open("/dev/zero").unwrap();
            let mut run = fleet.lariat();
            let output = run.args(["run", "web1", "-i", "--", line]).stdin(zero).output().unwrap();
            assert_eq!((output.status.code(), output.stdout), (Some(5), b"1\n2\n3\n".to_vec()));
        }
    }
}

#[test]
fn a_time_limit_ends_the_whole_tree() {
    let (fleet, _agent) = TestFleet::with_agent();
    let marker = fleet.path("pids");
    // A background child and a double fork, all of which must end.
    let line = format!(
        "sleep 300 & echo $! > {0}; (setsid sleep 301 & echo $! >> {0}); sleep 302",
        marker.display()
    );
    let began = Instant::now();
    let output = fleet.run(["run", "web1", "--timeout", "500ms", "--", &line]);
    assert_eq!(output.status.code(), Some(124));
    assert!(began.elapsed() < Duration::from_secs(10));
    let pids = std::fs::read_to_string(marker).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        wait::until("the command's tree to go", || {
            rustix::process::test_kill_process(pid).is_err().then_some(())
        });
    }
}

#[test]
fn three_hundred_megabytes_pass_through_a_small_controller() {
    let (fleet, agent) = TestFleet::with_agent();
    let mut command = fleet.lariat();
    command.args(["run", "web1", "--", "head -c 300000000 /dev/zero"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut peak) = (0, 0);
    loop {
        let read = stdout.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        total += read;
        if total % 16 == 0 {
            peak = peak.max(memory_kib(Pid::from_child(&child), "RssAnon").unwrap_or_default());
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(total, 300_000_000);
    assert!(peak < 10 * 1024, "{peak} KiB of its own in the controller");
    assert!(agent.memory_kib("RssAnon") < 16 * 1024, "{} KiB", agent.memory_kib("RssAnon"));
}

#[test]
fn a_slow_reader_slows_the_command_and_nothing_grows() {
    let (fleet, agent) = TestFleet::with_agent();
    let mut command = fleet.lariat();
    command.args(["run", "web1", "--", "yes | head -c 100000000; echo done >&2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Nothing is read: the whole chain fills up and stops.
    let mut before = u64::MAX;
    wait::until("the chain to stand still", || {
        let now = cpu_ticks(Pid::from_child(&child)) + cpu_ticks(agent.pid());
        std::thread::park_timeout(Duration::from_millis(300));
        std::mem::replace(&mut before, now).eq(&now).then_some(())
    });
    assert!(memory_kib(Pid::from_child(&child), "RssAnon").unwrap() < 10 * 1024);
    assert!(agent.memory_kib("RssAnon") < 16 * 1024);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 100_000_000);
    assert!(child.wait().unwrap().success());
}

fn cpu_ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    let (fleet, _agent) = TestFleet::with_agent();
    let marker = fleet.path("pid");
    let line = format!("echo $$ > {}; exec yes", marker.display());
    let mut child =
        fleet.lariat().args(["run", "web1", "--", &line]).stdout(Stdio::piped()).spawn().unwrap();
    let mut two = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut two).unwrap();
    assert_eq!(&two, b"y\n");
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let pid: i32 = std::fs::read_to_string(marker).unwrap().trim().parse().unwrap();
    wait::until("the remote command to end", || {
        rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err().then_some(())
    });
}

#[test]
fn ctrl_c_reaches_the_command() {
    let (fleet, _agent) = TestFleet::with_agent();
    let line = "trap 'echo caught; exit 42' INT; echo ready; while :; do sleep 0.1; done";
    let mut child =
        fleet.lariat().args(["run", "web1", "--", line]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "caught\n");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn a_background_child_that_holds_stdout_does_not_hold_us() {
    let (fleet, _agent) = TestFleet::with_agent();
    let began = Instant::now();
    let output = fleet.run(["run", "web1", "--", "echo first; sleep 60 & exit 3"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"first\n"[..]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn json_tells_all_of_it() {
    let (fleet, _agent) = TestFleet::with_agent();
    let json = |args: &[&str]| -> serde_json::Value {
        let args: Vec<&str> = ["run", "web1", "--json"].iter().chain(args).copied().collect();
        serde_json::from_slice(&fleet.run(args).stdout).unwrap()
    };
    let object = json(&["--", "echo out; echo err >&2; exit 4"]);
    assert_eq!(object["host"], "web1");
    assert_eq!(object["exit"], 4);
    assert_eq!((&object["stdout"], &object["stderr"]), (&"out\n".into(), &"err\n".into()));
    assert!(object["seconds"].as_f64().unwrap() > 0.0);
    let object = json(&["--", "printf '\\377'"]);
    assert_eq!(object["stdout_base64"], "/w==");
    assert_eq!(json(&["--", "kill -9 $$"])["signal"], 9);
}

#[test]
fn failures_of_lariat_are_one_line_and_255() {
    let (fleet, agent) = TestFleet::with_agent();
    let error = fleet.fails(255, ["run", "web2", "--", "true"]);
    assert!(error.contains("web2") && error.contains("web1"), "the near miss is named: {error}");
    fleet.fails(255, ["run", "web1"]);
    fleet.fails(255, ["run", "web1", "--no-such-option", "--", "true"]);

    let other = TestFleet::new();
    let _others = other.agent("web1");
    other.set_address("web1", agent.address);
    let error = other.fails(255, ["run", "web1", "--", "true"]);
    assert!(error.contains("web1") && error.contains("certificate"), "{error}");

    let address = agent.address;
    drop(agent);
    let error = fleet.fails(255, ["run", "web1", "--", "true"]);
    assert!(
        error.contains("connection refused") && error.contains(&address.to_string()),
        "{error}"
    );
}

#[test]
fn a_cold_run_takes_three_round_trips() {
    let (fleet, agent) = TestFleet::with_agent();
    let delay = Duration::from_millis(100);
    let slow = Faulty::start(agent.address, Fault { delay, ..Fault::default() });
    fleet.set_address("web1", slow.address);
    // The proxy answers TCP's own round trip itself, which leaves two of the three. A machine that is busy with
    // other things takes longer now and then: the quickest of several tells how many there are.
    let took = || {
        let began = Instant::now();
        fleet.ok(["run", "web1", "--", "true"]);
        began.elapsed()
    };
    let quickest = (0..5).map(|_| took()).min().unwrap();
    assert!(quickest >= 4 * delay, "{quickest:?}: less than two round trips can't be");
    assert!(quickest < 6 * delay, "{quickest:?}: three round trips after TCP's");
}

#[test]
fn an_idle_agent_is_small_and_nothing_is_left_open() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.ok(["run", "web1", "--", "true"]);
    let before = agent.descriptors();
    for _ in 0..20 {
        fleet.ok(["run", "web1", "--", "echo x"]);
    }
    wait::until("descriptors to be closed", || (agent.descriptors() <= before).then_some(()));
    assert!(agent.memory_kib("RssAnon") < 8 * 1024, "{} KiB", agent.memory_kib("RssAnon"));
    // One supervisor waits for the next command; no other process may be left, and no zombie.
    wait::until("the children to go", || {
        let children = format!("/proc/{0}/task", agent.pid().as_raw_nonzero());
        let tasks = std::fs::read_dir(children).unwrap().flatten();
        let lists =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children = lists.map(|list| list.split_whitespace().count()).sum::<usize>();
        (children <= 1).then_some(())
    });
}

#[test]
fn sigterm_ends_the_agent_in_order() {
    let (_fleet, mut agent) = TestFleet::with_agent();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
}
