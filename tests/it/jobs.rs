//! Detached jobs: they need neither their controller nor the agent, and belong to their key only.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};

/// Starts a job, and returns its id.
fn detach(fleet: &TestFleet, line: &str) -> String {
    let said = fleet.ok(["run", "web1", "--detach", "--", line]);
    assert_eq!(said.lines().count(), 1, "{said}");
    let id = said.split_whitespace().next_back().unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{said}");
    id
}

fn listed(fleet: &TestFleet) -> Vec<serde_json::Value> {
    let text = fleet.ok(["jobs", "web1", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a job has ended, and returns its entry in the list.
fn ended(fleet: &TestFleet, job: &str) -> serde_json::Value {
    wait::until("the job's end", || {
        let found = listed(fleet).into_iter().find(|found| found["job"] == job).unwrap();
        (found["state"] != "running").then_some(found)
    })
}

/// A command that prints numbers until it has printed them all and a file exists.
fn counting(gate: &Path, status: u8) -> String {
    format!(
        "n=0; while [ $n -lt 300 ] || ! [ -e {} ]; do echo $n; n=$((n+1)); sleep 0.01; done; exit {status}",
        gate.display()
    )
}

/// Checks that all numbers are there once and in order, and returns their count.
fn counted(text: &str) -> usize {
    for (number, line) in text.lines().enumerate() {
        assert_eq!(line, number.to_string());
    }
    text.lines().count()
}

#[test]
fn a_job_goes_on_without_anybody_and_is_read_afterwards() {
    let (fleet, _agent) = TestFleet::with_agent();
    let job = detach(&fleet, "echo one; echo two; echo err >&2; printf three; exit 3");
    let found = ended(&fleet, &job);
    assert_eq!((&found["exit"], &found["detached"]), (&3.into(), &true.into()), "{found}");
    let output = fleet.run(["logs", "web1", &job[..6]]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"one\ntwo\nthree"[..], &b"err\n"[..])
    );
    let output = fleet.run(["attach", "web1", &job, "--tail", "1"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"three"[..], &b"err\n"[..])
    );
    assert_eq!(fleet.ok(["logs", "web1", "--tail", "2", "-f"]), "two\nthree");
    let table = fleet.ok(["jobs", "web1"]);
    assert!(table.contains(&job[..12]) && table.contains("exit 3"), "{table}");
    let error = fleet.fails(255, ["kill", "web1", &job]);
    assert!(error.contains("kill on web1") && error.contains("ended already"), "{error}");
}

#[test]
fn every_line_comes_once_though_the_agent_is_killed_three_times() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let gate = fleet.path("gate");
    let job = detach(&fleet, &counting(&gate, 7));
    let mut attach = fleet.lariat();
    attach.args(["attach", "web1", &job]).stdout(Stdio::piped());
    let mut attach = attach.spawn().unwrap();
    let mut lines = BufReader::new(attach.stdout.take().unwrap()).lines();
    let mut text = String::new();
    for kill in 1..=3 {
        let upto = kill * 40;
        while text.lines().count() < upto {
            text += &(lines.next().unwrap().unwrap() + "\n");
        }
        agent.kill_and_restart();
    }
    fs::write(gate, "").unwrap();
    for line in lines {
        text += &(line.unwrap() + "\n");
    }
    assert_eq!(attach.wait().unwrap().code(), Some(7));
    assert!(counted(&text) >= 300);
    // A controller that attaches only now gets the same.
    let output = fleet.run(["attach", "web1", &job]);
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(7), text));
}

#[test]
fn a_job_whose_own_command_restarts_the_agent_runs_to_its_end() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let gate = fleet.path("gate");
    let line = format!(
        "echo before; kill -9 {}; while ! [ -e {} ]; do sleep 0.01; done; echo after; exit 5",
        agent.pid().as_raw_nonzero(),
        gate.display()
    );
    // The answer may be lost with the agent: the controller comes back for it.
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--detach", "--", &line]).stdout(Stdio::piped());
    let run = run.spawn().unwrap();
    // Stands for systemd.
    agent.restart();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let job = said.split_whitespace().next_back().unwrap();
    fs::write(gate, "").unwrap();
    let output = fleet.run(["attach", "web1", job]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(5), &b"before\nafter\n"[..])
    );
}

