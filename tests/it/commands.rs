//! Options of `lariat run`: other users, scripts, many lines; and the environment of a command.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};

/// A user that every Linux has, other than the one who runs the tests.
const OTHER: &str = "nobody";

/// What the system's own `id` prints.
fn id(args: &[&str]) -> String {
    String::from_utf8(Command::new("id").args(args).output().unwrap().stdout).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn another_users_command_is_that_users_whole() {
    if !is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let as_other = |words: &[&str]| {
        let args = [&["run", "web1", "--user", OTHER, "--"], words].concat();
        fleet.ok(args)
    };
    for flag in ["-u", "-g", "-G"] {
        assert_eq!(as_other(&["id", flag]), id(&[flag, OTHER]), "id {flag}");
    }
    // Real, effective, saved and file system ids are all that user's.
    let status = as_other(&["grep", "-E", "^(Uid|Gid):", "/proc/self/status"]);
    for line in status.lines() {
        let numbers: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert!(
            numbers.len() == 4 && numbers.iter().all(|n| *n == numbers[0] && *n != "0"),
            "{line}"
        );
    }
    assert_eq!(as_other(&["echo $USER $LOGNAME"]), format!("{OTHER} {OTHER}\n"));
    let home = Command::new("sh").args(["-c", &format!("echo ~{OTHER}")]).output().unwrap();
    assert_eq!(as_other(&["echo $HOME"]), String::from_utf8(home.stdout).unwrap());
    // The user may also be named before the host's name.
    let target = format!("{OTHER}@web1");
    assert_eq!(fleet.ok(["run", &target, "--", "id -un"]), format!("{OTHER}\n"));
    // A directory that only root may enter can't be the working directory.
    let private = fleet.home();
    let private = private.to_str().unwrap();
    let error = fleet.fails(255, ["run", &target, "--cwd", private, "--", "pwd"]);
    assert!(error.contains(private) && error.contains("permission denied"), "{error}");
    let output = fleet.run(["run", &target, "--", "kill", "-0", "1"]);
    assert_eq!(output.status.code(), Some(1));
    // The time limit can end it, although the process is not of the agent's user.
    let output = fleet.run(["run", &target, "--timeout", "200ms", "--", "sleep 100"]);
    assert_eq!(output.status.code(), Some(124));
}

#[test]
fn users_that_are_none_or_not_permitted_are_refused_clearly() {
    let (fleet, agent) = TestFleet::with_agent();
    let error = fleet.fails(255, ["run", "web1", "--user", "no-such-user", "--", "id"]);
    assert!(error.contains("web1") && error.contains("there is no user no-such-user"), "{error}");
    let error = fleet.fails(255, ["run", "x@web1", "--user", "y", "--", "id"]);
    assert!(error.contains("which of the two"), "{error}");
    drop(agent);

    fleet.set_rules("web1", &format!("verbs = [\"run\"]\nusers = [\"{OTHER}\"]\n"));
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let own = id(&["-un"]);
    let error = fleet.fails(255, ["run", "web1", "--user", own.trim(), "--", "id"]);
    let (rule, user) = ("users: keyring.toml:", format!(" has no {}", own.trim()));
    assert!(error.contains("not permitted to run") && error.contains(rule), "{error}");
    assert!(error.contains(&user), "{error}");
    if is_root() {
        // The only user is the default.
        for user in [&["--user", OTHER][..], &[]] {
            let run = [&["run", "web1"], user, &["--", "id -un"]].concat();
            assert_eq!(fleet.ok(run), format!("{OTHER}\n"));
        }
    }
}

#[test]
fn scripts_are_run_by_what_they_name() {
    let (fleet, _agent) = TestFleet::with_agent();
    let script = |name: &str, text: &str| {
        std::fs::write(fleet.path(name), text).unwrap();
        fleet.path(name).to_str().unwrap().to_owned()
    };
    let plain = script("plain", "echo \"<$1> <$2> $#\"\ncat\nexit 9\n");
    let mut run = fleet.lariat();
    run.args(["run", "web1", "-i", "--script", &plain, "--", "a b", "*"]);
    let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"its stdin").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "<a b> <*> 2\nits stdin");
    let awk = script("awk", "#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }\n");
    assert_eq!(fleet.ok(["run", "web1", "--script", &awk]), "42\n");
    if is_root() {
        let who = script("who", "#!/bin/sh -e\nid -un\nfalse\necho not here\n");
        let output = fleet.run(["run", &format!("{OTHER}@web1"), "--script", &who]);
        assert_eq!((output.status.code(), output.stdout), (Some(1), format!("{OTHER}\n").into()));
    }
    let missing = script("missing", "#!/no/such/program\n");
    let output = fleet.run(["run", "web1", "--script", &missing]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(127) && error.contains("/no/such/program"), "{error}");
    let large = script("large", &"#".repeat(1 << 20));
    let error = fleet.fails(255, ["run", "web1", "--script", &large]);
    assert!(error.contains("large") && error.contains("push it"), "{error}");
    let error = fleet.fails(255, ["run", "web1", "--script", "no-such-file"]);
    assert!(error.contains("no-such-file: no such file"), "{error}");
}

