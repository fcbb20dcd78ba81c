//! `lariat status` and `lariatd status`: how hosts are, and who uses them.

use std::fs;
use std::process::{Command, Output, Stdio};

use lariat_testing::binaries::binaries;
use lariat_testing::files::{random_file, remote, text as path_text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use lariat_testing::wait;
use serde_json::Value;

use crate::keys::Operator;

fn status(fleet: &TestFleet) -> Value {
    objects(&fleet.ok(["status", "web1", "--json"])).remove(0)
}

/// The items of a list of an object.
fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().unwrap()
}

#[test]
fn a_host_tells_how_it_is_and_who_asks() {
    let (fleet, _agent) = TestFleet::with_agent();
    let object = status(&fleet);
    assert_eq!(object["ok"], true);
    assert_eq!(object["version"], env!("CARGO_PKG_VERSION"));
    assert!(object["uptime"].as_u64() > Some(0) && object["processors"].as_u64() > Some(0));
    assert!(object["memory"]["total"].as_u64() > object["memory"]["available"].as_u64());
    assert!(object["certificate_days"].as_i64() > Some(300), "{object}");
    assert!(object["clock_skew"].as_f64().unwrap().abs() < 1.0, "{object}");
    let disks = list(&object, "disk");
    assert!(disks.iter().any(|disk| disk["size"].as_u64() > Some(0)), "{object}");
    let [session] = list(&object, "sessions") else { panic!("{object}") };
    assert_eq!(session["doing"], "status");
    assert!(session["origin"].as_str().unwrap().starts_with("127."), "{object}");
    let (jobs, transfers) = (list(&object, "jobs"), list(&object, "transfers"));
    assert!(jobs.is_empty() && transfers.is_empty(), "{object}");

    let told = fleet.ok(["status", "web1"]);
    for part in
        ["\nload ", "\nmemory ", "\ncertificate  valid for ", " as this machine's\n", ": status\n"]
    {
        assert!(told.contains(part), "{part:?}: {told}");
    }
}

#[test]
fn jobs_and_transfers_are_shown_with_what_the_key_may_see_of_them() {
    let (fleet, _agent) = TestFleet::with_agent();
    let seer = Operator::added(&fleet, "seer", &["--verbs", "status"]);
    let auditor = Operator::added(&fleet, "auditor", &["--verbs", "status,audit"]);
    fleet.ok(["run", "--detach", "web1", "--", "sleep 60 # of mine"]);
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 8 << 20, 1);
    let mut push = fleet.lariat();
    push.args(["push", &path_text(&source), &remote(&there), "--bwlimit", "1M"]);
    let mut push = push.stderr(Stdio::null()).spawn().unwrap();

    let moving = wait::until("a transfer is under way", || {
        let object = status(&fleet);
        let is_moving = |one: &Value| one["moved"].as_u64() > Some(0);
        list(&object, "transfers").iter().any(is_moving).then_some(object)
    });
    let transfer = &list(&moving, "transfers")[0];
    assert_eq!((&transfer["verb"], &transfer["bytes"]), (&"push".into(), &(8 << 20).into()));
    assert_eq!(transfer["path"], path_text(&there));
    assert!(transfer["moved"].as_u64() < Some(8 << 20), "{transfer}");
    let [job] = list(&moving, "jobs") else { panic!("{moving}") };
    assert_eq!(job["command"], "sleep 60 # of mine");
    assert_eq!(list(&moving, "sessions").len(), 2, "{moving}");
    assert_eq!(list(&moving, "sessions")[0]["doing"], "push", "the oldest first");

    let others = objects(&seer.ok(&["status", "web1", "--json"])).remove(0);
    let (job, transfer) = (&list(&others, "jobs")[0], &list(&others, "transfers")[0]);
    assert_eq!((&job["command"], &transfer["path"]), (&Value::Null, &Value::Null));
    assert_eq!(job["label"], list(&moving, "jobs")[0]["label"], "whose it is may be seen");
    let told = seer.ok(&["status", "web1"]);
    assert!(
        told.contains("\njobs ") && !told.contains("sleep") && !told.contains("there"),
        "{told}"
    );
    let told = auditor.ok(&["status", "web1"]);
    assert!(told.contains("sleep 60 # of mine") && told.contains(&path_text(&there)), "{told}");
    push.kill().unwrap();
    push.wait().unwrap();
    wait::until("no transfer is left", || {
        list(&status(&fleet), "transfers").is_empty().then_some(())
    });
}

