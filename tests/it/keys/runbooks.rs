//! What SECURITY.md says to do when something was stolen, command by command, while a thief is at it.

use std::path::{Path, PathBuf};
use std::process::Command;

use lariat_testing::agent::{Agent, anywhere, lariatd};
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;

use super::{Operator, add, keys};

fn copy(from: &Path, to: PathBuf) -> PathBuf {
    assert!(Command::new("cp").arg("-a").args([from, &to]).status().unwrap().success());
    to
}

#[test]
fn a_stolen_key() {
    let (fleet, _agents) = fleet_of(2);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run,jobs,keys"]);
    let first = bob.id();
    let thief = Operator { home: copy(&bob.home, fleet.path("thief")), ..bob };
    let bob = Operator { fleet: &fleet, name: "bob", home: fleet.path("bob.home") };
    // The thief is quicker: the key is replaced, and another one is added.
    thief.ok(&["key", "rotate", "all"]);
    let mallory = Operator::new(&fleet, "mallory");
    let request = mallory.request(&[]);
    let id = mallory.id();
    thief.ok(&["key", "add", request.to_str().unwrap(), "all", "--id", &id, "--verbs", "run"]);
    assert!(bob.refused(&["ping", "h0001"]).contains("denied the login"));

    fleet.ok(["key", "revoke", &first, "all"]);
    assert!(thief.refused(&["ping", "h0001"]).contains("denied the login"));
    assert!(fleet.ok(["key", "list", "all"]).contains("mallory"));
    fleet.ok(["key", "revoke", "mallory", "all"]);
    assert!(mallory.refused(&["ping", "h0001"]).contains("denied the login"));
    let label = keys(&fleet, "h0001")[0]["label"].as_str().unwrap().to_owned();
    assert_eq!(fleet.ok(["key", "list", "all"]).matches(&label).count(), 2);

    // Bob, with another key and another home.
    let bob = Operator { home: fleet.path("bob.new"), ..bob };
    let (file, print) = super::export(&fleet, "again");
    let file = file.to_str().unwrap();
    bob.ok(&["fleet", "import", file, "--ca", &print, "--label", "bob"]);
    let request = bob.request(&[]);
    add(&fleet, &request, "all", &bob.id(), &["--verbs", "run,jobs", "--expires", "365d"]);
    bob.ok(&["run", "all", "--", "true"]);
    bob.ok(&["key", "rotate", "all"]);
    assert!(thief.refused(&["ping", "h0001"]).contains("denied the login"));
}

#[test]
fn the_only_key_that_changes_keys_is_stolen() {
    let (fleet, agent) = TestFleet::with_agent();
    let carol = Operator::new(&fleet, "carol");
    let request = carol.request(&[]);
    let owner = keys(&fleet, "web1")[0]["id"].as_str().unwrap().to_owned();
    let mut root = lariatd(&fleet.bundle("web1").join("agent.toml"));
    root.args(["key", "add"]).arg(&request).args(["--id", &carol.id()]);
    assert!(root.status().unwrap().success());
    agent.wait_for("were read anew");
    carol.ok(&["key", "revoke", &owner, "web1"]);
    assert!(fleet.fails(255, ["ping", "web1"]).contains("denied the login"));
    carol.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn a_request_file_that_others_have_read() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let request = std::fs::read_to_string(bob.request(&[])).unwrap();
    let is_secret = |line: &&str| line.starts_with("stored = ") || line.starts_with("agent = ");
    let secrets: Vec<&str> = request.lines().filter(is_secret).collect();
    let keyring = || std::fs::read_to_string(fleet.bundle("web1").join("keyring.toml")).unwrap();
    assert!(secrets.iter().all(|line| keyring().contains(line)), "it is what the host checks with");
    bob.ok(&["key", "rotate", "all"]);
    assert!(!secrets.iter().any(|line| keyring().contains(line)));
    bob.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn a_host_that_was_taken_over() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    drop(agent);
    let stolen = copy(&fleet.bundle("web1"), fleet.path("stolen"));
    fleet.ok(["forget", "web1"]);
    std::fs::remove_dir_all(fleet.bundle("web1")).unwrap();
    let agent = fleet.agent("web1");
    fleet.ok(["run", "web1", "--", "true"]);

    // What the thief has is no host of the fleet, and bob takes it for one only until he has the new export.
    let impostor = Agent::start(stolen.join("agent.toml"), anywhere());
    fleet.set_address("web1", impostor.address);
    assert!(fleet.fails(255, ["ping", "web1"]).contains("not the one enrolled"));
    fleet.set_address("web1", agent.address);
    assert!(bob.refused(&["ping", "web1", "--reconnect", "0"]).contains("connection refused"));
    let (file, _) = super::export(&fleet, "anew");
    bob.ok(&["fleet", "import", file.to_str().unwrap(), "--yes"]);
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    let request = bob.request(&["web1"]);
    add(&fleet, &request, "web1", &bob.id(), &["--verbs", "run"]);
    bob.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn the_key_of_the_ca_is_stolen() {
    let (fleet, agent) = TestFleet::with_agent();
    let thief =
        Operator { home: copy(&fleet.home(), fleet.path("thief")), fleet: &fleet, name: "" };
    // A host of the same name, with a certificate of the same CA.
    thief.ok(&["forget", "web1"]);
    let bundle = fleet.path("false.lariat");
    thief.ok(&["enroll", "web1", "--address", "127.0.0.1:1", "--out", bundle.to_str().unwrap()]);
    let impostor = Agent::start(bundle.join("agent.toml"), anywhere());
    fleet.set_address("web1", impostor.address);
    assert!(fleet.fails(255, ["ping", "web1"]).contains("not the one enrolled"));
    // A false export must be agreed to, and says what it changes.
    thief.ok(&["fleet", "export", fleet.path("false.fleet").to_str().unwrap()]);
    let file = fleet.path("false.fleet");
    let asked = fleet.run(["fleet", "import", file.to_str().unwrap()]);
    let told = lariat_testing::output::text(&asked.stderr);
    assert!(!asked.status.success() && told.contains("web1: key "), "{told}");

    // A new fleet in another home, with the same hosts.
    drop(agent);
    let anew = TestFleet::new();
    let _agent = anew.agent("web1");
    anew.ok(["run", "web1", "--", "true"]);
    assert!(thief.refused(&["run", "web1", "--reconnect", "0", "--", "true"]).contains("web1"));
}
