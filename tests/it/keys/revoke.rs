//! A key that is revoked is gone at once, everywhere, for good.

use std::path::Path;
use std::process::{Child, Stdio};

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, test_kill_process};

use super::{Operator, add, keys};

/// A command that writes its process's id to a file and then waits.
fn waiting(file: &Path) -> String {
    format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display())
}

/// The process that has written a file.
fn process(file: &Path) -> Pid {
    wait::until("the command to begin", || {
        let text = std::fs::read_to_string(file).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    })
}

fn is_there(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn start(operator: &Operator<'_>, args: &[&str]) -> Child {
    let mut command = operator.lariat();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn sessions_and_commands_end_and_those_of_others_go_on() {
    let (fleet, _agents) = fleet_of(3);
    let bob = Operator::added(&fleet, "bob", &[]);
    let carol = Operator::added(&fleet, "carol", &[]);
    let hosts = ["h0001", "h0002", "h0003"];
    let files: Vec<_> = hosts.iter().map(|host| fleet.path(format!("bob.{host}"))).collect();
    let mut bobs: Vec<Child> = hosts
        .iter()
        .zip(&files)
        .map(|(host, file)| start(&bob, &["run", host, "--", &waiting(file)]))
        .collect();
    let detached = fleet.path("bob.detached");
    bob.ok(&["run", "h0001", "--detach", "--", &waiting(&detached)]);
    let other = fleet.path("carol.h0001");
    let mut carols = start(&carol, &["run", "h0001", "--", &waiting(&other)]);
    let pids: Vec<_> = files.iter().chain([&detached]).map(|file| process(file)).collect();
    let carols_pid = process(&other);

    let told = fleet.ok(["key", "revoke", "bob", "all"]);
    assert_eq!(told.matches(": revoked bob\n").count(), 3, "{told}");
    for pid in pids {
        wait::until("the command of a revoked key to end", || (!is_there(pid)).then_some(()));
    }
    for child in &mut bobs {
        assert!(!child.wait().unwrap().success());
    }
    assert!(bob.refused(&["ping", "h0002"]).contains("denied the login"));
    assert!(is_there(carols_pid) && carols.try_wait().unwrap().is_none());
    carol.ok(&["ping", "all"]);
    rustix::process::kill_process(carols_pid, Signal::KILL).unwrap();
    assert_eq!(carols.wait().unwrap().code(), Some(137));
    assert_eq!(keys(&fleet, "h0001").len(), 2);
    let unknown = fleet.run(["key", "revoke", "bbo", "all"]);
    assert_eq!(unknown.status.code(), Some(255));
    assert!(text(&unknown.stderr).contains("no host has a key bbo"), "{unknown:?}");
    let unknown = fleet.fails(255, ["key", "revoke", "bbo", "h0001"]);
    assert!(unknown.contains("its keyring has no such key"), "{unknown}");
}

#[test]
fn what_a_detached_job_has_left_goes_with_it_although_it_ignores_sigterm() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let [deaf, apart] = ["deaf", "apart"].map(|name| fleet.path(name));
    let line = format!(
        "(trap '' TERM; {}) & setsid sh -c 'trap \"\" TERM; {}' & sleep 1000",
        waiting(&deaf)
            .replace("exec sleep 1000", "sleep 1000")
            .replace("$$", "$(exec sh -c 'echo $PPID')"),
        waiting(&apart).replace("exec sleep 1000", "sleep 1000"),
    );
    bob.ok(&["run", "web1", "--detach", "--", &line]);
    let pids = [process(&deaf), process(&apart)];
    fleet.ok(["key", "revoke", "bob", "web1"]);
    for pid in pids {
        wait::until("what ignores SIGTERM to end", || (!is_there(pid)).then_some(()));
    }
}

#[test]
fn a_job_that_nobody_follows_ends_when_its_key_may_not_run_it_any_longer() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let still = fleet.path("still");
    let rules: [&[&str]; 5] = [
        &["--verbs", "run,jobs"],
        &["--verbs", "jobs"],
        &["--verbs", "run,jobs", "--users", "no-such-user"],
        &["--verbs", "jobs", "--command", "/usr/bin/id"],
        &["--verbs", "run,jobs", "--expires", "1s"],
    ];
    for (number, rules) in rules.into_iter().enumerate() {
        fleet.ok(["key", "allow", "bob", "web1", "--verbs", "run,jobs"]);
        let file = if number == 0 { still.clone() } else { fleet.path(format!("job.{number}")) };
        bob.ok(&["run", "web1", "--detach", "--", &waiting(&file)]);
        let pid = process(&file);
        fleet.ok([&["key", "allow", "bob", "web1"], rules].concat());
        if number > 0 {
            wait::until("the job to end", || (!is_there(pid)).then_some(()));
        }
    }
    // The same happened to that of the first round, with a later one.
    assert!(!is_there(process(&still)));
    fleet.ok(["key", "allow", "bob", "web1", "--verbs", "run,jobs"]);
    let file = fleet.path("permitted");
    bob.ok(&["run", "web1", "--detach", "--", &waiting(&file)]);
    let pid = process(&file);
    fleet.ok(["key", "allow", "bob", "web1", "--command", "/bin/sh", "--verbs", "run"]);
    wait::until("a shell line to end, of which a key with commands has none", || {
        (!is_there(pid)).then_some(())
    });
    fleet.ok(["key", "allow", "bob", "web1", "--command", "/bin/sleep ..", "--verbs", "jobs"]);
    bob.ok(&["run", "web1", "--detach", "--", "/bin/sleep", "1000"]);
    fleet.ok(["key", "allow", "bob", "web1", "--command", "/bin/sleep 1000", "--verbs", "jobs"]);
    let running = || bob.ok(&["jobs", "web1", "--running", "--json"]);
    // Revoking another key is a change after which jobs are looked at.
    let _carol = Operator::added(&fleet, "carol", &[]);
    assert_eq!(running().lines().count(), 1);
    fleet.ok(["key", "allow", "bob", "web1", "--command", "/bin/sleep 1", "--verbs", "jobs"]);
    wait::until("the other sleep to end", || running().is_empty().then_some(()));
}

