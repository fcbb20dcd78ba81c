//! A second operator, from the request to work.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use lariat_testing::agent::lariatd;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::{objects, text};
use rustix::process::Signal;
use serde_json::Value;

use super::{Operator, add, keys};

#[test]
fn two_operators_share_hosts_and_nothing_else() {
    let (fleet, _agents) = fleet_of(2);
    let bob = Operator::new(&fleet, "bob@laptop");
    assert!(bob.refused(&["ping", "h0001"]).contains("denied the login"));
    let request = bob.request(&[]);
    assert_eq!(request.metadata().unwrap().mode() & 0o7777, 0o600);
    add(&fleet, &request, "all", &bob.id(), &["--verbs", "run,jobs", "--expires", "30d"]);
    assert_eq!(bob.ok(&["run", "h0001", "--", "echo", "hello"]), "hello\n");
    let refused = bob.refused(&["key", "list", "h0001"]);
    assert!(refused.contains("not permitted to see or change keys"), "{refused}");
    let refused = bob.refused(&["pull", "h0001:/etc/hostname", "."]);
    assert!(refused.contains("not permitted to pull"), "{refused}");

    bob.ok(&["run", "h0001", "--detach", "--", "true"]);
    assert_eq!(fleet.ok(["jobs", "h0001"]), "");
    assert!(bob.ok(&["jobs", "h0001"]).contains("true"));
    let all = fleet.ok(["jobs", "h0001", "--all-keys"]);
    assert!(all.starts_with("KEY ") && all.contains(&bob.id()[..8]), "{all}");
    assert_eq!(fleet.ok(["logs", "h0001", "--all-keys"]), "");
    assert!(
        bob.refused(&["jobs", "h0001", "--all-keys"])
            .contains("not permitted to see or change keys")
    );
    let line = bob.ok(&["run", "h0001", "--detach", "--", "sleep 1000"]);
    let job = line.split_whitespace().next_back().unwrap();
    assert!(fleet.fails(255, ["kill", "h0001", job]).contains("this key has no job"));
    assert!(fleet.ok(["kill", "h0001", job, "--all-keys"]).contains("SIGTERM sent"));

    let all = keys(&fleet, "h0001");
    assert_eq!(all.len(), 2);
    let listed = all.iter().find(|key| key["label"] == "bob@laptop").unwrap();
    assert_eq!((&listed["id"], &listed["owner"]), (&bob.id().into(), &bob.id().into()));
    assert_eq!(listed["rules"]["verbs"], serde_json::json!(["run", "jobs"]));
    assert!(listed["expires"].is_u64() && listed["last_used"].is_u64(), "{listed}");
    let table = fleet.ok(["key", "list", "all"]);
    assert!(table.starts_with("HOST   LABEL"), "{table}");
    assert_eq!(table.matches("bob@laptop").count(), 2);
    assert_eq!(table.matches(" never ").count(), 1, "{table}");
}

#[test]
fn a_request_is_checked_before_it_counts() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::new(&fleet, "bob@laptop");
    let request = bob.request(&["web1"]);
    let request = request.to_str().unwrap();
    let id = bob.id();
    let refused = fleet.fails(255, ["key", "add", request, "web1", "--id", &"0".repeat(32)]);
    assert!(refused.contains("somebody may have exchanged it"), "{refused}");
    let refused = fleet.fails(255, ["-q", "key", "add", request, "web1"]);
    assert!(refused.contains("try: --id ID:SUM"), "{refused}");
    let set_mode =
        |mode| std::fs::set_permissions(request, PermissionsExt::from_mode(mode)).unwrap();
    set_mode(0o644);
    let refused = fleet.fails(255, ["key", "add", request, "web1", "--id", &id]);
    assert!(refused.contains("is open to others (mode 0644)"), "{refused}");
    set_mode(0o600);
    assert!(bob.refused(&["ping", "web1"]).contains("denied"));

    let dry = fleet.ok(["-q", "key", "add", request, "web1", "--dry-run"]);
    assert_eq!(dry, "web1: would add bob@laptop\n");
    assert!(bob.refused(&["ping", "web1"]).contains("denied"));
    let words = ["-q", "key", "add", request, "web1", "--id", &id];
    assert_eq!(fleet.ok(words), "web1: added bob@laptop\n");
    assert_eq!(fleet.ok(words), "web1: has bob@laptop already\n");
    // The same key with other rules, or another one of the same name, never takes its place.
    let refused = fleet.fails(255, words.into_iter().chain(["--verbs", "run"]));
    assert!(refused.contains("has this id already, as bob@laptop"), "{refused}");
    let mallory = Operator { home: fleet.path("mallory"), ..Operator::new(&fleet, "mallory") };
    let (file, print) = super::export(&fleet, "again");
    let file = file.to_str().unwrap();
    mallory.ok(&["fleet", "import", file, "--ca", &print, "--label", "bob@laptop"]);
    let twin = Operator { name: "bob@laptop", ..mallory };
    let request = twin.request(&[]);
    let words = ["-q", "key", "add", request.to_str().unwrap(), "web1", "--id"];
    let refused = fleet.fails(255, words.into_iter().chain([twin.id().as_str()]));
    assert!(refused.contains("another key of this label"), "{refused}");

    let allow = |rules: &[&str]| {
        let words = ["-q", "key", "allow", "bob@laptop", "web1"];
        fleet.ok(words.into_iter().chain(rules.iter().copied()))
    };
    assert_eq!(allow(&["--verbs", "pull"]), "web1: replaced the rules of bob@laptop\n");
    assert_eq!(allow(&["--verbs", "pull"]), "web1: bob@laptop has these rules already\n");
    assert!(bob.refused(&["run", "web1", "--", "true"]).contains("not permitted to run"));
    bob.ok(&["ping", "web1"]);
}

