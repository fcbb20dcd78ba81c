//! Attacks on keys and their requests that must come to nothing.

use std::collections::BTreeMap;
use std::path::Path;

use lariat_testing::agent::lariatd;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;
use rustix::process::Signal;

use super::{Operator, add, keys};
use crate::audit::of_request;

/// The secrets of a request or a keyring, by what stands before them.
fn verifiers(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let is_verifier = |line: &&str| line.starts_with("stored = ") || line.starts_with("agent = ");
    text.lines().filter(is_verifier).map(str::to_owned).collect()
}

#[test]
fn a_host_learns_its_own_verifier_and_no_other() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::new(&fleet, "bob");
    let request = bob.request(&[]);
    add(&fleet, &request, "all", &bob.id(), &[]);
    let text = std::fs::read_to_string(&request).unwrap();
    let of_hosts: BTreeMap<&str, &str> = text
        .split("[[host]]\nname = \"")
        .skip(1)
        .map(|part| part.split_once('"').unwrap())
        .collect();
    assert_eq!(of_hosts.len(), 3);
    for host in of_hosts.keys() {
        let keyring = verifiers(&fleet.bundle(host).join("keyring.toml"));
        for (other, lines) in &of_hosts {
            let has = keyring.iter().any(|line| lines.contains(line.as_str()));
            assert_eq!(has, host == other, "{host} {other}");
        }
    }
}

/// Id and label stay; the verifiers are of another key, whose owner would log in under that id.
#[test]
fn a_request_that_was_exchanged_on_its_way_is_refused() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::new(&fleet, "bob");
    let mallory = Operator::new(&fleet, "mallory");
    let (honest, read_out) = (bob.request(&[]), bob.read_out());
    assert_eq!(read_out.split_once(':').unwrap().0, bob.id());
    let mut exchanged = std::fs::read_to_string(&honest).unwrap();
    for (bobs, mallorys) in verifiers(&honest).iter().zip(verifiers(&mallory.request(&[]))) {
        exchanged = exchanged.replace(bobs, &mallorys);
    }
    let false_request = fleet.path("exchanged.req");
    std::fs::copy(&honest, &false_request).unwrap();
    std::fs::write(&false_request, exchanged).unwrap();
    let (honest, false_request) = (honest.to_str().unwrap(), false_request.to_str().unwrap());
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let before = std::fs::read_to_string(&keyring).unwrap();

    let refused = fleet.fails(255, ["key", "add", false_request, "web1", "--id", &read_out]);
    assert!(refused.contains("not the one that was read out; somebody may have"), "{refused}");
    let on_the_host = |request: &str, id: &str| {
        let mut root = lariatd(&fleet.bundle("web1").join("agent.toml"));
        root.args(["key", "add", request, "--id", id]).output().unwrap()
    };
    let refused = on_the_host(false_request, &read_out);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(text(&refused.stderr).contains("not the one that was read out"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&keyring).unwrap(), before);

    // The id alone is taken, with a word.
    let words = ["key", "add", honest, "web1", "--dry-run", "--id"];
    let alone = fleet.run(words.into_iter().chain([bob.id().as_str()]));
    assert!(alone.status.success(), "{alone:?}");
    let told = text(&alone.stderr);
    assert!(told.contains("the id alone does not show that verifiers were exchanged"), "{told}");
    let both = fleet.run(words.into_iter().chain([read_out.as_str()]));
    let told = text(&both.stderr);
    assert!(told.contains(&format!("bob, {read_out}\n")) && !told.contains("alone"), "{told}");
    let added = on_the_host(honest, &bob.id());
    assert!(added.status.success() && text(&added.stderr).contains("the id alone"), "{added:?}");
    agent.wait_for("were read anew");
    bob.ok(&["run", "web1", "--", "true"]);
    let again = on_the_host(honest, &read_out);
    assert!(again.status.success() && text(&again.stderr).is_empty(), "{again:?}");
}

