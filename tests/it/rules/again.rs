//! Rules that change, keys that are revoked and dates that pass end what runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, test_kill_process};

use super::{directory, refused};

/// How soon a change must have ended what it does not permit. A busy machine takes longer than one that is not.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

const RUN: &str = "verbs = [\"run\", \"push\", \"jobs\"]\n";

/// A command that says its process id and stays, deaf to SIGTERM, and that process.
fn stays(fleet: &TestFleet, options: &[&str]) -> (Child, Pid) {
    let mut run: Command = fleet.lariat();
    run.arg("run").args(options).args([
        "web1",
        "--",
        "trap '' TERM; echo $$; while :; do sleep 1; done",
    ]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (run, Pid::from_raw(line.trim().parse().unwrap()).unwrap())
}

fn is_gone(pid: Pid) -> Option<()> {
    test_kill_process(pid).is_err().then_some(())
}

/// Changes the rules of the running agent, and waits until the processes are gone.
fn change(fleet: &TestFleet, agent: &Agent, rules: &str, gone: &[Pid]) {
    fleet.set_rules("web1", rules);
    let began = Instant::now();
    agent.signal(Signal::HUP);
    for &pid in gone {
        wait::until("the command to be gone", || is_gone(pid));
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

fn error_of(run: Child) -> String {
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_narrower_rule_ends_what_it_does_not_permit() {
    let (fleet, agent) = TestFleet::with_rules(RUN);
    let (run, pid) = stays(&fleet, &[]);
    // The same rules on other lines change nothing.
    fleet.set_rules("web1", &format!("# the same\n{RUN}"));
    agent.signal(Signal::HUP);
    agent.wait_for("were read anew");
    assert!(is_gone(pid).is_none());
    change(&fleet, &agent, &format!("{RUN}commands = [[\"/usr/bin/id\"]]\n"), &[pid]);
    let error = error_of(run);
    assert!(error.contains("not permitted") && error.contains("commands"), "{error}");
    refused(&fleet, ["run", "web1", "--", "ls -l"]);
    fleet.ok(["run", "web1", "--", "id"]);
}

#[test]
fn a_key_that_is_gone_has_no_sessions_and_no_jobs() {
    let (fleet, agent) = TestFleet::with_rules(RUN);
    let (run, followed) = stays(&fleet, &[]);
    let marker = directory(&fleet, "").join("pid");
    let line = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", marker.display());
    fleet.ok(["run", "--detach", "web1", "--", &line]);
    let detached = wait::until("the detached command", || {
        Pid::from_raw(fs::read_to_string(&marker).ok()?.trim().parse().ok()?)
    });
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    fs::write(&keyring, "").unwrap();
    let began = Instant::now();
    agent.signal(Signal::HUP);
    for pid in [followed, detached] {
        wait::until("the command to be gone", || is_gone(pid));
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(error_of(run).contains("web1"));
    fleet.fails(255, ["run", "--reconnect", "0", "web1", "--", "true"]);
    fs::write(&keyring, text).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("were read anew");
    agent.wait_for("were read anew");
    fleet.ok(["run", "web1", "--", "true"]);
}

#[test]
fn jobs_of_a_key_that_went_while_the_agent_was_away_are_ended_at_its_start() {
    let (fleet, agent) = TestFleet::with_rules(RUN);
    let marker = directory(&fleet, "").join("pid");
    let line = format!("echo $$ > {}; exec sleep 1000", marker.display());
    fleet.ok(["run", "--detach", "web1", "--", &line]);
    let pid = wait::until("the detached command", || {
        Pid::from_raw(fs::read_to_string(&marker).ok()?.trim().parse().ok()?)
    });
    drop(agent);
    assert!(is_gone(pid).is_none());
    fs::write(fleet.bundle("web1").join("keyring.toml"), "").unwrap();
    let _agent = fleet.start("web1");
    wait::until("the command to be gone", || is_gone(pid));
}

#[test]
fn a_date_that_passes_ends_what_runs() {
    let (fleet, agent) = TestFleet::with_rules(RUN);
    let (run, pid) = stays(&fleet, &[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let day = now % 86_400 + 2;
    // The last seconds of a day are one second late at most.
    let (hours, minutes, seconds) = (day / 3600 % 24, day / 60 % 60, day % 60);
    let date = fleet_date(now + 2);
    let end = format!("{date}T{hours:02}:{minutes:02}:{seconds:02}Z");
    fleet.set_rules("web1", &format!("{RUN}not_after = {end}\n"));
    agent.signal(Signal::HUP);
    wait::until("the command to be gone", || is_gone(pid));
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 2..now + 2 + SOON.as_secs() + 2).contains(&passed), "{now} {passed}");
    let error = error_of(run);
    assert!(error.contains("not permitted") && error.contains("its time is over"), "{error}");
}

/// The day of a moment, in UTC.
fn fleet_date(seconds: u64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%F"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn a_transfer_that_is_no_longer_permitted_ends() {
    let (fleet, agent) = TestFleet::with_rules(RUN);
    let up = directory(&fleet, "up");
    let mut push = fleet.lariat();
    push.args(["push", "--reconnect", "0", "-", &format!("web1:{}/file", up.display())]);
    let mut push = push.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(push.stdin.as_mut().unwrap(), &vec![7; 2 << 20]).unwrap();
    wait::partial_reaches(&up, 1 << 20);
    fleet.set_rules("web1", &format!("{RUN}push = [\"/nowhere\"]\n"));
    agent.signal(Signal::HUP);
    agent.wait_for("this key is not permitted to push");
    let stdin = push.stdin.take();
    let error = error_of(push);
    drop(stdin);
    assert!(error.contains("not permitted") && error.contains("push"), "{error}");
    assert!(!up.join("file").exists());
}
