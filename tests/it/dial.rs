//! Hosts that nobody can connect to: they dial a gateway, and controllers reach them there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lariat_testing::agent::Agent;
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::Signal;

/// A gateway, and a host that dials it and listens nowhere.
fn behind_a_gateway() -> (TestFleet, Agent, Agent) {
    let fleet = TestFleet::new();
    let gateway = fleet.agent("gw1");
    let host = fleet.dialling("web3", &["gw1"]);
    (fleet, gateway, host)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_host_that_listens_nowhere_is_reached_at_its_gateway() {
    let (fleet, gateway, host) = behind_a_gateway();
    host.wait_for("parked at gw1 (");
    assert!(host.address.ip().is_unspecified(), "{:?}", host.log());
    assert!(fleet.ok(["hosts"]).contains("web3  via gw1"), "{}", fleet.ok(["hosts"]));
    let output = fleet.run(["run", "web3", "--", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let [source, there, back] = ["source", "there", "back"].map(|name| fleet.path(name));
    random_file(&source, 5_000_000, 1);
    fleet.ok(["push", text(&source), &format!("web3:{}", there.display())]);
    fleet.ok(["pull", &format!("web3:{}", there.display()), text(&back)]);
    assert!(fs::read(&source).unwrap() == fs::read(&back).unwrap());
    // More at once than it keeps parked.
    let children: Vec<_> = (0..12)
        .map(|number| {
            let mut run = fleet.lariat();
            run.args(["run", "web3", "--", &format!("exit {number}")]).stderr(Stdio::piped());
            run.spawn().unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), i32::try_from(number).ok(), "{output:?}");
    }
    let audit = fleet.ok(["audit", "show", "gw1", "--json"]);
    for request in ["park", "connect"] {
        let (request, parked) = (format!("\"request\":\"{request}\""), "\"parked\":\"web3\"");
        let has_both = |line: &str| line.contains(&request) && line.contains(parked);
        assert!(audit.lines().any(has_both), "{request}: {audit}");
    }
    let origin = format!("\"origin\":\"via gw1 ({})\"", gateway.address);
    assert!(fleet.ok(["audit", "show", "web3", "--json"]).contains(&origin));
    assert!(fleet.ok(["key", "list", "gw1"]).contains("parks connections of web3"));
    let told = fleet.run(["doctor", "web3"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("[dial] names one gateway only"), "{told}");
}

#[test]
fn a_parked_connection_is_used_first_and_the_address_where_there_is_none() {
    let fleet = TestFleet::new();
    let gateway = fleet.agent("gw1");
    fleet.enroll_dialling("web3", Some("127.0.0.1:1"), &["gw1"]);
    let mut host = fleet.start("web3");
    host.wait_for("parked at gw1 (");
    // Nobody listens at this address.
    fleet.ok(["run", "web3", "--", "true"]);
    host.signal(Signal::TERM);
    host.wait();
    let error = fleet.fails(255, ["run", "web3", "--", "true"]);
    assert!(error.contains("web3 via gw1: gw1: connect to 127.0.0.1:1: "), "{error}");
    let again = fleet.agent("web4");
    fleet.add_to_inventory("web4", "via = \"gw1\"");
    fleet.ok(["run", "web4", "--", "true"]);
    let to = format!("\"to\":\"{}\"", again.address);
    assert!(fleet.ok(["audit", "show", "gw1", "--json"]).contains(&to));
    drop(gateway);
}

#[test]
fn the_leg_that_fails_is_named() {
    let fleet = TestFleet::new();
    let mut gateway = fleet.agent("gw1");
    let mut host = fleet.dialling("web3", &["gw1"]);
    host.wait_for("parked at gw1 (");
    host.signal(Signal::KILL);
    host.wait();
    let error = fleet.fails(255, ["run", "web3", "--", "true"]);
    let told = "web3 via gw1: no connection of web3 is parked there: the last one was there ";
    assert!(error.contains(told), "{error}");
    let error = fleet.fails(255, ["run", "web3", "-J", "none", "--", "true"]);
    assert!(error.contains("it has no address; see `via` in hosts.toml"), "{error}");
    gateway.kill_and_restart();
    let error = fleet.fails(255, ["run", "web3", "--", "true"]);
    assert!(error.contains("parked there: none was there since its agent started"), "{error}");
    gateway.signal(Signal::TERM);
    gateway.wait();
    let error = fleet.fails(255, ["run", "web3", "--", "true"]);
    let what = format!("web3 via gw1: gw1 ({}): connect: connection refused", gateway.address);
    assert!(error.contains(&what), "{error}");
}

#[test]
fn rules_name_the_host_and_a_revoked_key_parks_no_longer() {
    let (fleet, gateway, host) = behind_a_gateway();
    host.wait_for("parked at gw1 (");
    let label = fleet.own_label();
    let rules = |connect: &str| {
        fleet.set_rules_of_first("gw1", &format!("verbs = [\"connect\"]\n{connect}"));
        gateway.signal(Signal::HUP);
        wait::until("the new rules", || {
            let told = fleet.ok(["can", &label, "gw1"]);
            told.contains(connect.split('"').nth(1).unwrap()).then_some(())
        });
    };
    rules("connect = [\"*:*\", \"host:web4\"]\n");
    let error = fleet.fails(255, ["ping", "web3"]);
    assert!(error.contains("web3 via gw1: gw1: ") && error.contains("has no host:web3"), "{error}");
    rules("connect = [\"host:web3\"]\n");
    fleet.ok(["ping", "web3"]);
    let can = ["can", &label, "gw1", "--connect", "host:web3"];
    assert!(fleet.ok(can).contains("allowed by keyring.toml:"));
    fleet.set_rules_of_first("gw1", "verbs = [\"connect\", \"keys\"]\n");
    gateway.signal(Signal::HUP);
    wait::until("the new rules", || {
        fleet.ok(["can", &label, "gw1"]).contains("keys").then_some(())
    });
    fleet.ok(["key", "revoke", "@web3", "gw1"]);
    wait::until("the end of what is parked", || {
        let output = fleet.run(["ping", "web3", "--reconnect", "0s"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        errors.contains("no connection of web3 is parked there").then_some(())
    });
    host.wait_for("not parked at gw1: ");
    // Nothing is left to be revoked there.
    let forgot = fleet.run(["forget", "web3"]);
    assert!(forgot.status.success() && forgot.stderr.is_empty(), "{forgot:?}");
}

/// Whoever has the file has a key that is good for nothing but to wait for connections of its host.
#[test]
fn a_stolen_park_key_does_nothing_else() {
    let (fleet, _gateway, host) = behind_a_gateway();
    host.wait_for("parked at gw1 (");
    let key = fs::read_to_string(fleet.bundle("web3").join("park.key")).unwrap();
    let secret = key.split('"').nth(1).unwrap();
    let listed = fleet.ok(["key", "list", "gw1", "--json"]);
    let park: serde_json::Value = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|key: &serde_json::Value| key["label"] == "@web3")
        .unwrap();
    assert_eq!(park["park"], "web3");
    let file = fleet.home().join("keys/thief.key");
    let thief = format!("id = {}\nlabel = \"thief\"\nsecret = \"{secret}\"\n", park["id"]);
    fs::write(&file, thief).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // It is derived for no enrollment in particular.
    let hosts = fleet.home().join("hosts.toml");
    let inventory = fs::read_to_string(&hosts).unwrap();
    let at = inventory.find("[hosts.gw1]").unwrap();
    let start = at + inventory[at..].find("enrolment = \"").unwrap() + 13;
    let zeros = format!("{}{}{}", &inventory[..start], "0".repeat(32), &inventory[start + 32..]);
    fs::write(&hosts, zeros).unwrap();
    for words in [
        &["run", "gw1", "--", "id"][..],
        &["pull", "gw1:/etc/passwd", "x"],
        &["key", "list", "gw1"],
        &["shell", "gw1"],
        &["ping", "web3"],
    ] {
        let output = fleet.run([&["--key", "thief"][..], words].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{words:?}: {errors}");
        assert!(
            errors.contains("only parks connections of web3") || words[0] == "shell",
            "{words:?}: {errors}"
        );
    }
}

/// Another machine that has stolen the park key gets connections, which it can do nothing with.
#[test]
fn a_connection_that_is_not_the_host_s_is_passed_over() {
    let (fleet, _gateway, host) = behind_a_gateway();
    host.wait_for("parked at gw1 (");
    fleet.enroll("evil", "127.0.0.1:1");
    let (evil, web3) = (fleet.bundle("evil"), fleet.bundle("web3"));
    for file in ["park.key", "ca.pem", "agent.toml"] {
        fs::copy(web3.join(file), evil.join(file)).unwrap();
    }
    let evil = Agent::start_dialling(evil.join("agent.toml"));
    evil.wait_for("parked at gw1 (");
    for _ in 0..6 {
        fleet.ok(["run", "web3", "--", "true"]);
    }
    evil.wait_for("not let in: ");
    drop(host);
    let error = fleet.fails(255, ["ping", "web3", "--reconnect", "0s"]);
    assert!(error.contains("web3 via gw1: "), "{error}");
}

#[test]
fn a_command_goes_on_while_its_gateway_is_killed() {
    let fleet = TestFleet::new();
    let mut gateway = fleet.agent("gw1");
    let host = fleet.dialling("web3", &["gw1"]);
    host.wait_for("parked at gw1 (");
    let go = fleet.path("go");
    let line =
        format!("seq 20000; until [ -e {} ]; do sleep 0.1; done; seq 20000; exit 3", go.display());
    let mut run = fleet.lariat();
    let child = run.args(["run", "web3", "--", &line]).stdout(Stdio::piped()).spawn().unwrap();
    host.wait_for("run job ");
    gateway.kill_and_restart();
    gateway.wait_for("listen for web3");
    fs::write(&go, "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let twice = (1..=20_000).chain(1..=20_000).map(|n: u32| n.to_string());
    assert!(std::str::from_utf8(&output.stdout).unwrap().lines().eq(twice));
}

#[test]
fn gateways_are_dialled_as_the_configuration_says_after_a_reload() {
    let fleet = TestFleet::new();
    let (gateway, second) = (fleet.agent("gw1"), fleet.agent("gw2"));
    let host = fleet.dialling("web3", &["gw1", "gw2"]);
    for _ in 0..2 {
        host.wait_for("parked at gw");
    }
    fleet.ok(["run", "web3", "-J", "gw2", "--", "true"]);
    let path = fleet.bundle("web3").join("agent.toml");
    let config = fs::read_to_string(&path).unwrap();
    let first = format!("\"gw1={}\", ", gateway.address);
    assert!(config.contains(&first), "{config}");
    fs::write(&path, config.replace(&first, "")).unwrap();
    host.signal(Signal::HUP);
    gateway.wait_for("a parked connection of web3 has ended");
    host.wait_for("parked at gw2 (");
    let error = fleet.fails(255, ["run", "web3", "--reconnect", "0s", "--", "true"]);
    assert!(error.contains("no connection of web3 is parked there"), "{error}");
    fleet.ok(["run", "web3", "-J", "gw2", "--", "true"]);
    drop(second);
}

/// A host whose network lets it out through a proxy only.
#[test]
fn a_proxy_of_the_environment_is_used() {
    let fleet = TestFleet::new();
    let _gateway = fleet.agent("gw1");
    let (proxy, connected) = proxy();
    fleet.enroll_dialling("web3", None, &["gw1"]);
    let config = fleet.bundle("web3").join("agent.toml");
    let host = Agent::start_dialling_by(config, |command| {
        command.env("HTTPS_PROXY", format!("http://{proxy}")).env("NO_PROXY", "");
    });
    host.wait_for("parked at gw1 (");
    assert_eq!(fleet.ok(["run", "web3", "--", "echo out"]), "out\n");
    assert!(connected.load(Ordering::Relaxed) > 0);
}

/// A proxy that knows CONNECT. Returns its address, and how many connections it has made.
fn proxy() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let connected = Arc::clone(&count);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, connected) = (near.unwrap(), Arc::clone(&connected));
            std::thread::spawn(move || proxied(near, &connected));
        }
    });
    (address, count)
}

fn proxied(mut near: TcpStream, connected: &AtomicUsize) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        near.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let far = TcpStream::connect(head.strip_prefix("CONNECT ")?.split(' ').next()?).ok()?;
    connected.fetch_add(1, Ordering::Relaxed);
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let (mut from, mut to) = (near.try_clone().ok()?, far.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        to.shutdown(std::net::Shutdown::Both)
    });
    let (mut from, mut to) = (far, near);
    let _ = std::io::copy(&mut from, &mut to);
    to.shutdown(std::net::Shutdown::Both).ok()
}