#[test]
fn lines_run_one_after_another_over_one_session() {
    let (fleet, agent) = TestFleet::with_agent();
    let file = fleet.path("commands");
    let text =
        "echo one; echo err >&2\n\n# nothing\n  \nexit 3\necho 'a  b' | tr a c\nfalse\necho last";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let output = fleet.run(["run", "web1", "--from", file]);
    assert_eq!(output.status.code(), Some(3), "the first that did not succeed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\nc  b\nlast\n");
    assert_eq!(output.stderr, b"err\n");
    let logins = agent.log().iter().filter(|line| line.contains("logged in")).count();
    assert_eq!(logins, 1);

    let output = fleet.run(["run", "web1", "--json", "--from", file]);
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 5);
    assert_eq!((&objects[1]["command"], &objects[1]["exit"]), (&"exit 3".into(), &3.into()));
    assert_eq!(objects[2]["stdout"], "c  b\n");

    let mut run = fleet.lariat();
    run.args(["run", "web1", "--cwd", "/usr", "--env", "A=b", "--from", "-"]);
    let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // A line runs as soon as it has arrived.
    let mut answer = [0; 6];
    for _ in 0..3 {
        stdin.write_all(b"echo $A $PWD | cut -c 1-5\n").unwrap();
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"b /us\n");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn lines_survive_a_restart_of_the_agent_between_them() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let once = fleet.path("once");
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--from", "-"]).stdin(Stdio::piped());
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for number in 0..6 {
        writeln!(stdin, "echo {number} >> {}; echo x", once.display()).unwrap();
        stdout.read_exact(&mut [0; 2]).unwrap();
        if number % 2 == 0 {
            agent.kill_and_restart();
        }
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(once).unwrap(), "0\n1\n2\n3\n4\n5\n");
}

#[test]
fn ctrl_c_ends_the_line_that_runs_and_all_that_follow() {
    let (fleet, _agent) = TestFleet::with_agent();
    let file = fleet.path("commands");
    std::fs::write(&file, "echo ready; while :; do sleep 0.1; done\necho not here\n").unwrap();
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--from", file.to_str().unwrap()]).stdout(Stdio::piped());
    let mut child = run.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 6]).unwrap();
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!((child.wait().unwrap().code(), rest), (Some(130), vec![]));
}

/// An agent whose own environment, limits, umask and descriptors are as bad as possible.
fn poisoned(fleet: &TestFleet) -> Agent {
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let line = format!(
        "umask 0; trap '' PIPE TERM INT HUP; exec 8</dev/null 9>/dev/null; \
         exec {} --config {} --listen 127.0.0.1:0",
        binaries().lariatd.display(),
        config.display()
    );
    let mut command = Command::new("nice");
    command.args(["-n", "5", "sh", "-c", &line]).arg0("nice");
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "BASH_ENV",
        "ENV",
        "NOTIFY_SOCKET",
        "LISTEN_FDNAMES",
        "CREDENTIALS_DIRECTORY",
        "WATCHDOG_PID",
        "SECRET",
        "IFS",
        "PS4",
    ] {
        command.env(name, "/no/such/poison");
    }
    command.env("LISTEN_FDS", "0").env("LISTEN_PID", "1");
    let agent = Agent::spawn(command, config);
    fleet.set_address("web1", agent.address);
    agent
}

#[test]
fn nothing_of_a_poisoned_agent_reaches_a_command() {
    let fleet = TestFleet::new();
    let _agent = poisoned(&fleet);
    let env = fleet.ok(["run", "web1", "--", "env"]);
    let mut names: Vec<&str> = env.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(names, ["HOME", "LANG", "LARIAT_HOST", "LOGNAME", "PATH", "SHELL", "USER"], "{env}");
    assert!(!env.contains("poison"));
    let run = |words: &[&str]| fleet.ok([&["run", "web1", "--"], words].concat());
    // ls itself opens one to list the directory.
    assert_eq!(run(&["ls /proc/self/fd | tr '\\n' ' '"]), "0 1 2 3 ");
    assert_eq!(run(&["umask"]), "0022\n");
    let signals = run(&["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"]);
    // The C library ignores the two signals that it reserves.
    assert_eq!(signals, "SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n");
    assert_eq!(run(&["(yes; echo $? >&3) 3>&1 | true; exit 0"]).trim(), "");
    if is_root() {
        assert_eq!(run(&["nice"]), "0\n");
    }
}