#[test]
fn a_request_for_a_host_that_was_enrolled_anew_is_refused() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::new(&fleet, "bob@laptop");
    let request = bob.request(&[]);
    drop(agent);
    fleet.ok(["forget", "web1"]);
    std::fs::rename(fleet.bundle("web1"), fleet.path("old")).unwrap();
    let _agent = fleet.agent("web1");
    let id = bob.id();
    let words = ["-q", "key", "add", request.to_str().unwrap(), "web1", "--id", &id];
    let refused = fleet.fails(255, words);
    assert!(refused.contains("enrolled anew since the request was made"), "{refused}");
}

#[test]
fn root_on_the_host_has_a_way_back() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let bob = Operator::new(&fleet, "bob@laptop");
    let request = bob.request(&[]);
    let config = fleet.bundle("web1").join("agent.toml");
    let add = |id: &str| {
        let mut command: Command = lariatd(&config);
        command.args(["key", "add"]).arg(&request).args(["--id", id]).output().unwrap()
    };
    let other = add(&"0".repeat(32));
    assert!(!other.status.success() && text(&other.stderr).contains("exchanged"), "{other:?}");
    let set_mode = |mode| {
        std::fs::set_permissions(&request, PermissionsExt::from_mode(mode)).unwrap();
    };
    set_mode(0o640);
    let exposed = add(&bob.id());
    assert!(text(&exposed.stderr).contains("is open to others (mode 0640)"), "{exposed:?}");
    set_mode(0o600);
    let added = add(&bob.id());
    assert!(added.status.success(), "{added:?}");
    assert!(text(&added.stdout).ends_with("; the agent was told\n"), "{added:?}");
    agent.wait_for("were read anew");
    assert_eq!(bob.ok(&["key", "list", "web1", "--json"]).lines().count(), 2);

    // Whatever changes the keyring past the agent is in its audit once the agent reads it.
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let now = std::fs::read_to_string(&keyring).unwrap();
    let (others, bobs) = now.split_at(now.rfind("[[key]]").unwrap());
    let narrower = bobs.replace("\"upgrade\"", "").replace("\"audit\", ", "");
    for text in [format!("{others}{narrower}"), others.to_owned(), others.to_owned()] {
        std::fs::write(&keyring, text).unwrap();
        agent.signal(Signal::HUP);
        agent.wait_for("were read anew");
    }
    let shown = objects(&fleet.ok(["audit", "show", "web1", "--json"]));
    let target = format!("bob@laptop {}", bob.id());
    let changes: Vec<_> = shown.iter().filter(|line| line["target"] == *target).collect();
    let events: Vec<_> = changes.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["key added", "key changed", "key removed"]);
    let has = |line: usize, verb: &str| {
        changes[line]["verbs"].as_array().unwrap().iter().any(|one| one == verb)
    };
    assert!(has(0, "audit") && !has(1, "audit") && has(1, "run"), "{changes:?}");

    // So is what was changed while the agent was not there.
    agent.signal(Signal::KILL);
    agent.wait();
    let added = add(&bob.id());
    assert!(text(&added.stdout).ends_with("; the agent does not run\n"), "{added:?}");
    for _ in 0..2 {
        let agent = lariat_testing::agent::Agent::start(config.clone(), agent.address);
        fleet.set_address("web1", agent.address);
        let shown = objects(&fleet.ok(["audit", "show", "web1", "--json"]));
        let told = |line: &&Value| line["target"] == *target && line["event"] == "key added";
        assert_eq!(shown.iter().filter(told).count(), 2, "{shown:?}");
    }
}

#[test]
fn several_keys_in_one_home_are_told_apart() {
    let (fleet, _agent) = TestFleet::with_agent();
    fleet.ok(["key", "new", "ci@build"]);
    let refused = fleet.fails(255, ["key", "new", "ci@build"]);
    assert!(refused.contains("there is a key ci@build already"), "{refused}");
    fleet.ok(["ping", "web1"]);
    assert!(fleet.fails(255, ["--key", "ci@build", "ping", "web1"]).contains("denied the login"));
    let output =
        fleet.lariat().args(["ping", "web1"]).env("LARIAT_KEY", "nobody").output().unwrap();
    assert!(text(&output.stderr).contains("no key nobody in"), "{output:?}");
    let ci = Operator { fleet: &fleet, name: "ci@build", home: fleet.home() };
    let path = fleet.path("ci.req");
    let mut command = fleet.lariat();
    command.args(["key", "request"]).env("LARIAT_KEY", "ci@build");
    command.stdout(std::fs::File::create(&path).unwrap());
    assert!(command.status().unwrap().success());
    add(&fleet, &path, "web1", &ci.id(), &["--verbs", "status"]);
    fleet.ok(["ping", "web1", "--key", "ci@build"]);
}
