//! What a command leaves behind; and supervisors whose command has ended or that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A process id that a command has written to a file.
fn pid_in(file: &Path) -> Pid {
    wait::until("a process id", || {
        fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    })
}

fn is_gone(pid: Pid) -> bool {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    // A zombie is a process that its parent has not waited for yet.
    test_kill_process(pid).is_err()
        || fs::read_to_string(path).is_ok_and(|stat| stat.contains(") Z "))
}

fn until_gone(what: &str, pid: Pid) {
    wait::until(&format!("{what} to be gone"), || is_gone(pid).then_some(()));
}

/// The children of a process that have this name.
fn children(parent: Pid, name: &str) -> Vec<Pid> {
    let parent = format!(" {} ", parent.as_raw_nonzero());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let child = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let is_child = rest.get(1..)?.starts_with(&parent);
        let is_named = stat.contains(&format!("({name})"));
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        (is_child && is_named && !rest.starts_with('Z')).then_some(pid)
    };
    entries.filter_map(child).collect()
}

fn zygote(agent: &Agent) -> Pid {
    wait::until("the zygote", || children(agent.pid(), "lariat-jobs").pop())
}

/// A command that leaves a child behind. Once the gate exists, the child writes more than a pipe holds, and
/// then reports that it is done.
struct Straggler {
    gate: PathBuf,
    done: PathBuf,
    supervisor: PathBuf,
}

impl Straggler {
    fn new(fleet: &TestFleet, name: &str) -> Self {
        let [gate, done, supervisor] =
            ["gate", "done", "supervisor"].map(|part| fleet.path(format!("{name}-{part}")));
        Self { gate, done, supervisor }
    }

    fn line(&self, start: &str, to: &str) -> String {
        let (gate, done) = (self.gate.display(), self.done.display());
        // Without its directory the test is over, and the child ends.
        let (here, supervisor) = (self.gate.with_file_name(""), self.supervisor.display());
        let child = format!(
            "while [ -d {} ] && ! [ -e {gate} ]; do sleep 0.01; done; seq 30000 {to} && echo yes > {done}",
            here.display()
        );
        format!("echo $PPID > {supervisor}; {start} sh -c '{child}' & echo here")
    }

    fn go_on(&self) {
        fs::write(&self.gate, "").unwrap();
        wait::until("the child to have written", || {
            (fs::read_to_string(&self.done).ok()? == "yes\n").then_some(())
        });
        until_gone("the supervisor", pid_in(&self.supervisor));
    }
}

#[test]
fn a_child_left_behind_writes_on_and_nobody_waits_for_it() {
    let (fleet, mut agent) = TestFleet::with_agent();
    for (name, start, to) in
        [("plain", "", ""), ("nohup", "nohup", ""), ("own", "setsid", ""), ("errors", "", ">&2")]
    {
        let straggler = Straggler::new(&fleet, name);
        let output = fleet.run(["run", "web1", "--", &straggler.line(start, to)]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"here\n"[..]));
        assert_eq!(fleet.ok(["jobs", "web1", "--json"]), "", "to everybody else it is over");
        if name == "own" {
            // Neither the agent nor its successor is involved.
            agent.kill_and_restart();
        }
        straggler.go_on();
    }
}

#[test]
fn what_a_child_of_a_detached_job_writes_later_is_kept() {
    let (fleet, _agent) = TestFleet::with_agent();
    let straggler = Straggler::new(&fleet, "kept");
    let job = fleet.ok(["run", "web1", "--detach", "--", &straggler.line("", "")]);
    let job = job.split_whitespace().next_back().unwrap();
    assert_eq!(fleet.run(["attach", "web1", job]).status.code(), Some(0));
    assert!(fleet.ok(["jobs", "web1", "--json"]).contains("\"state\":\"ended\""));
    straggler.go_on();
    let all = (1..=30000).fold("here\n".to_owned(), |all, n| all + &format!("{n}\n"));
    assert!(fleet.ok(["logs", "web1", job]) == all);
}