#[test]
fn progress_of_a_transfer_as_another_user_is_known_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).unwrap();
    let source = directory.path().join("source");
    random_file(&source, 8 << 20, 1);
    fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (up, down) = (fleet.path("source"), fleet.path("down"));
    fs::copy(&source, &up).unwrap();
    for (verb, from, to) in [
        ("push", path_text(&up), remote(&directory.path().join("to"))),
        ("pull", remote(&source), path_text(&down)),
    ] {
        let mut moving = fleet.lariat();
        moving.args([verb, "--user", "nobody", &from, &to, "--bwlimit", "1M"]);
        let mut moving = moving.stderr(Stdio::null()).spawn().unwrap();
        let transfer = wait::until("a transfer is under way", || {
            let object = status(&fleet);
            let is_meant = |one: &&Value| one["moved"].as_u64() > Some(0) && one["verb"] == verb;
            list(&object, "transfers").iter().find(is_meant).cloned()
        });
        assert_eq!((&transfer["user"], &transfer["bytes"]), (&"nobody".into(), &(8 << 20).into()));
        moving.kill().unwrap();
        moving.wait().unwrap();
    }
}

#[test]
fn several_hosts_are_a_table_and_one_that_is_down_is_told() {
    let fleet = TestFleet::new();
    let _agents = ["web2", "web10"].map(|host| fleet.agent(host));
    fleet.enroll("down", "127.0.0.1:1");
    let output = fleet.run(["status", "all", "--reconnect", "0"]);
    assert_eq!(output.status.code(), Some(255));
    let table: Vec<&str> = text(&output.stdout).lines().collect();
    let [heading, first, second] = table[..] else { panic!("{table:?}") };
    assert!(heading.starts_with("HOST   UP ") && heading.ends_with(" VERSION"), "{heading}");
    assert!(first.starts_with("web2 ") && second.starts_with("web10 "), "{table:?}");
    let told = text(&output.stderr);
    assert!(told.contains("down") && told.contains("2 ok, 1 unreachable (down)"), "{told}");
    let output = fleet.run(["status", "all", "--json", "--reconnect", "0"]);
    let down = objects(text(&output.stdout)).into_iter().find(|object| object["host"] == "down");
    let down = down.unwrap();
    assert_eq!((&down["version"], &down["sessions"]), (&Value::Null, &Value::Array(Vec::new())));
}

#[test]
fn a_key_needs_the_verb() {
    let (fleet, _agent) = TestFleet::with_agent();
    let other = Operator::added(&fleet, "other", &["--verbs", "run"]);
    let told = other.refused(&["status", "web1"]);
    assert!(told.contains("not permitted") && told.contains("has no status"), "{told}");
}

#[test]
fn limits_that_kept_somebody_from_something_are_counted() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[limits]\njobs = 1\n")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    fleet.ok(["run", "--detach", "web1", "--", "sleep 60"]);
    fleet.fails(255, ["run", "web1", "--", "true"]);
    let object = status(&fleet);
    let jobs = list(&object, "limits").iter().find(|limit| limit["name"] == "jobs").unwrap();
    assert_eq!([&jobs["used"], &jobs["total"], &jobs["refused"]], [1, 1, 1], "{object}");
    // A job that has ended is none that counts.
    let job = list(&object, "jobs")[0]["job"].as_str().unwrap().to_owned();
    fleet.ok(["kill", "web1", &job, "--signal", "KILL"]);
    wait::until("the end of the job", || {
        let object = status(&fleet);
        let jobs = list(&object, "limits").iter().find(|limit| limit["name"] == "jobs").unwrap();
        (jobs["used"] == 0).then_some(())
    });
}

fn lariatd(fleet: &TestFleet, words: &[&str]) -> Output {
    let mut command = Command::new(&binaries().lariatd);
    let config = fleet.bundle("web1").join("agent.toml");
    command.args(words).arg("--config").arg(config).output().unwrap()
}

#[test]
fn on_the_host_itself_it_is_shown_once_that_is_permitted() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let output = lariatd(&fleet, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("set local = [\"status\"] in ") && told.contains("agent.toml"), "{told}");

    let config = fleet.bundle("web1").join("agent.toml");
    let rest = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("local = [\"status\"]\n{rest}")).unwrap();
    agent.kill_and_restart();
    let output = lariatd(&fleet, &["status"]);
    let told = text(&output.stdout);
    assert!(output.status.success() && told.contains("\nsessions     local:"), "{output:?}");
    let output = lariatd(&fleet, &["status", "--json"]);
    let object = &objects(text(&output.stdout))[0];
    assert_eq!((&object["host"], &object["clock_skew"]), (&"web1".into(), &Value::Null));

    drop(agent);
    let output = lariatd(&fleet, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("agent.sock"), "{output:?}");
}
