//! What is printed when a job is started detached, and when it could not be started.

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::objects;
use serde_json::Value;

/// Checks that the object is that of a command that was started, as `run` prints it, and returns the job's
/// id.
fn started(object: &Value) -> &str {
    for (key, value) in [
        ("ok", true.into()),
        ("exit", Value::Null),
        ("signal", Value::Null),
        ("stdout", "".into()),
        ("stderr", "".into()),
        ("error", Value::Null),
    ] {
        assert_eq!(object.get(key), Some(&value), "{key}: {object}");
    }
    assert!(object["seconds"].is_f64() && object["host"].is_string(), "{object}");
    object["job"].as_str().unwrap()
}

#[test]
fn its_object_is_that_of_any_run_and_the_jobs_id() {
    let (fleet, _agents) = fleet_of(2);
    for target in ["h0001", "all"] {
        let output = fleet.run(["run", target, "--detach", "--json", "--", "true"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        for object in objects(&output.stdout) {
            let (host, job) = (object["host"].as_str().unwrap(), started(&object));
            assert!(fleet.ok(["jobs", host, job, "--json"]).contains(job));
        }
    }
}

#[test]
fn what_was_surely_not_started_is_not_looked_for() {
    let (fleet, agent) = TestFleet::with_agent();
    let run = |args: &[&str]| fleet.run([&["run", "web1", "--detach"], args].concat());
    for (status, args) in [
        (127, &["--", "/no/such", "program"][..]),
        (255, &["--cwd", "/no/such", "--", "true"]),
        (255, &["--user", "no-such-user", "--", "true"]),
    ] {
        let output = run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(status) && !error.contains("lariat jobs"), "{error}");
        let output = run(&[&["--json"], args].concat());
        let object = &objects(&output.stdout)[0];
        assert_eq!(output.status.code(), Some(status), "{object}");
        assert_eq!((&object["ok"], object.get("job")), (&false.into(), None), "{object}");
        assert!(object["error"].is_string() && object["exit"].is_null(), "{object}");
    }
    drop(agent);
    let error = fleet.fails(255, ["run", "web1", "--detach", "--", "true"]);
    assert!(!error.contains("lariat jobs"), "{error}");
}