/// Whoever has a host's certificate but not its keyring can let everybody in, and prove nothing.
#[test]
fn a_change_of_keys_is_sent_only_to_a_host_that_has_proved_itself() {
    let (fleet, agent) = TestFleet::with_agent();
    let own = keys(&fleet, "web1")[0]["label"].as_str().unwrap().to_owned();
    let bob = Operator::new(&fleet, "bob");
    let (request, id) = (bob.request(&[]), bob.id());
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = std::fs::read_to_string(&keyring).unwrap();
    let proof = text.lines().find(|line| line.starts_with("agent = ")).unwrap();
    let impostors = text.replace(proof, &format!("agent = \"{}\"", "66".repeat(32)));
    std::fs::write(&keyring, &impostors).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("were read anew");
    let add = ["key", "add", request.to_str().unwrap(), "web1", "--id", &id];
    for words in [
        &add[..],
        &["key", "allow", &own, "web1", "--verbs", "run"],
        &["key", "revoke", &own, "web1", "--force"],
        &["key", "rotate", "web1"],
    ] {
        let output = fleet.run(words);
        assert_eq!(output.status.code(), Some(255), "{words:?}");
        let told = self::text(&output.stderr);
        assert!(told.contains("could not prove that it is the host"), "{words:?}: {told}");
        assert_eq!(std::fs::read_to_string(&keyring).unwrap(), impostors, "{words:?}");
    }
    for request in ["add key", "change rules", "revoke key", "begin rotation", "finish rotation"] {
        assert_eq!(of_request(&agent, request).len(), 0, "{request} never arrived");
    }
}

#[test]
fn a_key_with_changing_keys_is_held_to_nothing_else() {
    let (fleet, _agent) = TestFleet::with_agent();
    let _bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    for narrowed in [
        &["--users", "www"][..],
        &["--command", "/bin/true"],
        &["--push-root", "/srv"],
        &["--pull-root", "/srv"],
        &["--connect", "127.0.0.1:80"],
    ] {
        for full in ["keys", "upgrade"] {
            let words = ["-q", "key", "allow", "bob", "web1", "--verbs", full];
            let refused = fleet.fails(255, words.iter().chain(narrowed));
            assert!(refused.contains(&format!("`{full}` is full power")), "{refused}");
        }
    }
}

#[test]
fn wrong_words_are_refused_in_a_sentence() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (words, part) in [
        (&["key", "allow", "", "web1", "--verbs", "run"][..], "is not a key's label"),
        (&["key", "revoke", "a b", "web1"], "is not a key's label"),
        (&["key", "revoke", &"a".repeat(65), "web1"], "is not a key's label"),
        (&["key", "new", "a/b"], "is not a key's label"),
        (&["key", "add", "/none", "web1"], "no such file or directory"),
        (&["key", "add", "-n", "/none", "web1"], "a dry run is for push, pull and batch"),
        (&["key", "request", "none"], "no host none in this fleet"),
        (&["key", "list", "none"], "no host none in this fleet"),
        (&["key", "rotate", "none"], "no host none in this fleet"),
        (&["--key", "none", "key", "rotate", "web1"], "no key none in "),
        (&["fleet", "import", "/dev/null"], "the key ca is missing"),
        (&["fleet", "import", "/none"], "no such file or directory"),
        (&["fleet", "import", "/none", "--ca", "12"], "64 hexadecimal digits"),
        (&["fleet", "export", "/none/file"], "no such file or directory"),
        (&["audit", "verify", "web1", "--with", "/none"], "no such file or directory"),
        (&["audit", "verify", "web1", "--with", "/dev/zero"], "no witnesses of a record"),
        (&["audit", "pull", "web1", "/dev/null"], "not a directory"),
        (&["audit", "show", "web1", "--since", "soon"], "is not a duration"),
    ] {
        let refused = fleet.fails(255, words);
        assert!(refused.contains(part), "{words:?}: {refused}");
    }
    let kept = std::fs::read_dir(fleet.home().join("keys")).unwrap();
    let mut kept = kept.map(|file| file.unwrap().file_name());
    assert!(kept.all(|name| name != format!("{}.next", fleet.own_label()).as_str()));
}
