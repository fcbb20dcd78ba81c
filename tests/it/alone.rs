//! Jobs that end while no controller is connected.

use std::process::{Child, Stdio};

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use lariat_testing::wait;
use rustix::process::Signal;
use serde_json::Value;

/// Runs a command that ends once the file `gate` exists, and waits until it runs.
fn run(fleet: &TestFleet) -> Child {
    let [here, gate] = ["here", "gate"].map(|name| fleet.path(name).display().to_string());
    let line = format!("touch {here}; until [ -e {gate} ]; do sleep 0.01; done; echo x; exit 4");
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--", &line]).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = run.spawn().unwrap();
    wait::until("the command", || fleet.path("here").exists().then_some(()));
    child
}

fn open(fleet: &TestFleet) {
    std::fs::write(fleet.path("gate"), "").unwrap();
}

/// The only job, once it has ended.
fn ended(fleet: &TestFleet) -> Value {
    wait::until("the job's end", || {
        let jobs = objects(&fleet.ok(["jobs", "web1", "--json"]));
        (jobs[0]["state"] != "running").then(|| jobs[0].clone())
    })
}

#[test]
fn one_that_waits_for_its_controller_is_told_as_ended() {
    let (fleet, agent) = TestFleet::with_agent();
    let mut child = run(&fleet);
    child.kill().unwrap();
    child.wait().unwrap();
    open(&fleet);
    let job = ended(&fleet);
    assert_eq!((&job["state"], &job["exit"]), (&"ended".into(), &4.into()), "{job}");
    let directory = agent.job_directory(job["job"].as_str().unwrap());
    assert!(directory.join("socket").exists(), "its supervisor still waits");
    assert_eq!(ended(&fleet)["seconds"], job["seconds"], "its time does not go on");
}

#[test]
fn one_that_was_ended_is_told_as_ended() {
    let (fleet, _agent) = TestFleet::with_agent();
    let mut child = run(&fleet);
    child.kill().unwrap();
    child.wait().unwrap();
    let job = objects(&fleet.ok(["jobs", "web1", "--json"]))[0]["job"].clone();
    fleet.ok(["kill", "web1", job.as_str().unwrap()]);
    let job = ended(&fleet);
    assert_eq!((&job["state"], &job["signal"]), (&"ended".into(), &15.into()), "{job}");
}

#[test]
fn what_it_wrote_is_still_there_for_who_comes_back() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let child = run(&fleet);
    agent.signal(Signal::KILL);
    agent.wait();
    open(&fleet);
    agent.restart();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), "x\n"));
}
