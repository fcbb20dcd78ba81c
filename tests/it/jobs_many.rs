//! Jobs over many hosts: listed in one table, found on any host, read side by side.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::{objects, sorted, text};
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Starts a job on each host of a target, and returns the hosts as they are printed, and the id of all jobs.
fn detach(fleet: &TestFleet, target: &str, line: &str) -> (String, String) {
    let said = fleet.ok(["run", target, "--detach", "--", line]);
    let (hosts, rest) = said.trim_end().split_once(": started job ").unwrap();
    assert_eq!((said.lines().count(), rest.len()), (1, 32), "{said}");
    (hosts.to_owned(), rest.to_owned())
}

/// Starts a job of its own on each of the first hosts, and returns the hosts with their jobs' ids.
fn detach_each(fleet: &TestFleet, count: usize, line: &str) -> Vec<(String, String)> {
    let hosts = (1..=count).map(|number| format!("h{number:04}"));
    hosts.map(|host| detach(fleet, &host, line)).collect()
}

/// A command that waits until a file exists.
fn waiting(gate: &Path) -> String {
    format!("while ! [ -e {} ]; do sleep 0.01; done", gate.display())
}

/// All jobs of a target's hosts.
fn listed(fleet: &TestFleet, target: &str) -> Vec<Value> {
    objects(&fleet.ok(["jobs", target, "--json"]))
}

/// Waits until no job runs any more.
fn all_ended(fleet: &TestFleet) {
    wait::until("the end of all jobs", || {
        let jobs = listed(fleet, "all");
        jobs.iter().all(|job| job["state"] != "running").then_some(())
    });
}

/// Starts a command whose lines on stdout are read as they come.
fn start(fleet: &TestFleet, args: &[&str]) -> (Child, Receiver<String>) {
    let mut command = fleet.interruptible();
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    (child, told)
}

/// The next line. If none comes, fails with what other commands say of the jobs: whether they have written it.
fn next(fleet: &TestFleet, lines: &Receiver<String>) -> String {
    lines.recv_timeout(wait::PATIENCE).unwrap_or_else(|error| {
        let say = |args: &[&str]| format!("{args:?}: {:?}", fleet.run(args));
        panic!("{error}: {}, {}", say(&["jobs", "all"]), say(&["logs", "all"]))
    })
}

/// Sets a host's address to one where nothing listens.
fn unplug(fleet: &TestFleet, host: &str) {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fleet.set_address(host, closed);
}

/// The lines on stderr, without the summary's time.
fn errors(output: &Output) -> String {
    let untimed = |line| match str::rsplit_once(line, "; ") {
        Some((before, time)) if time.ends_with(" s") => before,
        _ => line,
    };
    text(&output.stderr).lines().fold(String::new(), |told, line| told + untimed(line) + "\n")
}

