//! A plan whose controller was killed is resumed: no step of it is repeated silently.

use std::fs;
use std::process::{Child, Stdio};

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::wait;

struct Plan {
    fleet: TestFleet,
}

impl Plan {
    /// A step that lasts until a file exists, and one after it; each writes a line.
    fn write(&self, options: &str) {
        let [log, gate] = [self.fleet.path("log"), self.fleet.path("gate")];
        let plan = format!(
            "[[step]]\nrun = \"echo one >> {log}; while ! [ -e {gate} ]; do sleep 0.05; done; echo done\"\n\
             {options}\n[[step]]\nrun = \"echo two >> {log}\"\n",
            log = log.display(),
            gate = gate.display(),
        );
        fs::write(self.fleet.path("plan.toml"), plan).unwrap();
    }

    /// Starts the plan, and kills the controller in its first step.
    fn killed(&self, times: usize) {
        let mut batch = self.fleet.lariat();
        batch.args(["batch", "plan.toml", "all"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child: Child = batch.spawn().unwrap();
        wait::until("the first step", || (self.log().len() >= times).then_some(()));
        // The step is recorded before it is requested, and a line is written whole.
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.fleet.path("log")).unwrap_or_default();
        log.lines().map(ToOwned::to_owned).collect()
    }

    /// Resumes the plan; returns stdout and stderr.
    fn resumed(&self) -> (String, String) {
        let output = self.fleet.run(["batch", "plan.toml", "all", "--resume"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    }
}

#[test]
fn a_command_that_still_runs_is_attached_to() {
    let (fleet, _agent) = TestFleet::with_agent();
    let plan = Plan { fleet };
    plan.write("");
    plan.killed(1);
    fs::write(plan.fleet.path("gate"), "").unwrap();
    let (stdout, stderr) = plan.resumed();
    assert_eq!(plan.log(), ["one", "two"]);
    assert_eq!(stdout, "web1: done\n");
    assert!(stderr.contains("web1: plan.toml:1: run echo one"), "{stderr}");
    assert!(stderr.contains("begun before as job ") && stderr.contains(": attached to it"));
    assert!(!stderr.contains("tried again"), "{stderr}");
}

#[test]
fn a_command_that_has_ended_meanwhile_counts_as_it_ended() {
    let (fleet, _agent) = TestFleet::with_agent();
    let plan = Plan { fleet };
    plan.write("reconnect = \"1s\"");
    plan.killed(1);
    fs::write(plan.fleet.path("gate"), "").unwrap();
    wait::until("its supervisor to have gone", || {
        let jobs = plan.fleet.ok(["jobs", "web1", "--json"]);
        (!jobs.contains("\"running\"")).then_some(())
    });
    let (stdout, stderr) = plan.resumed();
    assert_eq!(
        (plan.log(), stdout),
        (vec!["one".to_owned(), "two".to_owned()], "web1: done\n".into()),
        "{stderr}"
    );
}

#[test]
fn a_command_that_was_ended_for_its_controller_is_named_and_tried_again() {
    let (fleet, _agent) = TestFleet::with_agent();
    let plan = Plan { fleet };
    plan.write("reconnect = \"200ms\"");
    plan.killed(1);
    wait::until("its grace time to be over", || {
        let jobs = plan.fleet.ok(["jobs", "web1", "--json"]);
        (!jobs.contains("\"running\"")).then_some(())
    });
    fs::write(plan.fleet.path("gate"), "").unwrap();
    let (_, stderr) = plan.resumed();
    assert_eq!(plan.log(), ["one", "one", "two"]);
    let why = "it was ended, for nobody came back within its grace time";
    assert!(stderr.contains(&format!("begun before, and {why}: tried again")), "{stderr}");
}