#[test]
fn a_host_that_was_down_does_it_at_the_next_contact() {
    let (fleet, _web1) = TestFleet::with_agent();
    let web2 = fleet.agent("web2");
    let bob = Operator::added(&fleet, "bob", &[]);
    let address = web2.address;
    drop(web2);
    let output = fleet.run(["key", "revoke", "bob", "all", "--reconnect", "0"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains("web2: still to be done"), "{told}");
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    let config = fleet.bundle("web2").join("agent.toml");
    let _web2 = lariat_testing::agent::Agent::start(config, address);
    bob.ok(&["ping", "web2"]);

    // Whoever has the export knows it too, and whatever the verb, the revocation comes first.
    let carol = Operator::added(&fleet, "carol", &["--verbs", "keys,run"]);
    let ping = carol.run(&["run", "web2", "--", "true"]);
    assert!(ping.status.success(), "{ping:?}");
    assert!(bob.refused(&["ping", "web2"]).contains("denied the login"));
    let ping = fleet.run(["ping", "web2"]);
    assert!(ping.status.success());
    assert!(!text(&ping.stderr).contains("pending"), "{ping:?}");
}

#[test]
fn it_counts_where_it_was_asked_for_and_a_host_that_is_not_enrolled_stops_nothing() {
    let (fleet, _web1) = TestFleet::with_agent();
    let _web2 = fleet.agent("web2");
    let bob = Operator::added(&fleet, "bob", &[]);
    fleet.ok(["key", "revoke", "bob", "web1"]);
    let is_back = || text(&fleet.run(["key", "list", "all"]).stderr).contains("is still there");
    assert!(!is_back(), "web2 was not asked to revoke it");
    let (request, id) = (bob.request(&[]), bob.id());
    add(&fleet, &request, "web1", &id, &["--again"]);
    assert!(!is_back());
    for host in ["web1", "web2"] {
        bob.ok(&["ping", host]);
    }
    let inventory = fleet.home().join("hosts.toml");
    let hosts = std::fs::read_to_string(&inventory).unwrap();
    let hosts = format!("{hosts}\n[hosts.raw]\naddress = \"127.0.0.1\"\n");
    std::fs::write(&inventory, hosts).unwrap();
    let output = fleet.run(["key", "revoke", "bob", "all"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(text(&output.stderr).contains("raw is not enrolled"), "{output:?}");
    for host in ["web1", "web2"] {
        assert!(bob.refused(&["ping", host]).contains("denied the login"));
    }
}

#[test]
fn a_pending_revocation_that_is_refused_holds_up_no_other_and_is_told() {
    let (fleet, web1) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let own = keys(&fleet, "web1")[0]["label"].as_str().unwrap().to_owned();
    let (address, config) = (web1.address, fleet.bundle("web1").join("agent.toml"));
    drop(web1);
    for name in [&own, "bob"] {
        let words = ["key", "revoke", name, "web1", "--force", "--reconnect", "0"];
        assert_eq!(fleet.run(words).status.code(), Some(255));
    }
    let _web1 = lariat_testing::agent::Agent::start(config, address);
    let ping = fleet.run(["ping", "web1"]);
    let told = text(&ping.stderr);
    assert!(ping.status.success(), "{told}");
    let refused = format!("web1: {own} was revoked and is still there: no key with the verb keys");
    assert!(told.contains(&refused), "{told}");
    assert!(told.contains("web1: revoked bob, which was pending"), "{told}");
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    // Said again, the refusal is the answer.
    let again = fleet.run(["key", "revoke", &own, "web1"]);
    assert_eq!(again.status.code(), Some(255), "{again:?}");
    let ping = fleet.run(["ping", "web1"]);
    assert_eq!(text(&ping.stderr), "");
}

#[test]
fn what_was_revoked_does_not_come_back_with_an_older_file() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let old = std::fs::read(&keyring).unwrap();
    let (kept, ended) = (fleet.path("kept"), fleet.path("ended"));
    bob.ok(&["run", "web1", "--detach", "--", &waiting(&kept)]);
    let kept = process(&kept);
    fleet.ok(["key", "revoke", "bob", "web1", "--keep-jobs"]);
    std::fs::write(&keyring, &old).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("bob is of no effect: its key was revoked here");
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    agent.kill_and_restart();
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    assert!(is_there(kept));
    let listed = fleet.run(["key", "list", "web1"]);
    assert!(text(&listed.stderr).contains("bob was revoked and is still there"), "{listed:?}");
    let config = fleet.bundle("web1").join("agent.toml");
    let check = lariat_testing::agent::lariatd(&config).arg("check").output().unwrap();
    assert!(text(&check.stderr).contains("bob is of no effect"), "{check:?}");

    // At its start the agent spares the jobs of a key that is gone from the file, too.
    let text_of_it = String::from_utf8(old.clone()).unwrap();
    let (alone, _) = text_of_it.split_at(text_of_it.rfind("[[key]]").unwrap());
    agent.signal(Signal::KILL);
    agent.wait();
    std::fs::write(&keyring, alone).unwrap();
    agent.restart();
    fleet.ok(["ping", "web1"]);
    fleet.ok(["key", "list", "web1"]);
    assert!(is_there(kept));

    // It takes a word to add it again.
    let (request, id) = (bob.request(&[]), bob.id());
    let words = ["-q", "key", "add", request.to_str().unwrap(), "web1", "--id", &id];
    let refused = fleet.fails(255, words);
    assert!(refused.contains("this key was revoked there; --again"), "{refused}");
    fleet.ok(words.into_iter().chain(["--again"]));
    bob.ok(&["run", "web1", "--detach", "--", &waiting(&ended)]);
    let ended = process(&ended);
    assert!(is_there(kept) && is_there(ended));
    let listed = fleet.run(["key", "list", "web1"]);
    assert_eq!(text(&listed.stderr), "");

    // An agent that starts ends the jobs of keys that are gone.
    let text = std::fs::read_to_string(&keyring).unwrap();
    let (before, _) = text.split_at(text.rfind("[[key]]").unwrap());
    agent.signal(Signal::KILL);
    agent.wait();
    std::fs::write(&keyring, before).unwrap();
    agent.restart();
    for pid in [kept, ended] {
        wait::until("the jobs of a key that is gone to end", || (!is_there(pid)).then_some(()));
    }
}

#[test]
fn nobody_is_locked_out() {
    let (fleet, _agent) = TestFleet::with_agent();
    let own = keys(&fleet, "web1")[0]["label"].as_str().unwrap().to_owned();
    let revoke = |more: &[&str]| {
        let words = ["-q", "key", "revoke", &own, "web1"];
        fleet.fails(255, words.into_iter().chain(more.iter().copied()))
    };
    assert!(revoke(&[]).contains("this is the key that asks"));
    assert!(revoke(&["--force"]).contains("no key with the verb keys would be left"));
    let words = ["-q", "key", "allow", &own, "web1", "--verbs", "run"];
    assert!(fleet.fails(255, words).contains("no key with the verb keys would be left"));
    let bob = Operator::added(&fleet, "bob", &["--verbs", "keys,run"]);
    assert!(revoke(&["--force"]).contains("no key with the verb keys would be left"));
    bob.ok(&["ping", "web1"]);
    fleet.ok(["key", "revoke", &own, "web1", "--force"]);
    assert!(fleet.fails(255, ["ping", "web1"]).contains("denied the login"));
    bob.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn what_a_key_may_not_do_is_not_left_for_another_and_a_second_revocation_is_none() {
    let (fleet, _web1) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let carol = Operator::added(&fleet, "carol", &["--verbs", "run"]);
    let refused = bob.refused(&["key", "revoke", "carol", "web1"]);
    assert!(refused.contains("not permitted"), "{refused}");
    assert!(!refused.contains("still to be done"), "{refused}");
    let kept = std::fs::read_to_string(bob.home.join("revoked.toml")).unwrap();
    assert!(!kept.contains("carol"), "{kept}");
    carol.ok(&["ping", "web1"]);
    for target in ["all", "all", "web1"] {
        fleet.ok(["key", "revoke", "carol", target]);
    }
    let mistyped = fleet.run(["key", "revoke", "carrol", "all"]);
    assert_eq!(mistyped.status.code(), Some(255), "{mistyped:?}");
}

#[test]
fn rules_that_only_narrow_give_nothing() {
    let (fleet, _web1) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--push-root", "/srv"]);
    let widened = fleet.run(["key", "allow", "bob", "web1", "--expires", "30d"]);
    assert_eq!(widened.status.code(), Some(255), "{widened:?}");
    let told = text(&widened.stderr);
    assert!(told.contains("--expires alone permits nothing; try: --verbs run,jobs"), "{told}");
    assert!(bob.refused(&["run", "web1", "--", "true"]).contains("not permitted"));
}

/// As with a host that was restored from a snapshot: neither its agent nor its keyring knows of the revocation.
#[test]
fn a_revoked_key_that_is_back_is_named_by_whoever_looks() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let id = bob.id();
    let looked = |words: &[&str]| {
        let output = fleet.run(words);
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let carol = Operator::added(&fleet, "carol", &["--verbs", "keys,status"]);
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let old = std::fs::read(&keyring).unwrap();
    fleet.ok(["key", "revoke", "bob", "web1"]);
    let told = looked(&["doctor", "web1"]);
    assert!(told.contains("ok   web1: keys: none that was revoked from here"), "{told}");
    agent.signal(Signal::KILL);
    agent.wait();
    std::fs::write(&keyring, &old).unwrap();
    std::fs::remove_file(agent.state().join("revoked")).unwrap();
    agent.restart();
    bob.ok(&["ping", "web1"]);

    let output = fleet.run(["doctor", "web1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let advice = format!(
        "bad  web1: keys: bob was revoked and is still there; lariat key revoke {id} web1\n"
    );
    assert!(text(&output.stdout).contains(&advice), "{output:?}");
    // From now on it is known without asking the host.
    let told = looked(&["key", "list"]);
    assert!(told.contains("web1: bob was revoked and was seen there again"), "{told}");
    let told = looked(&["doctor"]);
    assert!(told.contains("bad  here: bob was revoked, and was seen again on web1"), "{told}");
    // Whoever revoked nothing has nothing to compare with.
    assert!(!text(&carol.run(&["doctor", "web1"]).stdout).contains("revoked"));

    fleet.ok(["key", "revoke", &id, "web1"]);
    for words in [&["doctor", "web1"][..], &["doctor"], &["key", "list"], &["key", "list", "web1"]]
    {
        let told = looked(words);
        assert!(!told.contains("bob was revoked"), "{words:?}: {told}");
    }
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));

    // Another key of its label is another key.
    let twin = Operator { home: fleet.path("twin"), fleet: &fleet, name: "bob" };
    let (file, print) = super::export(&fleet, "again");
    let file = file.to_str().unwrap();
    twin.ok(&["fleet", "import", file, "--ca", &print, "--label", "bob"]);
    add(&fleet, &twin.request(&[]), "web1", &twin.id(), &["--verbs", "run"]);
    for words in [&["key", "list", "web1"][..], &["doctor", "web1"], &["key", "list"]] {
        assert!(!looked(words).contains("bob was revoked"), "{words:?}");
    }
}
