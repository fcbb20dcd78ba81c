//! What the record says of keys: the rules that they got, by a request or by hand, and what each did under any id.

use lariat_testing::agent::Agent;
use lariat_testing::files::edit;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Operator, add, keys};
use crate::audit::{of_event, of_request};

const RULES: [(&str, &str); 11] = [
    ("--verbs", "run,push,pull,connect,listen"),
    ("--users", "root"),
    ("--networks", "127.0.0.1/32"),
    ("--expires", "2090-01-31"),
    ("--push-root", "/srv/in"),
    ("--pull-root", "/srv/out"),
    ("--command", "/usr/bin/id -u"),
    ("--connect", "10.0.0.1:22"),
    ("--listen", "127.0.0.1:8080"),
    ("--max-jobs", "2"),
    ("--max-sessions", "3"),
];

fn narrow() -> Vec<&'static str> {
    RULES.iter().flat_map(|(option, value)| [*option, *value]).collect()
}

/// A line says all that [`RULES`] do.
fn has_rules(line: &Value) {
    for (field, value) in [
        ("verbs", json!(["run", "push", "pull", "connect", "listen"])),
        ("users", json!(["root"])),
        ("networks", json!(["127.0.0.1/32"])),
        ("not_after", json!("2090-01-31T23:59:59Z")),
        ("push", json!(["/srv/in"])),
        ("pull", json!(["/srv/out"])),
        ("commands", json!([["/usr/bin/id", "-u"]])),
        ("connect", json!(["10.0.0.1:22"])),
        ("listen", json!(["127.0.0.1:8080"])),
        ("max_jobs", json!(2)),
        ("max_sessions", json!(3)),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    for field in ["not_before", "stdin", "park"] {
        assert!(line.get(field).is_none(), "{field}: {line}");
    }
}

#[test]
fn the_rules_that_a_key_gets_are_in_the_record() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::new(&fleet, "bob");
    let (request, id) = (bob.request(&[]), bob.id());
    add(&fleet, &request, "web1", &id, &[&narrow()[..], &["--dry-run"]].concat());
    add(&fleet, &request, "web1", &id, &narrow());
    let added = of_request(&agent, "add key");
    assert_eq!(added.len(), 4);
    added.iter().for_each(has_rules);
    assert_eq!(added.iter().filter(|line| line["dry_run"] == true).count(), 2);
    let shown = fleet.ok(["audit", "show", "web1"]);
    let told = |part: &str| shown.lines().filter(|line| line.contains(part)).count();
    assert_eq!((told(" add key (dry run) bob "), told(" add key bob ")), (2, 2), "{shown}");
    assert_eq!(told("commands [/usr/bin/id -u]"), 4, "{shown}");

    fleet.ok(["key", "allow", "bob", "web1", "--verbs", "run", "--dry-run"]);
    fleet.ok(["key", "allow", "bob", "web1", "--verbs", "run"]);
    let changed = of_request(&agent, "change rules");
    assert_eq!(changed.len(), 4);
    for line in &changed {
        assert_eq!(line["verbs"], json!(["run"]));
        assert!(line.get("users").is_none() && line.get("push").is_none(), "{line}");
    }
}

/// The lines of keys that were changed by hand.
fn by_hand(agent: &Agent) -> Vec<Value> {
    ["key added", "key changed", "key removed"].iter().flat_map(|e| of_event(agent, e)).collect()
}