#[test]
fn cuts_are_only_pauses_for_who_reads() {
    let (fleet, agent) = TestFleet::with_agent();
    let job = detach(&fleet, "seq 400000; seq 400000 >&2; exit 4");
    ended(&fleet, &job);
    let expected = (1..=400_000).fold(String::new(), |all, n| all + &format!("{n}\n"));
    let cut = Fault { cut_down: Some(700_000), ..Fault::default() };
    let faulty = Faulty::start(agent.address, cut);
    fleet.set_address("web1", faulty.address);
    let output = fleet.run(["attach", "web1", &job]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout == expected.as_bytes() && output.stderr == expected.as_bytes());
    assert!(faulty.accepted() >= 7, "{}", faulty.accepted());
}

#[test]
fn a_signal_reaches_the_whole_job() {
    let (fleet, _agent) = TestFleet::with_agent();
    let pids = fleet.path("pids");
    let line = format!(
        "(setsid sh -c 'echo $$ >> {0}; exec sleep 300' &); echo $$ >> {0}; exec sleep 300",
        pids.display()
    );
    detach(&fleet, &line);
    let both: Vec<i32> = wait::until("both to run", || {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    let said = fleet.ok(["kill", "web1", "-s", "USR1"]);
    assert!(said.starts_with("web1: SIGUSR1 sent to job ") && said.contains("(setsid"), "{said}");
    let found = fleet.run(["attach", "web1"]);
    assert_eq!(found.status.code(), Some(138));
    wait::until("both to end", || {
        let gone = |pid| rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err();
        both.iter().copied().all(gone).then_some(())
    });
    let error = fleet.fails(255, ["kill", "web1"]);
    assert!(error.contains("every detached job of this key on this host has ended"), "{error}");
    let error = fleet.fails(255, ["kill", "web1", "-s", "FROB"]);
    assert!(error.contains("no signal \"FROB\""), "{error}");
}

#[test]
fn a_command_that_somebody_runs_can_be_seen_and_signalled_but_not_read() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--", "echo here; exec sleep 300"]).stdout(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut stdout = run.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 5]).unwrap();
    let found = &listed(&fleet)[0];
    assert_eq!((&found["state"], &found["detached"]), (&"running".into(), &false.into()));
    let job = found["job"].as_str().unwrap();
    let error = fleet.fails(255, ["logs", "web1", job]);
    assert!(error.contains("only detached jobs have logs"), "{error}");
    fleet.ok(["kill", "web1", job]);
    assert_eq!(run.wait().unwrap().code(), Some(143));
}

#[test]
fn the_newest_output_is_kept_and_what_is_missing_is_told() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[jobs]\noutput = \"64K\"\n")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let job = detach(&fleet, "seq 100000");
    ended(&fleet, &job);
    let output = fleet.run(["logs", "web1"]);
    let (text, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(text.ends_with("\n99999\n100000\n") && text.len() <= 64 << 10, "{}", text.len());
    assert!(text.len() >= 56 << 10, "{}", text.len());
    let whole: usize = (1..=100_000).map(|n: u32| n.to_string().len() + 1).sum();
    let lost = format!("{} bytes of stdout of job", whole - text.len());
    assert!(error.contains(&lost), "{error}");
    assert_eq!(fleet.ok(["logs", "web1", "--tail", "1"]), "100000\n");
    let directory = agent.job_directory(&job);
    let sizes = fs::read_dir(directory).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() < 70 << 10);
}

#[test]
fn a_job_that_died_is_said_to_have() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let pid = fleet.path("pid");
    let line = format!("echo out; echo $PPID > {}; exec sleep 300", pid.display());
    let job = detach(&fleet, &line);
    let mut attach = fleet.lariat();
    attach.args(["attach", "web1"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut attach = attach.spawn().unwrap();
    attach.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    let supervisor = wait::until("its supervisor", || {
        fs::read_to_string(&pid).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    });
    rustix::process::kill_process(supervisor, Signal::KILL).unwrap();
    let output = attach.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(255) && error.contains("watched over the job died"),
        "{error}"
    );
    assert_eq!(ended(&fleet, &job)["state"], "died");
    // The record says that the host has been booted since.
    agent.signal(Signal::KILL);
    let record = agent.job_directory(&job).join("record");
    let bytes = fs::read(&record).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot: Vec<u8> = (0..32)
        .step_by(2)
        .map(|i| u8::from_str_radix(&boot.trim().replace('-', "")[i..i + 2], 16).unwrap())
        .collect();
    let at = bytes.windows(16).position(|window| window == boot).unwrap();
    let mut other = bytes;
    other[at] ^= 1;
    fs::write(&record, other).unwrap();
    agent.restart();
    let error = fleet.fails(255, ["attach", "web1", "--tail", "0"]);
    assert!(error.contains("its host was restarted"), "{error}");
    assert!(fleet.ok(["jobs", "web1"]).contains("died with the host"));
    assert_eq!(fleet.ok(["logs", "web1"]), "out\n");
}

