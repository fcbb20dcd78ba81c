//! Every object that a verb prints has the fields and the types that docs/json.md promises.

use std::collections::BTreeMap;
use std::fs;

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use serde_json::{Map, Value};

/// The promised fields of each verb: whether they may be left out, and their types.
type Promises = BTreeMap<String, BTreeMap<String, (bool, Vec<String>)>>;

fn promises() -> Promises {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let (mut all, mut verb) = (Promises::new(), String::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut verb);
            all.entry(verb.clone()).or_default();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", names, types, ..] = cells.as_slice() else { continue };
        for name in names.split(", ").filter_map(|name| name.strip_prefix('`')?.strip_suffix('`')) {
            let required = types.strip_prefix("optional ");
            let types = required.unwrap_or(types).split(" or ").map(ToOwned::to_owned).collect();
            all.entry(verb.clone())
                .or_default()
                .insert(name.to_owned(), (required.is_some(), types));
        }
    }
    all
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "text" => value.is_string(),
        "bool" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("docs/json.md: {other} is no type"),
    }
}

fn check(promises: &Promises, sections: &[&str], line: &[&str], object: &Map<String, Value>) {
    let fields: BTreeMap<_, _> = sections.iter().flat_map(|section| &promises[*section]).collect();
    for (name, value) in object {
        let (_, types) =
            fields.get(name).unwrap_or_else(|| panic!("{line:?}: {name} is not in docs/json.md"));
        assert!(
            types.iter().any(|one| is(value, one)),
            "{line:?}: {name}: {value} is not {types:?}"
        );
    }
    for (name, (is_optional, _)) in fields {
        assert!(
            *is_optional || object.contains_key(name),
            "{line:?}: {name} is missing in {object:?}"
        );
    }
}