#[test]
fn an_entry_that_was_edited_is_recorded_before_it_counts_by_another_keys_change() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &narrow());
    let carol = Operator::new(&fleet, "carol");
    let (request, id) = (carol.request(&[]), carol.id());
    assert_eq!(by_hand(&agent), Vec::<Value>::new());
    let keyring = fleet.bundle("web1").join("keyring.toml");
    edit(&keyring, "max_jobs = 2", "max_jobs = 1");
    // What is only asked, and what is refused, lets nothing count.
    add(&fleet, &request, "web1", &id, &["--verbs", "run", "--dry-run"]);
    fleet.fails(255, ["key", "revoke", &fleet.own_label(), "web1"]);
    assert_eq!(by_hand(&agent), Vec::<Value>::new());
    add(&fleet, &request, "web1", &id, &["--verbs", "run"]);
    let [line] = &by_hand(&agent)[..] else { panic!("one line: {:?}", by_hand(&agent)) };
    assert_eq!(line["target"], format!("bob {}", bob.id()));
    assert_eq!((&line["event"], &line["max_jobs"]), (&json!("key changed"), &json!(1)));
    let seq = |line: &Value| line["seq"].as_u64().unwrap();
    let ends = of_request(&agent, "add key");
    assert!(seq(line) < seq(ends.last().unwrap()), "{line}");
    // A reload finds nothing more, and tells the rules of what it finds.
    for (from, to) in [("max_jobs = 1", "max_jobs = 1"), ("max_jobs = 1", "max_jobs = 2")] {
        edit(&keyring, from, to);
        let before = agent.log().len();
        agent.signal(Signal::HUP);
        lariat_testing::wait::until("the reload", || {
            let log = agent.log();
            log[before..].iter().any(|line| line.contains("were read anew")).then_some(())
        });
    }
    let lines = by_hand(&agent);
    assert_eq!(lines.len(), 2, "{lines:?}");
    has_rules(&lines[1]);
    fleet.ok(["audit", "verify", "web1"]);
}

#[test]
fn a_key_that_was_taken_out_by_hand_makes_no_change_any_more() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "keys,run"]);
    let carol = Operator::new(&fleet, "carol");
    let (request, id) = (carol.request(&[]), carol.id());
    edit(&fleet.bundle("web1").join("keyring.toml"), "\"run\", \"keys\"]", "\"run\"]");
    let request = request.to_str().unwrap();
    let told = bob.refused(&["key", "add", request, "web1", "--id", &id, "--verbs", "run"]);
    assert!(told.contains("not permitted") && told.contains("changed by hand"), "{told}");
    assert_eq!(keys(&fleet, "web1").len(), 2);
    assert_eq!(by_hand(&agent).len(), 1);
    assert!(bob.refused(&["key", "list", "web1"]).contains("not permitted"));
}

#[test]
fn what_a_key_did_is_found_by_its_label_and_by_each_of_its_ids() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run,push"]);
    let mut ids = vec![bob.id()];
    let run = |word: &str| bob.ok(&["run", "web1", "--", "echo", word]);
    run("first");
    for word in ["second", "third"] {
        bob.ok(&["key", "rotate", "web1"]);
        ids.push(bob.id());
        if word == "second" {
            run(word);
        }
    }
    let shown = |name: &str| {
        let shown = fleet.ok(["audit", "show", "web1", "--json", "--key", name]);
        let lines = objects(&shown);
        let is_run = |line: &&Value| line["event"] == "ended" && line["request"] == "run";
        let words = lines.iter().filter(is_run).map(|line| line["argv"][1].clone());
        words.collect::<Vec<_>>()
    };
    // The newest id has done nothing yet.
    for name in ids.iter().map(String::as_str).chain(["bob"]) {
        assert_eq!(shown(name), ["first", "second"], "{name} of {ids:?}");
    }
    run("third");
    fleet.ok(["key", "revoke", "bob", "web1"]);
    for name in ids.iter().map(String::as_str).chain(["bob"]) {
        assert_eq!(shown(name), ["first", "second", "third"], "{name} of {ids:?}");
    }
    let late = fleet.run(["audit", "show", "web1", "--since", "1h", "--key", &ids[1]]);
    assert!(text(&late.stdout).contains("[echo first]"), "{late:?}");
    assert_eq!(shown(&"0".repeat(32)), Vec::<Value>::new());
}