#[test]
fn five_hundred_commands_at_once_leave_nothing_behind() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.ok(["run", "web1", "--", "true"]);
    let [zygote] = children(agent.pid())[..] else { panic!("one child") };
    let supervisors = || children(Pid::from_raw(zygote).unwrap()).len();
    let before = agent.descriptors();
    let gate = fleet.path("gate");
    let line = format!("while ! [ -e {} ]; do sleep 1; done; exit 3", gate.display());
    let runs: Vec<_> = (0..500)
        .map(|number| {
            let mut run = fleet.lariat();
            let line = format!("echo {number}; {line}");
            run.args(["run", "web1", "--connect-timeout", "60s", "--", &line]);
            run.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut runs: Vec<_> = runs
        .into_iter()
        .map(|mut child| {
            let stdout = child.stdout.take().unwrap();
            (child, stdout)
        })
        .collect();
    for (number, (_, stdout)) in runs.iter_mut().enumerate() {
        let expected = format!("{number}\n");
        let mut line = vec![0; expected.len()];
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(line, expected.as_bytes());
    }
    // All of them run now, at the same time.
    assert!(supervisors() >= 500);
    let memory = agent.memory_kib("RssAnon");
    let most = if cfg!(debug_assertions) { 200 } else { 100 };
    assert!(memory < most * 1024, "{memory} KiB");
    std::fs::write(gate, "").unwrap();
    for (mut child, _) in runs {
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
    wait::until("the children to go", || (supervisors() <= 1).then_some(()));
    wait::until("descriptors to be closed", || (agent.descriptors() <= before).then_some(()));
    let jobs = std::fs::read_dir(agent.state().join("jobs")).unwrap().count();
    assert_eq!(jobs, 0);
}

/// The children of a process.
fn children(parent: Pid) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).unwrap();
    let lists = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

/// The supervisor of the job whose command has this process id.
fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether a process runs; a zombie does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Whether a command is in a control group of its job's.
fn has_control_group(command: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{command}/cgroup")).unwrap();
    text.contains("/lariat-")
}

#[test]
fn supervisors_are_born_again_once_what_they_are_born_from_was_killed() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.ok(["run", "web1", "--", "true"]);
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut children = children(agent.pid()).into_iter();
    let zygote = children.find(|&pid| name(pid) == "lariat-jobs\n").unwrap();
    let gate = fleet.path("gate");
    let line = format!("until [ -e {} ]; do sleep 0.05; done; echo over; exit 3", gate.display());
    let mut before = fleet.lariat();
    let mut before =
        before.args(["run", "web1", "--", &line]).stdout(Stdio::piped()).spawn().unwrap();
    rustix::process::kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
    // The first run uses the supervisor that was ready.
    for _ in 0..3 {
        assert_eq!(fleet.ok(["run", "web1", "--", "echo right"]), "right\n");
    }
    std::fs::write(gate, "").unwrap();
    let mut said = String::new();
    before.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((before.wait().unwrap().code(), said.as_str()), (Some(3), "over\n"));
    wait::until("it is no zombie", || {
        (!std::path::Path::new(&format!("/proc/{zygote}")).exists()).then_some(())
    });
}

#[test]
fn nothing_of_an_idle_agent_outlives_it() {
    let (fleet, agent) = TestFleet::with_agent();
    for with_one_ready in [true, false] {
        let host = if with_one_ready { &agent } else { &fleet.agent("web2") };
        let child = |of| wait::until("a process of it", || children(of).first().copied());
        let zygote = Pid::from_raw(child(host.pid())).unwrap();
        child(zygote);
        let ready = children(zygote);
        if !with_one_ready {
            ready.iter().for_each(|&pid| {
                rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
            });
            wait::until("it is gone", || children(zygote).is_empty().then_some(()));
        }
        host.signal(Signal::KILL);
        wait::until("all are gone", || {
            let mut all = ready.iter().copied().chain([zygote.as_raw_nonzero().get()]);
            (!all.any(runs)).then_some(())
        });
    }
}

#[test]
fn a_job_whose_supervisor_was_killed_is_ended_whole() {
    let (fleet, _agent) = TestFleet::with_agent();
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    // A process that has left the command's group and session, and that the command does not wait for.
    let line = format!(
        "(setsid sh -c 'echo $$ >> {0}; exec sleep 300' &); echo $$ >> {0}; exec sleep 300",
        pids.display()
    );
    let mut controller =
        fleet.lariat().args(["run", "web1", "--reconnect", "1s", "--", &line]).spawn().unwrap();
    let both = wait::until("both processes run", || {
        let text = std::fs::read_to_string(&pids).ok()?;
        let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let mut parents = both.iter().map(|&pid| parent(pid));
    let supervisor = parents.find(|&pid| name(pid) == "lariat-job\n").unwrap();
    let grouped = has_control_group(both[0]);
    let kill = |pid: i32, signal| {
        let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal);
    };
    kill(supervisor, Signal::KILL);
    if grouped {
        wait::until("the job's processes are gone", || {
            (!both.iter().any(|&pid| runs(pid))).then_some(())
        });
    } else {
        eprintln!("there are no control groups here: the killed supervisor's processes stay");
        both.iter().for_each(|&pid| kill(pid, Signal::KILL));
    }
    assert_eq!(controller.wait().unwrap().code(), Some(255));
}
