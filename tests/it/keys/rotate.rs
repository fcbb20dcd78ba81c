//! A key is replaced while it is in use, and whatever comes between.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;
use lariat_testing::wait;

use super::{Operator, add, keys};

/// A copy of an operator's home, as a thief would have it.
fn stolen<'a>(operator: &Operator<'a>, name: &'static str) -> Operator<'a> {
    let home = operator.fleet.path(name);
    let copied = std::process::Command::new("cp").arg("-a").args([&operator.home, &home]).status();
    assert!(copied.unwrap().success());
    Operator { fleet: operator.fleet, name: operator.name, home }
}

#[test]
fn no_login_fails_while_the_key_is_replaced() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run,jobs,keys"]);
    let (old, first) = (stolen(&bob, "old"), bob.id());
    let job = bob.ok(&["run", "h0001", "--detach", "--", "sleep 1000"]);
    let job = job.split_whitespace().next_back().unwrap();
    // One that was begun before has its connection made anew, with the new key.
    let gate = fleet.path("gate");
    let line = format!("while ! [ -e {} ]; do sleep 0.01; done; exit 7", gate.display());
    let mut command = bob.lariat();
    let follows =
        command.args(["run", "h0002", "--", &line]).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the command to begin", || {
        (bob.ok(&["jobs", "h0002"]).contains("running")).then_some(())
    });

    let (over, logins) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let pinging = |host: &'static str| {
            while !over.load(Ordering::Relaxed) {
                let output = bob.run(&["ping", host]);
                assert!(output.status.success(), "{output:?}");
                logins.fetch_add(1, Ordering::Relaxed);
                // The pace of the logins, which is that of three busy operators.
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        for host in ["h0001", "h0002", "h0003"] {
            scope.spawn(move || pinging(host));
        }
        let more = |than: usize| {
            wait::until("logins", || (logins.load(Ordering::Relaxed) > than).then_some(()));
        };
        more(3);
        for _ in 0..3 {
            let rotated = bob.run(&["key", "rotate", "all"]);
            let told = text(&rotated.stdout).to_owned();
            if !rotated.status.success() || told.matches("has the new key of bob\n").count() != 3 {
                over.store(true, Ordering::Relaxed);
                panic!("{rotated:?}");
            }
            more(logins.load(Ordering::Relaxed) + 3);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_ne!(bob.id(), first);
    assert!(!bob.home.join("keys/bob.next").exists());
    assert!(old.refused(&["ping", "h0001"]).contains("denied the login"));

    let listed = keys(&fleet, "h0001");
    let listed = listed.iter().find(|key| key["label"] == "bob").unwrap();
    assert_eq!(listed["owner"], first.as_str());
    assert_eq!(listed["was"].as_array().unwrap().len(), 3);
    assert_eq!(listed["rules"]["verbs"], serde_json::json!(["run", "jobs", "keys"]));
    assert!(bob.ok(&["jobs", "h0001", job]).contains("running"));
    bob.ok(&["kill", "h0001", job]);
    std::fs::write(&gate, "").unwrap();
    let followed = follows.wait_with_output().unwrap();
    assert_eq!(followed.status.code(), Some(7), "{followed:?}");

    // By its first id it can still be revoked, as where a thief was quicker.
    fleet.ok(["key", "revoke", &first, "all"]);
    assert!(bob.refused(&["ping", "h0003"]).contains("denied the login"));
}

#[test]
fn a_host_that_is_down_keeps_the_old_key_until_the_next_time() {
    let (fleet, _web1) = TestFleet::with_agent();
    let web2 = fleet.agent("web2");
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let (address, config) = (web2.address, fleet.bundle("web2").join("agent.toml"));
    drop(web2);
    let output = bob.run(&["key", "rotate", "all", "--reconnect", "0"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(text(&output.stderr).contains("web2: not yet, so the old key of bob stays"));
    let _web2 = Agent::start(config, address);
    bob.ok(&["ping", "all"]);
    let told = bob.ok(&["key", "rotate", "all"]);
    assert!(told.contains("web1: has the new key of bob already\n"), "{told}");
    assert!(told.contains("web2: has the new key of bob\n"), "{told}");
    assert!(!bob.home.join("keys/bob.next").exists());
    bob.ok(&["run", "all", "--", "true"]);
}

#[test]
fn a_rotation_that_is_killed_anywhere_locks_nobody_out() {
    let (fleet, _agents) = fleet_of(2);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    for delay in (0..40).step_by(2) {
        let mut command = bob.lariat();
        command.args(["key", "rotate", "all"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rotating = command.spawn().unwrap();
        // Each is killed at another moment, whatever it does then.
        std::thread::sleep(Duration::from_millis(delay));
        // It may be through already.
        let _ = rotating.kill();
        rotating.wait().unwrap();
        bob.ok(&["ping", "all"]);
    }
    bob.ok(&["key", "rotate", "all"]);
    assert!(!bob.home.join("keys/bob.next").exists());
    bob.ok(&["ping", "all"]);
}

fn told_by_doctor(operator: &Operator<'_>) -> String {
    // What is wrong with this machine besides is not of interest.
    text(&operator.run(&["doctor"]).stdout).to_owned()
}

fn keys_left(operator: &Operator<'_>) -> Vec<String> {
    let files = std::fs::read_dir(operator.home.join("keys")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "bob.hosts").collect();
    names.sort();
    names
}

#[test]
fn a_key_that_is_on_one_host_only_is_rotated_there() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::new(&fleet, "bob");
    let request = bob.request(&[]);
    add(&fleet, &request, "h0001", &bob.id(), &["--verbs", "run"]);
    bob.ok(&["run", "h0001", "--", "true"]);
    let mut ids = vec![bob.id()];
    for _ in 0..2 {
        let rotated = bob.run(&["key", "rotate", "h0001"]);
        let told = text(&rotated.stderr);
        assert!(rotated.status.success() && !told.contains("h000[2-3]"), "{told}");
        assert!(told.contains("every host that is known to have bob has the new key"), "{told}");
        assert!(!ids.contains(&bob.id()));
        ids.push(bob.id());
        let listed = bob.run(&["key", "list"]);
        assert_eq!(text(&listed.stderr), "");
        assert!(!text(&listed.stdout).contains("to be replaced"), "{listed:?}");
        assert!(!told_by_doctor(&bob).contains("rotated"));
    }
    let rotated = bob.run(&["key", "rotate", "all"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let told = text(&rotated.stdout);
    for line in [
        "h0001: has the new key of bob\n",
        "h0002: denies both keys of bob, so it does not have it\n",
        "h0003: denies both keys of bob, so it does not have it\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let told = text(&rotated.stderr);
    assert!(
        told.contains("every host that has it has the new key of bob; the old one is worth"),
        "{told}"
    );
    assert_eq!(keys_left(&bob), ["bob.key"]);
    bob.ok(&["run", "h0001", "--", "true"]);
}

#[test]
fn where_no_host_has_the_key_nothing_is_begun() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::new(&fleet, "bob");
    let id = bob.id();
    let refused = bob.refused(&["key", "rotate", "h000[1-2]"]);
    assert!(refused.contains("no host has the key bob"), "{refused}");
    assert!(bob.refused(&["key", "rotate", "h0003"]).contains("denied the login"));
    assert_eq!((keys_left(&bob), bob.id()), (vec!["bob.key".to_owned()], id));
}

#[test]
fn a_host_that_was_not_asked_takes_the_old_key_until_it_is() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let first = bob.id();
    for _ in 0..2 {
        bob.ok(&["key", "rotate", "h0001"]);
    }
    assert_ne!(bob.id(), first);
    assert_eq!(keys_left(&bob), ["bob.key", "bob.old"]);
    assert!(!told_by_doctor(&bob).contains("rotated"));
    for _ in 0..2 {
        bob.ok(&["ping", "h0002"]);
    }
    assert!(
        told_by_doctor(&bob)
            .contains("bob was rotated, but not yet on h0002; lariat --key bob key rotate h0002")
    );
    let listed = bob.run(&["key", "list"]);
    assert!(text(&listed.stderr).contains("h0002: has the old key of bob"), "{listed:?}");
    bob.ok(&["key", "rotate", "all"]);
    assert_eq!(keys_left(&bob), ["bob.key"]);
    for host in ["h0001", "h0002", "h0003"] {
        let listed = keys(&fleet, host);
        let listed = listed.iter().find(|key| key["label"] == "bob").unwrap();
        assert_eq!((&listed["id"], &listed["owner"]), (&bob.id().into(), &first.as_str().into()));
    }
    assert!(!told_by_doctor(&bob).contains("rotated"));
}

#[test]
fn where_the_key_was_taken_away_it_is_not_waited_for() {
    let (fleet, _agents) = fleet_of(2);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    bob.ok(&["ping", "all"]);
    fleet.ok(["key", "revoke", "bob", "h0002"]);
    let rotated = bob.run(&["key", "rotate", "all"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let told = text(&rotated.stdout);
    assert!(
        told.contains("h0002: denies both keys of bob, which it took before: it was revoked there"),
        "{told}"
    );
    assert!(!told_by_doctor(&bob).contains("rotated"));
    assert_eq!(text(&bob.run(&["key", "list"]).stderr), "");
    bob.ok(&["key", "rotate", "h0001"]);
}

#[test]
fn a_new_key_that_was_revoked_while_it_waited_is_replaced_by_another() {
    let (fleet, _web1) = TestFleet::with_agent();
    let web2 = fleet.agent("web2");
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    bob.ok(&["ping", "all"]);
    let request = bob.request(&[]);
    let (address, config) = (web2.address, fleet.bundle("web2").join("agent.toml"));
    drop(web2);
    let rotate = |target: &str| bob.run(&["key", "rotate", target, "--reconnect", "0"]);
    assert_eq!(rotate("all").status.code(), Some(255));
    let id = bob.id();
    fleet.ok(["key", "revoke", "bob", "web1"]);
    add(&fleet, &request, "web1", &id, &["--again", "--verbs", "run"]);
    let refused = rotate("web1");
    let told = text(&refused.stderr);
    assert!(told.contains("which waited for this, was revoked there; run it again"), "{told}");
    let rotated = rotate("web1");
    assert!(rotated.status.success(), "{rotated:?}");
    bob.ok(&["run", "web1", "--", "true"]);
    assert!(told_by_doctor(&bob).contains("bob was rotated, but not yet on web2"));
    let _web2 = Agent::start(config, address);
    bob.ok(&["ping", "all"]);
    assert!(rotate("all").status.success());
    bob.ok(&["run", "all", "--", "true"]);
    assert_eq!(keys_left(&bob), ["bob.key"]);
}