#[test]
fn one_table_has_the_jobs_of_all_hosts() {
    let (fleet, _agents) = fleet_of(3);
    let (hosts, job) = detach(&fleet, "h[0001-0002]", "exit 3");
    assert_eq!(hosts, "h[0001-0002]");
    detach(&fleet, "h0001", "echo second");
    all_ended(&fleet);
    let output = fleet.run(["jobs", "all"]);
    let rows: Vec<Vec<&str>> =
        text(&output.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((output.status.code(), rows.len()), (Some(0), 4), "{output:?}");
    assert_eq!(rows[0], ["HOST", "JOB", "STATE", "STARTED", "TOOK", "COMMAND"]);
    let hosts: Vec<&str> = rows.iter().skip(1).map(|row| row[0]).collect();
    assert_eq!(hosts, ["h0001", "h0001", "h0002"]);
    assert_eq!((rows[1][1], &rows[1][2..4]), (&job[..12], &["exit", "3"][..]));
    assert_eq!(errors(&output), "3 ok; 3 jobs\n");

    // The objects are those of a single host.
    let alone = |host: &str| listed(&fleet, host);
    let together = listed(&fleet, "all");
    assert_eq!(together, [alone("h0001"), alone("h0002")].concat());

    // The jobs of one run share their id, and are listed by how they ended too.
    let both = [together[0].clone(), together[2].clone()];
    for options in [&[&job[..20]][..], &["--failed"]] {
        let found = objects(&fleet.ok([&["jobs", "all", "--json"], options].concat()));
        assert_eq!(found, both, "{options:?}");
    }
    let none = fleet.run(["jobs", "all", &job, "--running"]);
    assert_eq!((none.status.code(), text(&none.stdout)), (Some(0), ""));
    assert_eq!(errors(&none), "3 ok; 0 running jobs\n");
    assert_eq!(errors(&fleet.run(["jobs", "h0003", "--failed"])), "no failed jobs on h0003\n");
    let nothing = fleet.run(["jobs", "h000[3]"]);
    assert_eq!((nothing.status.code(), text(&nothing.stdout)), (Some(0), ""));
    assert_eq!(errors(&nothing), "1 ok; 0 jobs\n");
    assert!(fleet.fails(255, ["jobs", "bob@h000[1-2]"]).contains("whatever user they run as"));
}

#[test]
fn a_host_that_is_not_there_is_told_and_costs_the_others_nothing() {
    let (fleet, _agents) = fleet_of(3);
    let started = detach_each(&fleet, 3, "echo here; exit 6");
    all_ended(&fleet);
    unplug(&fleet, "h0002");
    let refused = |errors: &str, verb: &str| {
        let lines = errors.lines().filter(|line| line.contains("connection refused"));
        let lines: Vec<&str> = lines.collect();
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("lariat: {verb}")), "{errors}");
        assert!(lines[0].contains("h0002 ("), "{errors}");
    };

    let output = fleet.run(["jobs", "all"]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(255), 3));
    refused(&errors(&output), "jobs");
    assert!(errors(&output).ends_with("2 ok, 1 unreachable (h0002); 2 jobs\n"), "{output:?}");
    let output = fleet.run(["jobs", "all", "--json"]);
    let failed = objects(&output.stdout).into_iter().find(|o| o["host"] == "h0002").unwrap();
    assert!(failed["error"].as_str().unwrap().contains("connection refused"), "{failed}");

    let job = &started[2].1;
    let output = fleet.run(["logs", "all", job]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), "h0003: here\n"));
    refused(&errors(&output), "logs on");
    let output = fleet.run(["attach", "all", job]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), "h0003: here\n"));
    refused(&errors(&output), "attach on");
    assert!(
        errors(&output).ends_with("h0003: exit 6\n1 failed (h0003), 1 unreachable (h0002)\n"),
        "{output:?}"
    );
    let output = fleet.run(["kill", "all", &started[1].1]);
    assert_eq!(output.status.code(), Some(255));
    refused(&errors(&output), "kill on");
    assert!(errors(&output).contains("on any host of all that answered"), "{output:?}");

    // Each host has an object, whatever it has.
    let kinds = |args: &[&str]| {
        let output = fleet.run(args);
        let objects = objects(&output.stdout);
        let kind = |object: &Value| object["kind"].as_str().unwrap().to_owned();
        (output.status.code(), objects.iter().map(kind).collect::<Vec<_>>(), objects)
    };
    for (verb, of_job) in [("logs", "ok"), ("attach", "failed")] {
        let (status, kinds, objects) = kinds(&[verb, "all", job, "--json"]);
        let expected = ["ok", "unreachable", of_job].map(str::to_owned).to_vec();
        assert_eq!((status, kinds), (Some(255), expected), "{verb}");
        assert_eq!((&objects[0]["job"], &objects[2]["exit"]), (&Value::Null, &6.into()), "{verb}");
        assert_eq!(objects[2]["ok"], verb == "logs");
    }
    for other in [job, "0000"] {
        let (status, kinds, objects) = kinds(&["kill", "all", other, "--json"]);
        let wrong = ["failed", "unreachable", "failed"];
        assert_eq!((status, kinds), (Some(255), wrong.map(str::to_owned).to_vec()), "{other}");
        let why = if other == job { "has ended on every host" } else { "has no job 0000" };
        assert!(objects[2]["error"].as_str().unwrap().contains(why), "{objects:?}");
    }

    // Of hosts that do not answer nothing more is known.
    for verb in ["logs", "attach", "kill"] {
        let output = fleet.run([verb, "h000[2]", job]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), ""));
        assert!(!errors(&output).contains("has no job"), "{output:?}");
    }

    // Only the host that did not answer is asked again.
    fleet.run(["run", "all", "--", "true"]);
    fleet.run(["ping", "h0001,h0003"]);
    let output = fleet.run(["jobs", "all", "--retry-failed"]);
    assert!(errors(&output).ends_with("\n1 unreachable (h0002); 0 jobs\n"), "{output:?}");

    // A host that accepts the connection and stays silent has until the time limit.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    fleet.set_address("h0001", silent.local_addr().unwrap());
    let output = fleet.run(["jobs", "h000[1,3]", "--timeout", "300ms"]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(1), 2));
    assert!(errors(&output).contains("): timed out after 0.3 s\n"), "{output:?}");
}