/// An agent whose jobs belong to another key: the fleet's own key is replaced.
fn with_another_key(fleet: &TestFleet, agent: Agent) -> Agent {
    drop(agent);
    let keys = fleet.home().join("keys");
    for entry in fs::read_dir(&keys).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let other = TestFleet::new();
    for entry in fs::read_dir(other.home().join("keys")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, keys.join(path.file_name().unwrap())).unwrap();
    }
    let bundle = fleet.bundle("web1");
    let jobs = fleet.path("jobs");
    fs::rename(bundle.join("state/jobs"), &jobs).unwrap();
    fs::remove_dir_all(&bundle).unwrap();
    fleet.ok(["forget", "web1"]);
    fleet.enroll("web1", "127.0.0.1:1");
    fs::create_dir(bundle.join("state")).unwrap();
    fs::set_permissions(bundle.join("state"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    fs::rename(jobs, bundle.join("state/jobs")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    agent
}

#[test]
fn another_key_s_job_is_as_if_it_were_not_there() {
    let (fleet, agent) = TestFleet::with_agent();
    // It ends when the fleet's directory is removed.
    let gate = fleet.path("gate");
    fs::write(&gate, "").unwrap();
    let line = format!("while [ -e {} ]; do sleep 0.05; done", gate.display());
    let job = detach(&fleet, &line);
    let unknown = "0".repeat(32);
    let _agent = with_another_key(&fleet, agent);
    assert!(listed(&fleet).is_empty());
    for verb in ["logs", "attach", "kill"] {
        let of = |job: &str| fleet.fails(255, [verb, "web1", job]).replace(job, "JOB");
        assert_eq!(of(&job), of(&unknown));
    }
}

#[test]
fn what_can_t_be_started_is_no_job() {
    let (fleet, _agent) = TestFleet::with_agent();
    let output = fleet.run(["run", "web1", "--detach", "--", "/no/such/program", "x"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(127) && error.contains("/no/such/program"), "{error}");
    assert!(output.stdout.is_empty());
    let error = fleet.fails(255, ["run", "web1", "--detach", "--cwd", "/no/such", "--", "true"]);
    assert!(error.contains("enter directory /no/such"), "{error}");
    assert!(listed(&fleet).is_empty());
    let error = fleet.fails(255, ["run", "web1", "--detach", "-i", "--", "cat"]);
    assert!(error.contains("can't be used with"), "{error}");
    assert!(fleet.fails(255, ["logs", "web1", "xyz"]).contains("not a job's id"));
    fleet.ok(["run", "web1", "--detach", "--timeout", "100ms", "--", "sleep 100"]);
    let attached = fleet.run(["attach", "web1"]);
    let told = String::from_utf8(attached.stderr).unwrap();
    assert_eq!((attached.status.code(), told.as_str()), (Some(124), "lariat: web1: timed out\n"));
    let attached = fleet.run(["attach", "web1", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&attached.stdout).unwrap();
    assert_eq!((attached.status.code(), &attached.stderr), (Some(124), &Vec::new()));
    assert_eq!((&object["kind"], &object["ok"]), (&"timeout".into(), &false.into()));
    assert_eq!((&object["exit"], &object["error"]), (&124.into(), &"timed out".into()));
}

#[test]
fn a_job_on_each_of_several_hosts() {
    let fleet = TestFleet::new();
    let _agents = [fleet.agent("web1"), fleet.agent("web2")];
    let said = fleet.ok(["run", "web[1-2]", "--detach", "--", "echo here; exit 6"]);
    let id = said.trim_end().strip_prefix("web[1-2]: started job ").unwrap();
    for host in ["web1", "web2"] {
        let output = fleet.run(["attach", host, id]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(6), &b"here\n"[..]));
    }
}
