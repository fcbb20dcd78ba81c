//! The audit of commands that nobody follows: one line at the start and one at the end, whoever is there then.

use std::path::Path;

use lariat_testing::agent::{Agent, lariatd};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use lariat_testing::wait;
use serde_json::Value;

use crate::audit::of_request;

/// A command that waits for a file.
fn waiting(gate: &Path, then: &str) -> String {
    format!("while ! [ -e {} ]; do sleep 0.01; done; {then}", gate.display())
}

fn detach(fleet: &TestFleet, line: &str) -> String {
    let told = fleet.ok(["run", "web1", "--detach", "--", line]);
    told.split_whitespace().next_back().unwrap().to_owned()
}

/// The lines about a job, of which the last one is its end.
fn to_the_end(agent: &Agent, job: &str) -> Vec<Value> {
    wait::until("the job's end to be recorded", || {
        let mut lines = of_request(agent, "run");
        lines.retain(|line| line["job"] == job);
        (lines.last()?["event"] == "ended").then_some(lines)
    })
}

#[test]
fn a_detached_command_has_a_line_at_its_start_and_one_at_its_end() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let [one, two] = ["one", "two"].map(|name| fleet.path(name));
    let line = waiting(&one, "echo hi; exit 3");
    let job = detach(&fleet, &line);
    let began = of_request(&agent, "run");
    assert_eq!((began.len(), &began[0]["event"]), (1, &"began".into()));
    // Neither the session nor the agent that began it is there at its end.
    agent.kill_and_restart();
    std::fs::write(&one, "").unwrap();
    let lines = to_the_end(&agent, &job);
    let [began, ended] = &lines[..] else { panic!("{lines:?}") };
    for field in ["key", "label", "origin", "session", "user", "rule", "job", "argv", "detached"] {
        assert!(!ended[field].is_null() && ended[field] == began[field], "{field}: {ended}");
    }
    assert_eq!(ended["began"], began["seq"]);
    assert_eq!((&ended["exit"], &ended["bytes"]), (&3.into(), &3.into()));
    assert!(ended["seconds"].as_f64().unwrap() > 0.0, "{ended}");

    // It ends while there is no agent.
    let job = detach(&fleet, &waiting(&two, "kill -9 $$"));
    let directory = agent.job_directory(&job);
    agent.signal(rustix::process::Signal::KILL);
    agent.wait();
    std::fs::write(&two, "").unwrap();
    wait::until("the supervisor to end", || (!directory.join("socket").exists()).then_some(()));
    agent.restart();
    let lines = to_the_end(&agent, &job);
    assert_eq!((lines.len(), &lines[1]["signal"]), (2, &9.into()), "{lines:?}");
    // What has ended is in what is read, however soon that is.
    let job = detach(&fleet, "true");
    fleet.ok(["attach", "web1", &job]);
    let shown = objects(&fleet.ok(["audit", "show", "web1", "--json"]));
    assert!(shown.iter().any(|line| line["job"] == job.as_str() && line["exit"] == 0));
    let mut verify = lariatd(&fleet.bundle("web1").join("agent.toml"));
    assert!(verify.args(["audit", "verify"]).status().unwrap().success());
}

#[test]
fn a_command_whose_controller_is_killed_has_its_end_too() {
    let (fleet, agent) = TestFleet::with_agent();
    let gate = fleet.path("gate");
    let mut command = fleet.lariat();
    command.args(["run", "web1", "--reconnect", "1", "--", &waiting(&gate, "exit 9")]);
    let mut run = command.spawn().unwrap();
    let began = wait::until("its begin", || of_request(&agent, "run").pop());
    wait::until("the job", || agent.find_job(began["job"].as_str().unwrap()));
    run.kill().unwrap();
    run.wait().unwrap();
    let lines =
        wait::until("both ends", || Some(of_request(&agent, "run")).filter(|l| l.len() == 3));
    assert_eq!(lines[1]["error"], "the connection ended first");
    assert_eq!(lines[2]["error"], "its controller was away for too long");
    for line in &lines[1..] {
        assert_eq!((&line["event"], &line["began"]), (&"ended".into(), &began["seq"]), "{line}");
    }
}

#[test]
fn what_an_agent_had_begun_when_it_was_killed_has_its_end() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let gate = fleet.path("gate");
    let mut command = fleet.lariat();
    command.args(["run", "web1", "--reconnect", "0", "--", &waiting(&gate, "exit 9")]);
    let mut run = command.spawn().unwrap();
    let began = wait::until("its begin", || of_request(&agent, "run").pop());
    wait::until("the job", || agent.find_job(began["job"].as_str().unwrap()));
    agent.signal(rustix::process::Signal::KILL);
    agent.wait();
    run.wait().unwrap();
    std::fs::write(&gate, "").unwrap();
    agent.restart();
    let lines =
        wait::until("both ends", || Some(of_request(&agent, "run")).filter(|l| l.len() == 3));
    for line in &lines[1..] {
        assert_eq!((&line["event"], &line["began"]), (&"ended".into(), &began["seq"]), "{line}");
        for field in ["key", "label", "origin", "session", "user", "rule", "job", "argv"] {
            assert!(!line[field].is_null() && line[field] == began[field], "{field}: {line}");
        }
    }
    assert_eq!(lines[1]["error"], "the agent was killed first");
    assert!(lines[2]["exit"] == 9 || lines[2]["error"].is_string(), "{}", lines[2]);
    let job = began["job"].as_str().unwrap();
    wait::until("the agent to know that it has told the end", || {
        let is_kept = agent.find_job(job).is_some_and(|job| job.join("audit").exists());
        (!is_kept).then_some(())
    });
    // Nothing is told twice.
    agent.kill_and_restart();
    fleet.ok(["run", "web1", "--", "true"]);
    assert_eq!(of_request(&agent, "run").len(), 5);
    let mut verify = lariatd(&fleet.bundle("web1").join("agent.toml"));
    assert!(verify.args(["audit", "verify"]).status().unwrap().success());
}

#[test]
fn a_detached_command_that_does_not_start_has_its_end_at_once() {
    let (fleet, agent) = TestFleet::with_agent();
    for (words, error) in [
        (&["--cwd", "/none", "--", "true"][..], "no such file or directory"),
        (&["--", "/no/such", "program"], "no such file or directory"),
    ] {
        let output = fleet.run(["run", "web1", "--detach"].iter().chain(words));
        assert!(!output.status.success(), "{output:?}");
        let lines = of_request(&agent, "run");
        let [.., began, ended] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&ended["event"], &ended["began"]), (&"ended".into(), &began["seq"]));
        assert!(ended["error"].as_str().unwrap().contains(error), "{ended}");
    }
    let told = of_request(&agent, "run");
    assert_eq!(told.len(), 4, "{}", text(format!("{told:?}").as_bytes()));
}