#[test]
fn a_job_is_read_wherever_it_is() {
    let (fleet, _agents) = fleet_of(3);
    let started = detach_each(&fleet, 3, "echo one; printf two; echo err >&2");
    all_ended(&fleet);
    let output = fleet.run(["logs", "all", &started[1].1[..20]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "h0002: one\nh0002: two\n");
    assert!(errors(&output).starts_with("h0002: err\n"), "{output:?}");
    // Without an id, each host's newest job is read.
    detach(&fleet, "h0003", "echo newer; exit 3");
    all_ended(&fleet);
    let output = fleet.run(["attach", "all", "--tail", "1"]);
    let lines = ["h0001: two", "h0002: two", "h0003: newer"];
    assert_eq!((output.status.code(), sorted(&output.stdout)), (Some(1), lines.to_vec()));
    for told in ["h0003: exit 3\n", "\n2 ok, 1 failed (h0003)"] {
        assert!(errors(&output).contains(told), "{output:?}");
    }
    let output = fleet.run(["logs", "all", "--tail", "1"]);
    let lines = ["h0001: two", "h0002: two", "h0003: newer"];
    assert_eq!((output.status.code(), sorted(&output.stdout)), (Some(0), lines.to_vec()));
    assert_eq!(errors(&output).matches(", while that of h0").count(), 2, "{output:?}");
    let told = objects(&fleet.ok(["logs", "all", "--json"]));
    let what = |told: &Value| (told["host"].clone(), told["state"].clone(), told["stdout"].clone());
    assert_eq!(told.len(), 3);
    assert_eq!(what(&told[2]), ("h0003".into(), "ended".into(), "newer\n".into()));
    assert_eq!((&told[0]["stderr"], &told[0]["exit"]), (&"err\n".into(), &0.into()));
    assert_eq!(objects(&fleet.ok(["logs", "h0001", "--json"])), [told[0].clone()]);
    let none = fleet.run(["logs", "h0001", "--json", &"0".repeat(32)]);
    let none = (none.status.code(), objects(&none.stdout), text(&none.stderr));
    assert!(none.1[0]["error"].as_str().unwrap().contains("no job 0000"), "{none:?}");
    assert_eq!((none.0, none.2), (Some(255), ""));
    let error = fleet.fails(255, ["logs", "all", &"0".repeat(32)]);
    assert!(error.starts_with("lariat: logs: this key has no job 0000"), "{error}");
    assert!(error.ends_with("on any host of all that answered; try: lariat jobs all\n"), "{error}");
}

#[test]
fn those_that_run_are_followed_to_their_end() {
    let (fleet, _agents) = fleet_of(3);
    let gate = fleet.path("gate");
    let line = format!("echo begun; {}; echo over; exit 4", waiting(&gate));
    detach(&fleet, "h[0001-0002]", &line);
    let follow = || {
        let (logs, lines) = start(&fleet, &["logs", "all", "-f"]);
        for _ in 0..2 {
            assert!(next(&fleet, &lines).ends_with(": begun"));
        }
        (logs, lines)
    };
    // Ctrl-C ends only the reading, at once and silently.
    let (left, _lines) = follow();
    kill_process(Pid::from_child(&left), Signal::INT).unwrap();
    let left = left.wait_with_output().unwrap();
    assert_eq!((left.status.signal(), text(&left.stderr)), (Some(2), ""));
    let (mut logs, lines) = follow();
    std::fs::write(gate, "").unwrap();
    let mut rest: Vec<String> = lines.iter().collect();
    rest.sort_unstable();
    assert_eq!(rest, ["h0001: over", "h0002: over"]);
    assert!(logs.wait().unwrap().success());
}

#[test]
fn one_of_many_is_killed_or_attached_to() {
    let (fleet, _agents) = fleet_of(3);
    fleet.ok(["run", "all", "--", "true"]);
    let started = detach_each(&fleet, 3, "echo up; exec sleep 300");
    let ledger = std::fs::read(fleet.home().join("last.jsonl")).unwrap();
    let (host, job) = &started[1];
    let output = fleet.run(["kill", "all", &job[..20], "-s", "INT"]);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), "1 ok\n"));
    assert!(text(&output.stdout).starts_with(&format!("{host}: SIGINT sent to job ")));
    // On one host, stdout, stderr and the status are the job's own.
    let output = fleet.run(["attach", host, job]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(130), "up\n"));
    assert_eq!(text(&output.stderr), "");
    let output = fleet.run(["attach", "all", job]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "h0002: up\n"));
    assert_eq!(errors(&output), "h0002: SIGINT\n1 failed (h0002)\n");
    let error = fleet.fails(255, ["kill", "all", job]);
    assert!(error.contains("kill: the job has ended on every host that has it; try: "), "{error}");
    let running = listed(&fleet, "all");
    assert_eq!(running.iter().filter(|job| job["state"] == "running").count(), 2);
    let killed: Value =
        serde_json::from_str(&fleet.ok(["kill", "h[0001]", &started[0].1, "--json"])).unwrap();
    assert_eq!((&killed["host"], &killed["error"]), (&"h0001".into(), &Value::Null));

    let error = fleet.fails(255, ["kill", "all"]);
    assert!(error.contains("kill: all names several hosts; the job must be named"), "{error}");
    for verb in ["kill", "attach"] {
        let error = fleet.fails(255, [verb, "all", &"0".repeat(32)]);
        assert!(error.contains(&format!("lariat: {verb}: this key has no job 0000")), "{error}");
    }
    fleet.ok(["kill", "all", &started[2].1]);
    // Verbs that only read leave the ledger of the newest fan-out alone.
    fleet.ok(["logs", "all"]);
    assert_eq!(std::fs::read(fleet.home().join("last.jsonl")).unwrap(), ledger);
}