/// `LARIAT_DIALLING=1000` makes it the soak: as many agents, a minute, and a run over all of them at once.
#[test]
fn all_are_back_after_their_gateway_was_killed_and_never_at_once() {
    let count = std::env::var("LARIAT_DIALLING").map_or(30, |count| count.parse().unwrap());
    let fleet = TestFleet::new();
    let mut gateway = fleet.agent("gw1");
    let hosts: Vec<String> = (0..count).map(|number| format!("h{number:04}")).collect();
    let agents: Vec<Agent> = hosts.iter().map(|host| fleet.dialling(host, &["gw1"])).collect();
    agents.iter().for_each(|agent| drop(agent.wait_for("parked at gw1 (")));
    let before = parks(&gateway).len();
    let began = std::time::Instant::now();
    gateway.kill_and_restart();
    let all = || {
        let mut seen = BTreeMap::new();
        parks(&gateway)[before..]
            .iter()
            .for_each(|(host, _)| *seen.entry(host.clone()).or_insert(0) += 1);
        seen.len()
    };
    wait::until("all of them", || (all() == hosts.len()).then_some(()));
    println!("{count} hosts were back after {:.1} s", began.elapsed().as_secs_f64());
    let times: Vec<u64> = parks(&gateway)[before..].iter().map(|(_, at)| *at).collect();
    let most = times
        .iter()
        .map(|&start| times.iter().filter(|&&at| (start..start + 1000).contains(&at)).count());
    let most = most.max().unwrap();
    println!("at most {most} logins in a second");
    assert!(most <= 100, "{most}");
    let told = fleet.ok(["run", "h*", "--gather", "--", "echo same"]);
    assert_eq!(told.matches("same").count(), 1, "{told}");
}

/// The connections that hosts have parked, with the times, by a gateway's audit.
fn parks(gateway: &Agent) -> Vec<(String, u64)> {
    let mut files: Vec<_> = fs::read_dir(gateway.state().join("audit"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines = text.lines().filter(|line| {
        line.contains("\"request\":\"park\"") && line.contains("\"event\":\"began\"")
    });
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let time = line["time"].as_str().unwrap();
            // Within a minute or two, that is all that counts.
            let digits = |from: usize, to: usize| time[from..to].parse::<u64>().unwrap();
            let minutes = digits(11, 13) * 60 + digits(14, 16);
            let at = (minutes * 60 + digits(17, 19)) * 1000 + digits(20, 23);
            (line["parked"].as_str().unwrap().to_owned(), at)
        })
        .collect()
}
