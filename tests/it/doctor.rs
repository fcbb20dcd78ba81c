//! `lariat doctor` says what is wrong on both ends, and what to do.

use std::fs;

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use serde_json::Value;

/// The findings of `lariat doctor` with these arguments, which exits with this status: machine, grade, text, todo.
fn findings(fleet: &TestFleet, code: i32, target: &[&str]) -> Vec<[String; 4]> {
    let output = fleet.run([&["doctor", "--json"], target].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let finding = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap();
        ["host", "grade", "text", "todo"]
            .map(|name| object[name].as_str().unwrap_or_default().to_owned())
    };
    text.lines().map(finding).collect()
}

/// The grade and text of the only finding about this.
fn one<'a>(all: &'a [[String; 4]], host: &str, about: &str) -> (&'a str, &'a str) {
    let mut found = all.iter().filter(|found| found[0] == host && found[2].contains(about));
    let [_, grade, text, _] = found.next().unwrap_or_else(|| panic!("{about}: {all:?}"));
    assert!(found.next().is_none(), "{about}: {all:?}");
    (grade, text)
}

#[test]
fn a_sound_host_has_nothing_bad() {
    let (fleet, _agent): (TestFleet, Agent) = TestFleet::with_agent();
    let all = findings(&fleet, 0, &["web1"]);
    for (host, about) in [
        ("", "1 hosts"),
        ("", "the CA: valid for"),
        ("web1", "clock: as this machine's"),
        ("web1", "certificate: valid for"),
        ("web1", "version: "),
        ("web1", "link: "),
        ("web1", "MiB are free"),
        ("web1", "keyring.toml: "),
    ] {
        assert_eq!(one(&all, host, about).0, "ok", "{about}");
    }
    // Nothing starts this agent again.
    assert_eq!(one(&all, "web1", "not a service of systemd").0, "warn");
    for [_, grade, text, todo] in &all {
        assert_eq!(grade == "ok", todo.is_empty(), "{text}");
    }
    let text = fleet.ok(["doctor", "web1"]);
    assert!(text.contains("\nok   web1: clock: as this machine's\n"), "{text}");
    assert_eq!(findings(&fleet, 0, &[]).iter().filter(|found| !found[0].is_empty()).count(), 0);
}

#[test]
fn what_is_bad_on_a_host_is_told_and_the_status_is_1() {
    let (fleet, agent) = TestFleet::with_agent();
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    // The agent goes on with the one before.
    fs::write(&keyring, format!("{text}\nnonsense = 1\n")).unwrap();
    let all = findings(&fleet, 1, &["web1"]);
    let (grade, found) = one(&all, "web1", "nonsense");
    assert_eq!(grade, "bad", "{found}");
    assert_eq!(
        all.iter().position(|found| found[0] == "web1" && found[1] == "bad"),
        all.iter().position(|found| found[0] == "web1"),
        "the worst is first: {all:?}"
    );

    fleet.enroll("web2", "127.0.0.1:1");
    drop(agent);
    let all = findings(&fleet, 1, &["web2"]);
    assert_eq!(one(&all, "web2", "refused").0, "bad");
}

#[test]
fn a_key_needs_the_verb_status() {
    let (fleet, mut agent) = TestFleet::with_agent();
    fleet.set_rules("web1", "verbs = [\"run\"]\n");
    agent.kill_and_restart();
    fleet.set_address("web1", agent.address);
    let all = findings(&fleet, 1, &["web1"]);
    assert_eq!(one(&all, "web1", "status").0, "bad");
}

#[test]
fn a_machine_without_a_fleet_is_told_how_to_make_one() {
    let fleet = TestFleet::new();
    fs::remove_dir_all(fleet.home()).unwrap();
    let all = findings(&fleet, 1, &[]);
    let (grade, text) = one(&all, "", "no fleet");
    assert!(grade == "bad" && text.contains("lariat init"), "{text}");
}