/// Starts a controller with this command, and leaves it running.
fn run(fleet: &TestFleet, options: &[&str], line: &str) -> Child {
    let mut run = fleet.lariat();
    run.arg("run").arg("web1").args(options).args(["--", line]);
    run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_killed_supervisor_takes_its_command_along_but_not_what_another_left() {
    let (fleet, agent) = TestFleet::with_agent();
    zygote(&agent);
    let straggler = Straggler::new(&fleet, "other");
    fleet.ok(["run", "web1", "--", &straggler.line("", "")]);
    let [pid, supervisor] = ["pid", "job-supervisor"].map(|name| fleet.path(name));
    let line =
        format!("echo $PPID > {}; echo $$ > {}; sleep 300", supervisor.display(), pid.display());
    let mut controller = run(&fleet, &[], &line);
    let (command, supervisor) = (pid_in(&pid), pid_in(&supervisor));
    kill_process(supervisor, Signal::KILL).unwrap();
    until_gone("the command", command);
    assert_eq!(controller.wait().unwrap().code(), Some(255));
    // A supervisor that only reads on for a child ends without it.
    let lingering = pid_in(&straggler.supervisor);
    kill_process(lingering, Signal::KILL).unwrap();
    until_gone("the supervisor that lingered", lingering);
    fs::write(&straggler.gate, "").unwrap();
}

/// The supervisor that waits for the next job, and its control group.
fn ready(zygote: Pid) -> (Pid, PathBuf) {
    wait::until("a supervisor that is ready", || {
        let ready = children(zygote, "lariat-job").pop()?;
        let open = fs::read_dir(format!("/proc/{}/fd", ready.as_raw_nonzero())).ok()?.flatten();
        let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        Some((ready, open.find(|path| path.to_string_lossy().contains("/lariat-"))?))
    })
}

#[test]
fn a_control_group_is_there_before_its_job_and_goes_with_its_supervisor() {
    let (fleet, agent) = TestFleet::with_agent();
    if !fleet.ok(["run", "web1", "--", "cat /proc/self/cgroup"]).contains("/lariat-") {
        eprintln!("there are no control groups here");
        return;
    }
    let zygote = zygote(&agent);
    let (_, first) = ready(zygote);
    // Another agent in the same place sweeps when it starts.
    let other = fleet.agent("web2");
    ready(self::zygote(&other));
    assert!(first.is_dir(), "its supervisor holds it");
    let name = format!("/{}\n", first.file_name().unwrap().to_str().unwrap());
    assert!(fleet.ok(["run", "web1", "--", "cat /proc/self/cgroup"]).contains(&name));
    let until_removed = |group: &Path| {
        wait::until("the group to be removed", || (!group.exists()).then_some(()));
    };
    until_removed(&first);
    let (unused, group) = ready(zygote);
    kill_process(unused, Signal::KILL).unwrap();
    until_removed(&group);
    fleet.ok(["run", "web1", "--", "true"]);
    let (_, group) = ready(zygote);
    agent.signal(Signal::KILL);
    until_removed(&group);
}

#[test]
fn what_was_written_down_but_never_begun_is_begun_by_the_next_agent() {
    let (fleet, mut agent) = TestFleet::with_agent();
    // The zygote is stopped, so no new supervisor can start.
    let zygote = zygote(&agent);
    let ready = wait::until("a supervisor that is ready", || children(zygote, "lariat-job").pop());
    kill_process(zygote, Signal::STOP).unwrap();
    kill_process(ready, Signal::KILL).unwrap();
    let once = fleet.path("once");
    let controller = run(&fleet, &[], &format!("echo x >> {}", once.display()));
    wait::until("the job's record", || {
        fs::read_dir(agent.state().join("jobs")).unwrap().next().map(drop)
    });
    agent.kill_and_restart();
    let output = controller.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(once).unwrap(), "x\n");
    kill_process(zygote, Signal::KILL).unwrap();
}

#[test]
fn without_a_grace_time_no_supervisor_outlives_its_controller() {
    let (fleet, agent) = TestFleet::with_agent();
    let zygote = zygote(&agent);
    for round in 0..12 {
        let pid = fleet.path(format!("pid{round}"));
        let line = format!("echo $$ > {}; echo out; exec sleep 300", pid.display());
        let mut controller = run(&fleet, &["--reconnect", "0"], &line);
        if round % 3 == 0 {
            pid_in(&pid);
        }
        controller.kill().unwrap();
        controller.wait().unwrap();
    }
    wait::until("all supervisors to leave but the one that is ready", || {
        (children(zygote, "lariat-job").len() <= 1).then_some(())
    });
}

#[test]
fn a_supervisor_that_is_told_to_stop_as_its_command_begins_ends_it() {
    let (fleet, _agent) = TestFleet::with_agent();
    for _ in 0..20 {
        let ended = fleet.run(["run", "web1", "--json", "--", "kill $PPID; exec sleep 600"]);
        let object: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        let why = object["error"].as_str().unwrap();
        assert!(object["exit"] == 143 && why.ends_with("was told to stop"), "{object}");
    }
}

#[test]
fn a_supervisor_that_is_told_to_stop_waits_for_nobody() {
    let (fleet, _agent) = TestFleet::with_agent();
    let [supervisor, told] = ["supervisor", "told"].map(|name| fleet.path(name));
    let line = format!(
        "trap 'echo told >> {}; exit 3' TERM; echo $PPID > {}; while :; do sleep 0.02; done",
        told.display(),
        supervisor.display()
    );
    let mut controller = run(&fleet, &["--reconnect", "10m"], &line);
    let supervisor = pid_in(&supervisor);
    controller.kill().unwrap();
    controller.wait().unwrap();
    kill_process(supervisor, Signal::TERM).unwrap();
    until_gone("the supervisor", supervisor);
    assert_eq!(fs::read_to_string(&told).unwrap(), "told\n");
    let listed = fleet.ok(["jobs", "web1", "--json"]);
    assert!(listed.contains("\"state\":\"ended\"") && listed.contains("\"exit\":143"), "{listed}");
}

#[test]
fn a_controller_that_is_back_too_late_hears_why_its_command_was_ended() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let pid = fleet.path("pid");
    let line = format!("echo $$ > {}; exec sleep 300", pid.display());
    let controller = run(&fleet, &["--reconnect", "500ms"], &line);
    let command = pid_in(&pid);
    kill_process(Pid::from_child(&controller), Signal::STOP).unwrap();
    agent.kill_and_restart();
    until_gone("the command", command);
    kill_process(Pid::from_child(&controller), Signal::CONT).unwrap();
    let output = controller.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{error}");
    assert!(error.contains("grace time") && error.contains("web1"), "{error}");
}