#[test]
fn a_beginning_that_is_not_unique_kills_nothing() {
    // With more jobs than digits, two ids begin with the same digit.
    let (fleet, _agents) = fleet_of(17);
    let gate = fleet.path("gate");
    let started = detach_each(&fleet, 17, &waiting(&gate));
    let twice = |digit: char| {
        let with = started.iter().filter(|(_, job)| job.starts_with(digit));
        let with: Vec<_> = with.collect();
        (with.len() > 1).then(|| (digit, with[0].0.clone(), with[1].0.clone()))
    };
    let (digit, one, other) = "0123456789abcdef".chars().find_map(twice).unwrap();
    for verb in ["kill", "attach"] {
        let error = fleet.fails(255, [verb, "all", &digit.to_string()]);
        assert!(error.contains(&format!("jobs begin with {digit}: ")), "{error}");
        assert!(error.contains(&one) && error.contains(&other), "{error}");
    }
    let jobs = listed(&fleet, "all");
    assert!(jobs.len() == 17 && jobs.iter().all(|job| job["state"] == "running"));
    std::fs::write(gate, "").unwrap();
    all_ended(&fleet);
}

#[test]
fn jobs_of_one_run_are_killed_and_followed_together() {
    let (fleet, _agents) = fleet_of(3);
    let gate = fleet.path("gate");
    let line = format!("trap 'exit 7' INT; echo up; {}; exit 0", waiting(&gate));
    let (hosts, job) = detach(&fleet, "all", &line);
    assert_eq!(hosts, "h[0001-0003]");
    let (attach, lines) = start(&fleet, &["attach", "all"]);
    for _ in 0..3 {
        assert!(next(&fleet, &lines).ends_with(": up"));
    }
    let one = fleet.ok(["kill", "h000[2]", &job[..20], "-s", "INT"]);
    assert!(one.starts_with("h0002: SIGINT sent to job "), "{one}");
    wait::until("the end of one", || {
        let running = objects(&fleet.ok(["jobs", "all", "--running", "--json"]));
        (running.len() == 2).then_some(())
    });
    // Those that run are meant; it has ended on the other.
    let output = fleet.run(["kill", "all", &job, "-s", "KILL", "--json"]);
    let killed = objects(&output.stdout);
    assert_eq!((output.status.code(), killed.len()), (Some(0), 3), "{output:?}");
    let states: Vec<_> = killed.iter().map(|job| job["state"].as_str()).collect();
    assert_eq!(states, [Some("running"), Some("ended"), Some("running")]);
    let output = attach.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let mut told: Vec<String> = errors(&output).lines().map(ToOwned::to_owned).collect();
    told.sort_unstable();
    let expected = ["3 failed (h[0001-0003])", "h0001: SIGKILL", "h0002: exit 7", "h0003: SIGKILL"];
    assert_eq!(told, expected);

    // Another run, whose jobs all succeed.
    let (_, job) = detach(&fleet, "h[0001-0002]", "echo fine");
    let output = fleet.run(["attach", "h[0001-0002]"]);
    assert_eq!(sorted(&output.stdout), ["h0001: fine", "h0002: fine"]);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), "2 ok\n"));
    let last = fleet.ok(["last", "-n", "2"]);
    let told: Vec<&str> = last.lines().filter(|line| line.starts_with("job ")).collect();
    assert_eq!(told.len(), 2, "{last}");
    assert_eq!(told[0], format!("job {job}"));
    assert!(last.contains("\n\n"), "{last}");
    let objects = objects(&fleet.ok(["last", "-n", "2", "--json"]));
    assert_eq!((objects.len(), &objects[0]["verb"]), (5, &"run".into()));
}
