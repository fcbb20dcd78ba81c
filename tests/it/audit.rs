//! The audit: what is recorded of requests, who may read it, and what happens when it can't be written.

use std::path::{Path, PathBuf};
use std::process::Output;

use lariat_testing::agent::{Agent, lariatd};
use lariat_testing::files::edit;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::wait;
use serde_json::Value;

use crate::keys::Operator;

fn files(agent: &Agent) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(agent.state().join("audit")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

fn lines(files: &[PathBuf]) -> Vec<Value> {
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of the agent's audit about this request.
pub(crate) fn of_request(agent: &Agent, request: &str) -> Vec<Value> {
    let lines = lines(&files(agent));
    lines.into_iter().filter(|line| line["request"] == request).collect()
}

/// The lines of the agent's audit about this event.
pub(crate) fn of_event(agent: &Agent, event: &str) -> Vec<Value> {
    let lines = lines(&files(agent));
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

fn stderr(output: &Output) -> String {
    text(&output.stderr).to_owned()
}

fn stdout(output: &Output) -> String {
    text(&output.stdout).to_owned()
}

fn verify_here(agent: &Agent) -> Output {
    let config = agent.state().parent().unwrap().join("agent.toml");
    lariatd(&config).args(["audit", "verify"]).output().unwrap()
}

fn verify(fleet: &TestFleet) -> (Option<i32>, String) {
    let output = fleet.run(["audit", "verify", "web1"]);
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn a_command_has_a_line_before_and_one_after() {
    let (fleet, agent) = TestFleet::with_agent();
    let output =
        fleet.run(["run", "web1", "--env", "TOKEN=secret", "--", "sh", "-c", "echo hi; exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    let [began, ended] = &of_request(&agent, "run")[..] else { panic!("two lines") };
    let argv = serde_json::json!(["sh", "-c", "echo hi; exit 3"]);
    for line in [began, ended] {
        assert_eq!(line["argv"], argv);
        for field in ["key", "label", "origin", "session", "user", "time", "prev", "hash", "job"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert!(!line.to_string().contains("secret"), "{line}");
        assert!(!line.to_string().contains("null"), "{line}");
    }
    assert_eq!((&began["event"], &ended["event"]), (&"began".into(), &"ended".into()));
    assert_eq!((&ended["exit"], &ended["bytes"]), (&3.into(), &3.into()));
    let of_hi = "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4";
    assert_eq!(ended["stdout"], serde_json::json!({ "bytes": 3, "sha256": of_hi }));
    assert_eq!(ended["began"], began["seq"]);
    assert!(ended["seconds"].is_number());
    let verified = verify_here(&agent);
    assert!(verified.status.success(), "{}", stderr(&verified));
}

#[test]
fn files_that_move_and_looking() {
    let (fleet, agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    std::fs::write(&source, "content").unwrap();
    let place = format!("web1:{}", dest.display());
    for words in [
        &["push", "--verify", source.to_str().unwrap(), &place][..],
        &["pull", &place, fleet.path("back").to_str().unwrap()],
        &["ping", "web1"],
        &["jobs", "web1"],
    ] {
        let output = fleet.run(words);
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    }
    let wait_for = |request: &str| {
        wait::until(request, || Some(of_request(&agent, request)).filter(|lines| lines.len() == 2))
    };
    for request in ["push", "pull"] {
        let lines = wait_for(request);
        assert_eq!(lines[1]["path"], dest.to_str().unwrap());
        assert_eq!(lines[1]["bytes"], 7, "{}", lines[1]);
    }
    let sum = blake3::hash(b"content").to_hex().to_string();
    assert_eq!(wait_for("push")[1]["blake3"], sum);
    assert!(!lines(&files(&agent)).iter().any(|line| line["request"] == "jobs"));
}

#[test]
fn reading_is_a_verb_of_its_own_and_is_recorded() {
    let (fleet, agent) = TestFleet::with_agent();
    assert!(fleet.run(["run", "web1", "--", "true"]).status.success());
    let shown = fleet.run(["audit", "show", "web1", "--json"]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let text = stdout(&shown);
    let shown: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(shown.iter().all(|line| line["host"] == "web1"));
    assert_eq!(shown.last().unwrap()["request"], "read audit");
    assert!(shown.iter().any(|line| line["argv"] == serde_json::json!(["/bin/sh", "-c", "true"])));
    let none = fleet.run(["audit", "show", "web1", "--key", "nobody@nowhere"]);
    assert_eq!((none.status.code(), stdout(&none)), (Some(0), String::new()));
    let label = lines(&files(&agent)).last().unwrap()["label"].as_str().unwrap().to_owned();
    let all = fleet.ok(["--key", &label, "audit", "show", "web1"]);
    assert!(all.contains(" started"), "the key to log in with chooses no lines: {all}");
    let other = fleet.fails(255, ["--key", "other", "audit", "show", "web1", "--key", &label]);
    assert!(other.contains("no key other in"), "{other}");
    edit(&agent.state().parent().unwrap().join("keyring.toml"), "\"audit\"", "\"status\"");
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for("were read anew");
    let refused = fleet.run(["audit", "show", "web1"]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(stderr(&refused).contains("not permitted to read the audit"), "{}", stderr(&refused));
    let lines = lines(&files(&agent));
    let denied = lines.iter().find(|line| line["event"] == "denied").expect("it is recorded");
    assert_eq!((&denied["request"], &denied["rule"]), (&"read audit".into(), &"verbs".into()));
}

#[test]
fn a_copy_is_continued_and_one_that_was_changed_is_not() {
    let (fleet, agent) = TestFleet::with_agent();
    let directory = fleet.path("copy");
    let pull = || fleet.run(["audit", "pull", "web1", directory.to_str().unwrap()]);
    for _ in 0..3 {
        assert!(fleet.run(["run", "web1", "--", "true"]).status.success());
        let output = pull();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let (copy, own) = (directory.join("web1/000000000001.jsonl"), files(&agent));
    let copied = std::fs::read(&copy).unwrap();
    assert!(std::fs::read(&own[0]).unwrap().starts_with(&copied));
    // As if the last pull had been cut off within a line.
    std::fs::write(&copy, &copied[..copied.len() - 100]).unwrap();
    assert!(pull().status.success());
    edit(&copy, "\"true\"", "\"fals\"");
    let output = pull();
    assert_eq!(output.status.code(), Some(255));
    assert!(
        stderr(&output).contains("web1 is not whole: 000000000001.jsonl:3: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_restored_snapshot_is_noticed_by_whoever_saw_more_until_it_is_accepted() {
    let (fleet, mut agent) = TestFleet::with_agent();
    assert_eq!(verify(&fleet).0, Some(0));
    agent.signal(rustix::process::Signal::TERM);
    agent.wait();
    let (audit, snapshot) = (agent.state().join("audit"), fleet.path("snapshot"));
    copy_directory(&audit, &snapshot);
    agent.restart();
    for _ in 0..3 {
        assert!(fleet.run(["run", "web1", "--", "true"]).status.success());
    }
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(0), "{told}");
    // What was seen since is dropped for what is seen next, unless it is contradicted.
    assert!(fleet.run(["run", "web1", "--", "true"]).status.success());
    agent.signal(rustix::process::Signal::TERM);
    agent.wait();
    std::fs::remove_dir_all(&audit).unwrap();
    copy_directory(&snapshot, &audit);
    agent.restart();
    let output = fleet.run(["run", "web1", "--", "true"]);
    assert!(output.status.success(), "it is told, and the work goes on");
    let told = stderr(&output);
    assert!(
        told.contains("web1's record ends at ")
            && told.contains("restored from a snapshot, or cut"),
        "{told}"
    );
    assert!(told.contains("Keys revoked since may be back (key list web1)"), "{told}");
    assert!(verify_here(&agent).status.success(), "by itself it is whole");
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("restored from a snapshot"), "{told}");
    // Once the new lines are as many as the old ones were, it is known because it was noticed before.
    for _ in 0..8 {
        fleet.run(["run", "web1", "--", "true"]);
    }
    let told = stderr(&fleet.run(["ping", "web1"]));
    assert!(told.contains("web1's record has another line "), "{told}");
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(1), "{told}");
    let accepted = fleet.run(["audit", "verify", "web1", "--accept"]);
    assert_eq!(accepted.status.code(), Some(0), "{}", stderr(&accepted));
    assert_eq!(of_request(&agent, "accept audit").len(), 2);
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(0), "{told}");
    let output = fleet.run(["run", "web1", "--", "true"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn who_may_not_read_the_record_is_told_how_it_is_settled() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let verify = || {
        let output = bob.run(&["audit", "verify", "web1"]);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        stderr(&output)
    };
    assert!(!verify().contains("rm "), "nothing is to be settled");
    agent.signal(rustix::process::Signal::TERM);
    agent.wait();
    let (audit, snapshot) = (agent.state().join("audit"), fleet.path("snapshot"));
    copy_directory(&audit, &snapshot);
    agent.restart();
    bob.ok(&["run", "web1", "--", "true"]);
    bob.ok(&["run", "web1", "--", "true"]);
    agent.signal(rustix::process::Signal::TERM);
    agent.wait();
    std::fs::remove_dir_all(&audit).unwrap();
    copy_directory(&snapshot, &audit);
    agent.restart();
    assert!(stderr(&bob.run(&["ping", "web1"])).contains("restored from a snapshot, or cut"));
    let told = verify();
    assert!(told.contains("not permitted"), "{told}");
    let advice = "once somebody has, and is sure of web1: rm ";
    let file = told.trim_end().split_once(advice).unwrap_or_else(|| panic!("{told}")).1;
    std::fs::remove_file(file).unwrap();
    for _ in 0..2 {
        assert_eq!(stderr(&bob.run(&["ping", "web1"])), "");
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_changed_line_is_named_on_the_host_and_from_afar() {
    let (fleet, agent) = TestFleet::with_agent();
    assert!(fleet.run(["run", "web1", "--", "id"]).status.success());
    assert_eq!(verify(&fleet).0, Some(0));
    edit(&files(&agent)[0], "\"-c\",\"id\"]", "\"-c\",\"ls\"]");
    let here = verify_here(&agent);
    assert_eq!(here.status.code(), Some(1));
    assert!(
        stderr(&here).contains("audit/000000000001.jsonl:3: this line was changed"),
        "{}",
        stderr(&here)
    );
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(1));
    assert!(told.contains("web1's record is not whole: 000000000001.jsonl:3: "), "{told}");
}

/// The number of the newest line that the host was seen to show.
fn newest_seen(fleet: &TestFleet) -> u64 {
    let seen = std::fs::read_dir(fleet.home().join("seen")).unwrap();
    let mut files = seen.map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.to_string_lossy().contains("web1-")).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).max().unwrap()
}

/// Writes another text in place of one, and makes the chain whole again.
fn rewrite(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from));
    let (mut whole, mut prev) = (Vec::new(), "0".repeat(64));
    for line in text.lines() {
        let (sealed, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let value: Value = serde_json::from_str(line).unwrap();
        let old = value["prev"].as_str().unwrap();
        let mut sealed = sealed.replace(from, to).replace(old, &prev).into_bytes();
        lariat_base::audit::seal(&mut sealed);
        let line: Value = serde_json::from_slice(&sealed).unwrap();
        line["hash"].as_str().unwrap().clone_into(&mut prev);
        whole.extend_from_slice(&sealed);
    }
    std::fs::write(file, whole).unwrap();
}

#[test]
fn a_past_that_was_rewritten_is_noticed_however_late_it_was_changed() {
    let (fleet, mut agent) = TestFleet::with_agent();
    for contacts in [0, 1, 5] {
        assert_eq!(verify(&fleet).0, Some(0));
        for word in ["before", "evil", "after"] {
            fleet.ok(["run", "web1", "--", &format!("echo {word}{contacts}")]);
        }
        // What is shown is what is on disk.
        let evil = of_request(&agent, "run")
            .into_iter()
            .rfind(|line| line["argv"].to_string().contains(&format!("evil{contacts}")));
        let seq = evil.unwrap()["seq"].as_u64().unwrap();
        wait::until("the host to show that line", || {
            fleet.ok(["ping", "web1"]);
            (newest_seen(&fleet) >= seq).then_some(())
        });
        agent.signal(rustix::process::Signal::TERM);
        agent.wait();
        let (file, evil) = (&files(&agent)[0], format!("echo evil{contacts}"));
        rewrite(file, &evil, &evil.replace("evil", "good"));
        agent.restart();
        assert!(verify_here(&agent).status.success(), "by itself it is whole");
        for _ in 0..contacts {
            fleet.ok(["run", "web1", "--", "true"]);
        }
        let (status, told) = verify(&fleet);
        assert_eq!(status, Some(1), "{contacts}: {told}");
        assert!(told.contains("has another line"), "{told}");
        let accepted = fleet.run(["audit", "verify", "web1", "--accept"]);
        assert_eq!(accepted.status.code(), Some(0), "{}", stderr(&accepted));
    }
}

#[test]
fn a_record_that_was_removed_is_noticed() {
    let (fleet, mut agent) = TestFleet::with_agent();
    assert!(fleet.run(["ping", "web1"]).status.success());
    agent.signal(rustix::process::Signal::KILL);
    agent.wait();
    std::fs::remove_dir_all(agent.state().join("audit")).unwrap();
    agent.restart();
    let output = fleet.run(["ping", "web1"]);
    assert!(stderr(&output).contains("the record was removed"), "{}", stderr(&output));
    let (status, told) = verify(&fleet);
    assert_eq!(status, Some(1), "{told}");
}

#[test]
fn logins_that_fail_are_counted() {
    let (fleet, agent) = TestFleet::with_agent();
    let other = TestFleet::new();
    other.enroll("web1", "127.0.0.1:1");
    // Another fleet's key, with this fleet's certificate and inventory.
    for file in ["ca.pem", "hosts.toml"] {
        std::fs::copy(fleet.home().join(file), other.home().join(file)).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(other.run(["ping", "web1"]).status.code(), Some(255));
    }
    let lines = lines(&files(&agent));
    let failed: Vec<_> = lines.iter().filter(|line| line["event"] == "login failed").collect();
    assert_eq!(failed.len(), 1, "the others are counted");
    assert_eq!(failed[0]["rule"], "key");
    assert!(failed[0]["origin"].is_string() && failed[0].get("key").is_none(), "{}", failed[0]);
}

#[test]
fn a_key_that_is_refused_again_and_again_fills_nothing() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let source = fleet.path("file");
    std::fs::write(&source, "").unwrap();
    let before = lines(&files(&agent)).len();
    for at in 0..20 {
        let dest = format!("web1:/x{at}");
        assert!(bob.refused(&["push", source.to_str().unwrap(), &dest]).contains("not permitted"));
    }
    let all = lines(&files(&agent));
    let of_bob: Vec<_> = all[before..].iter().filter(|line| line["label"] == "bob").collect();
    assert_eq!(of_bob.len(), 1, "the others are counted: {of_bob:?}");
    assert_eq!((&of_bob[0]["event"], &of_bob[0]["path"]), (&"denied".into(), &"/x0".into()));
    // A long command is cut, with its length.
    bob.ok(&["run", "web1", "--", "true", &"a".repeat(100_000)]);
    let cut = of_request(&agent, "run");
    assert!(
        cut[0].to_string().len() < 8192 && cut[0]["argv_cut"]["bytes"] == 100_006,
        "{}",
        cut[0]
    );
}

#[test]
fn a_rotated_key_is_told_with_its_first_id() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.ok(["run", "web1", "--", "true"]);
    let first = of_request(&agent, "run").remove(0);
    assert!(first.get("owner").is_none(), "{first}");
    fleet.ok(["key", "rotate", "web1"]);
    fleet.ok(["run", "web1", "--", "true"]);
    let later = of_request(&agent, "run").pop().unwrap();
    assert_eq!(later["owner"], first["key"]);
    assert_ne!(later["key"], first["key"]);
    let shown = fleet.ok(["audit", "show", "web1", "--key", first["key"].as_str().unwrap()]);
    assert_eq!(shown.matches("began run").count(), 2, "{shown}");
}

#[test]
fn what_hosts_show_that_cannot_be_remembered_is_a_warning() {
    let (fleet, _agent) = TestFleet::with_agent();
    let seen = fleet.home().join("seen");
    std::fs::remove_dir_all(&seen).unwrap();
    std::fs::write(seen, "in the way of the directory").unwrap();
    let output = fleet.run(["run", "web1", "--", "echo hi"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "hi\n".to_owned()));
    let told = stderr(&output);
    assert!(told.contains("can't be remembered in ") && told.lines().count() == 1, "{told}");
}

#[test]
fn another_operators_witnesses_count_too() {
    let (fleet, mut agent) = TestFleet::with_agent();
    fleet.ok(["run", "web1", "--", "true"]);
    fleet.ok(["audit", "verify", "web1"]);
    let seen = std::fs::read_dir(fleet.home().join("seen")).unwrap();
    let seen = seen
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("web1-"));
    let other = fleet.path("other");
    std::fs::copy(seen.unwrap(), &other).unwrap();
    // This machine has forgotten what it saw, and the host begins anew.
    std::fs::remove_dir_all(fleet.home().join("seen")).unwrap();
    agent.signal(rustix::process::Signal::KILL);
    agent.wait();
    std::fs::remove_dir_all(agent.state().join("audit")).unwrap();
    agent.restart();
    assert_eq!(verify(&fleet).0, Some(0));
    let output = fleet.run(["audit", "verify", "web1", "--with", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("the record was removed"), "{}", stderr(&output));
}