#[test]
fn what_verbs_print_is_what_the_page_promises() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("discover = true\n{settings}")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    // There is no agent.
    fleet.enroll("down", "127.0.0.1:1");
    fs::write(fleet.path("f"), "one\n").unwrap();
    fs::write(fleet.path("lines"), "true\nfalse\n").unwrap();
    fs::write(fleet.path("plan.toml"), "[[step]]\nrun = \"exit 4\"\n").unwrap();
    let there = fleet.path("there").display().to_string();
    let (all, there_on_all) = (format!("all:{there}"), format!("all:{there}/"));
    let own = fleet.own_label();
    let promises = promises();
    let mut checked: Vec<&str> = vec!["All"];
    for (section, more, line) in [
        (
            "run",
            &["All"][..],
            &["run", "all", "--json", "--", "echo x; printf '\\377' >&2; exit 3"][..],
        ),
        ("run", &["All"], &["run", "web1", "--json", "--", "kill -9 $$"]),
        ("run", &["All"], &["run", "web1", "--json", "--timeout", "100ms", "--", "sleep 9"]),
        ("run", &["All"], &["run", "all", "--json", "--from", "lines"]),
        ("run", &["All"], &["run", "web1", "--json", "--encoding", "gbk", "--", "printf '\\377'"]),
        ("run", &["All"], &["run", "web1", "--json", "--detach", "--", "true"]),
        ("can", &["All"], &["run", "all", "--json", "--dry-run", "--", "true"]),
        ("push", &["All"], &["push", "f", &all, "--json", "--verify"]),
        ("push", &["All"], &["push", "missing", &all, "--json"]),
        ("push", &["All"], &["pull", &all, "back", "--json"]),
        ("clean", &["All"], &["clean", &there_on_all, "--json"]),
        ("batch", &["All"], &["batch", "plan.toml", "all", "--json"]),
        ("ping", &["All"], &["ping", "all", "--json"]),
        ("forward", &["All"], &["forward", "down", "-D", "0", "--reconnect", "0", "--json"]),
        ("jobs", &["All"], &["jobs", "all", "--json"]),
        ("jobs", &["All"], &["kill", "web1", "--json"]),
        ("logs", &["All", "jobs"], &["logs", "all", "--json"]),
        ("logs", &["All", "jobs"], &["attach", "web1", "--json"]),
        ("last", &["All"], &["last", "--json"]),
        ("hosts", &[], &["hosts", "--json"]),
        ("discover", &[], &["discover", "--json"]),
        ("renew", &["All"], &["renew", "all", "--json"]),
        ("upgrade", &["All"], &["upgrade", "all", "--json"]),
        ("status", &["All"], &["status", "all", "--json"]),
        ("watch", &["All", "status"], &["watch", "all", "--json", "--count", "1"]),
        ("note", &["All"], &["note", "all", "a word", "--json"]),
        ("note", &["All"], &["note", "all", "--json"]),
        ("doctor", &[], &["doctor", "all", "--json"]),
        ("can", &["All"], &["can", "nobody", "all", "--json"]),
        ("can", &["All"], &["can", &own, "all", "--json"]),
        ("can", &["All"], &["run", "all", "--dry-run", "--from", "lines", "--json"]),
        ("key list", &["All"], &["key", "list", "all", "--json"]),
        ("key list on this machine", &[], &["key", "list", "--json"]),
        ("key add", &["All"], &["key", "allow", "nobody", "all", "--verbs", "run", "--json"]),
        ("key add", &["All"], &["key", "revoke", "nobody", "all", "--json"]),
        ("audit pull", &["All"], &["audit", "pull", "all", "audits", "--json"]),
        ("audit verify", &["All"], &["audit", "verify", "all", "--json"]),
        ("ca show", &[], &["ca", "show", "--json"]),
        (
            "enroll",
            &["All"],
            &["enroll", "new", "--ssh", "127.0.0.1", "--ssh-command", "false", "--json"],
        ),
    ] {
        let output = fleet.run(line);
        let objects = text(&output.stdout).lines();
        let objects: Vec<Value> = objects.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!objects.is_empty(), "{line:?}: {output:?}");
        for object in &objects {
            let object = object.as_object().unwrap();
            // A host that failed has no more than the fields of all verbs.
            let is_bare = section == "key list" && object["ok"] == false;
            let sections = if is_bare { more.to_vec() } else { [more, &[section]].concat() };
            check(&promises, &sections, line, object);
        }
        checked.push(section);
    }
    for section in promises.keys().filter(|section| *section != "audit show") {
        assert!(checked.contains(&section.as_str()), "{section} was not checked");
    }
}

/// Whatever the verb: the object of the one host that is named, and nothing else.
#[test]
fn a_host_that_is_not_in_the_fleet_has_an_object() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    fs::write(fleet.path("plan.toml"), "[[step]]\nrun = \"exit 4\"\n").unwrap();
    let request = fleet.lariat().args(["key", "request"]).output().unwrap();
    fs::write(fleet.path("req"), request.stdout).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(fleet.path("req"), private).unwrap();
    for line in [
        &["run", "nope", "--json", "--", "true"][..],
        &["batch", "plan.toml", "nope", "--json"],
        &["key", "add", "req", "nope", "--json"],
        &["key", "allow", "bob", "nope", "--verbs", "run", "--json"],
        &["key", "revoke", "bob", "nope", "--json"],
        &["key", "list", "nope", "--json"],
        &["hosts", "nope", "--json"],
        &["attach", "nope", "--json"],
        &["kill", "nope", "--json"],
        &["ping", "nope", "--json"],
    ] {
        let output = fleet.run(line);
        assert_eq!(output.status.code(), Some(255), "{line:?}: {output:?}");
        let object: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line:?}: {error}: {output:?}"));
        assert_eq!((&object["host"], &object["ok"]), (&"nope".into(), &false.into()), "{line:?}");
        assert_eq!(object["kind"], "failed", "{line:?}");
        assert!(object["error"].as_str().unwrap().contains("no host nope"), "{line:?}: {object}");
        assert!(!text(&output.stderr).contains("lariat:"), "{line:?}: {output:?}");
    }
    // An unknown host is no verdict on one.
    for target in ["nope", "web1,nope"] {
        assert_eq!(fleet.run(["doctor", target]).status.code(), Some(255), "{target}");
    }
}
