//! `lariat doctor` says what is wrong on both ends, and what to do.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lariat_testing::agent::Agent;
use lariat_testing::fake_agent::FakeAgent;
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

/// The only finding that is bad about a host, with what to do.
fn only_bad<'a>(all: &'a [[String; 4]], host: &str) -> (&'a str, &'a str) {
    let mut bad = all.iter().filter(|found| found[0] == host && found[1] == "bad");
    let [_, _, text, todo] = bad.next().unwrap_or_else(|| panic!("nothing bad: {all:?}"));
    assert!(bad.next().is_none(), "{all:?}");
    (text, todo)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_host_that_can_t_be_reached_is_told_apart_by_what_answers_there() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.enroll("web2", "127.0.0.1:1");
    let bad = |options: &[&str]| {
        let all = findings(&fleet, 1, &[&["web2"], options].concat());
        only_bad(&all, "web2").0.to_owned()
    };
    assert!(bad(&[]).contains("refused; is lariatd running there?"));

    fleet.set_address("web2", agent.address);
    let told = bad(&[]);
    assert!(told.contains("its certificate is for web1; is the address right?"), "{told}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    fleet.set_address("web2", other.local_addr().unwrap());
    let greeter = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"220 mail ESMTP\r\n").unwrap();
        other.accept().map(drop)
    });
    let told = bad(&["--reconnect", "0"]);
    assert!(told.contains("does not speak TLS; is it lariatd's port?"), "{told}");
    drop(greeter);

    // Once its backlog is full, the kernel drops what comes, as a firewall does.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&deaf, 0).unwrap();
    let address = deaf.local_addr().unwrap();
    let _waiting: Vec<_> = (0..4)
        .filter_map(|_| {
            TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50)).ok()
        })
        .collect();
    fleet.set_address("web2", address);
    let told = bad(&["--connect-timeout", "500ms"]);
    assert!(told.contains("no answer within 0.5 s while connecting"), "{told}");
    assert!(told.contains("does a firewall let it through"), "{told}");
}

#[test]
fn what_others_can_read_is_bad_on_either_machine() {
    let (fleet, _agent) = TestFleet::with_agent();
    let keyring = fleet.bundle("web1").join("keyring.toml");
    chmod(&keyring, 0o644);
    let all = findings(&fleet, 1, &["web1"]);
    let (text, todo) = only_bad(&all, "web1");
    assert!(text.contains("keyring.toml is open to others (mode 0644)"), "{text}");
    assert!(todo.contains("lariatd check"), "{todo}");
    chmod(&keyring, 0o600);
    chmod(&fleet.home(), 0o755);
    let all = findings(&fleet, 1, &[]);
    let (text, _) = only_bad(&all, "");
    assert!(text.contains("chmod 700"), "{text}");
}

#[test]
fn what_is_still_to_be_done_on_hosts_that_were_down_is_told() {
    let (fleet, _agent) = TestFleet::with_agent();
    fleet.enroll("web2", "127.0.0.1:1");
    for words in [&["key", "revoke", "bob", "web2"][..], &["key", "rotate", "web2"]] {
        let output = fleet.run([words, &["--reconnect", "0"]].concat());
        assert_eq!(output.status.code(), Some(255), "{output:?}");
    }
    let all = findings(&fleet, 0, &[]);
    let (grade, text) = one(&all, "", "revoked");
    assert_eq!((grade, text), ("warn", "bob was revoked, but may still log in to web2"));
    let (grade, text) = one(&all, "", "rotated");
    assert!(grade == "warn" && text.ends_with(" was rotated, but not yet on web2"), "{text}");
}

#[test]
fn a_user_in_its_target_is_refused() {
    let (fleet, _agent) = TestFleet::with_agent();
    let output = fleet.run(["doctor", "root@web1"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{told}");
    assert!(told.contains("is its host's, and no user's; try: web1"), "{told}");
}

#[test]
fn an_agent_that_is_older_than_a_request_is_told_at_once() {
    let fleet = TestFleet::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fleet.enroll("web1", &listener.local_addr().unwrap().to_string());
    let _old = FakeAgent::start(&fleet.bundle("web1"), listener);
    let began = std::time::Instant::now();
    let why = "its lariatd does not know this request; try: lariat upgrade web1";
    let all = findings(&fleet, 1, &["web1"]);
    assert!(only_bad(&all, "web1").0.ends_with(why), "{all:?}");
    for words in [&["key", "list", "web1"][..], &["audit", "verify", "web1"], &["renew", "web1"]] {
        let told = fleet.fails(255, words);
        assert!(told.contains(why), "{told}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}
