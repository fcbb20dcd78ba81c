//! Hosts behind gateways: agents, a bastion of ssh, a command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;

/// A gateway, and a host that is reached through it.
fn behind_a_gateway() -> (TestFleet, Agent, Agent) {
    let fleet = TestFleet::new();
    let (gateway, host) = (fleet.agent("gw1"), fleet.agent("web1"));
    fleet.add_to_inventory("web1", "via = \"gw1\"");
    (fleet, gateway, host)
}

/// How many connections a gateway has begun, by its log.
fn connections(gateway: &Agent) -> usize {
    gateway.log().iter().filter(|line| line.contains("connect to ")).count()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_verb_goes_through_a_gateway() {
    let (fleet, gateway, host) = behind_a_gateway();
    let output = fleet.run(["run", "web1", "--", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let [source, there, back] = ["source", "there", "back"].map(|name| fleet.path(name));
    random_file(&source, 5_000_000, 1);
    fleet.ok(["push", text(&source), &format!("web1:{}", there.display())]);
    fleet.ok(["pull", &format!("web1:{}", there.display()), text(&back)]);
    assert!(fs::read(&source).unwrap() == fs::read(&back).unwrap());
    assert!(fleet.ok(["ping", "web1"]).contains("connect"));
    // The gateway has a record of each connection, and of nothing that went over it.
    let audit = fleet.ok(["audit", "show", "gw1", "--json"]);
    let to = format!("\"to\":\"{}\"", host.address);
    assert!(audit.matches(&to).count() >= 8, "{audit}");
    assert!(audit.contains("\"request\":\"connect\""));
    assert!(!audit.contains("echo out") && !audit.contains("source"), "{audit}");
    // Directly, it has none.
    let before = connections(&gateway);
    assert!(fleet.ok(["ping", "web1", "-J", "none"]).contains("connect"));
    assert_eq!(connections(&gateway), before);
}

#[test]
fn a_cut_behind_the_gateway_loses_nothing() {
    let (fleet, _gateway, host) = behind_a_gateway();
    let faulty = Faulty::start(host.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    for cut_down in [0, 2_000, 20_000, 300_000] {
        faulty.set(Fault { cut_down: Some(cut_down), ..Fault::default() });
        let line = "seq 100000; exit 3";
        let mut run = fleet.lariat();
        let child = run.args(["run", "web1", "--", line]).stdout(std::process::Stdio::piped());
        let child = child.spawn().unwrap();
        lariat_testing::wait::until("the cut", || (faulty.accepted() > 1).then_some(()));
        faulty.set(Fault::default());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
        assert!(lines.eq((1..=100_000).map(|n| n.to_string())), "cut after {cut_down}");
    }
}

#[test]
fn gateways_are_chained_and_the_leg_that_fails_is_named() {
    let (fleet, mut gateway, host) = behind_a_gateway();
    let _second = fleet.agent("gw2");
    let run = |jump: &str| fleet.run(["run", "web1", "-J", jump, "--", "true"]);
    for jump in ["gw1,gw2", "gw2,gw1", "gw2", "none"] {
        assert!(run(jump).status.success(), "{jump}");
    }
    let error = fleet.fails(255, ["run", "web1", "-J", "gw1,gw2,gw1", "--", "true"]);
    assert!(error.contains("web1 via gw1,gw2,gw1: the way is a circle"), "{error}");
    let error = fleet.fails(255, ["run", "web1", "-J", "nope", "--", "true"]);
    assert!(error.contains("no host nope in this fleet"), "{error}");
    // Whoever answers at the address, it has to be the host.
    fleet.set_address("web1", gateway.address);
    let error = fleet.fails(255, ["run", "web1", "--", "true"]);
    assert!(error.contains("web1 via gw1: another host answers there"), "{error}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fleet.set_address("web1", closed);
    let error = fleet.fails(255, ["run", "web1", "-J", "gw2,gw1", "--", "true"]);
    let what = format!("web1 via gw2,gw1: gw1: connect to {closed}: connection refused");
    assert!(error.contains(&what), "{error}");
    fleet.set_address("web1", host.address);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let error = fleet.fails(255, ["run", "web1", "--reconnect", "1s", "--", "true"]);
    let what = format!("web1 via gw1: gw1 ({}): connect: connection refused", gateway.address);
    assert!(error.contains(&what), "{error}");
}

#[test]
fn a_key_connects_where_its_rules_say() {
    let (fleet, gateway, host) = behind_a_gateway();
    let port = host.address.port();
    let rules = |connect: &str| {
        fleet.set_rules("gw1", &format!("verbs = [\"connect\"]\n{connect}"));
        gateway.signal(rustix::process::Signal::HUP);
        lariat_testing::wait::until("the new rules", || {
            let told = fleet.ok(["can", &fleet.label(), "gw1"]);
            told.contains(connect.split('"').nth(1).unwrap_or("verbs: connect")).then_some(())
        });
    };
    rules("");
    fleet.ok(["ping", "web1"]);
    // What leads to the gateway itself is named literally.
    rules(&format!("connect = [\"*:{port}\", \"127.0.0.0/8:{port}\"]\n"));
    let error = fleet.fails(255, ["ping", "web1"]);
    assert!(error.contains("web1 via gw1: gw1: "), "{error}");
    assert!(
        error.contains("not permitted to connect") && error.contains("named literally"),
        "{error}"
    );
    let asked = host.address.to_string();
    let denied = fleet.run(["can", &fleet.label(), "gw1", "--connect", &asked]);
    assert_eq!(denied.status.code(), Some(1), "{denied:?}");
    rules(&format!("connect = [\"{asked}\"]\n"));
    fleet.ok(["ping", "web1"]);
    assert!(fleet.ok(["can", &fleet.label(), "gw1", "--connect", &asked]).contains("allowed by"));
    fleet.fails(255, ["can", &fleet.label(), "gw1", "--connect", "nowhere"]);
}

#[test]
fn a_fan_out_has_a_connection_for_each_host() {
    let fleet = TestFleet::new();
    let agents: Vec<Agent> = (0..8).map(|n| fleet.agent(&format!("web{n}"))).collect();
    let gateway = fleet.agent("gw1");
    let path = fleet.home().join("hosts.toml");
    let hosts = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("[defaults]\nvia = \"gw1\"\n\n{hosts}")).unwrap();
    let all = fleet.ok(["run", "all", "--gather", "--", "echo same"]);
    assert!(all.contains("gw1,web[0-7]"), "{all}");
    assert!(connections(&gateway) >= agents.len(), "{:?}", gateway.log());
}

/// What a command has for a connection: its words after the program are host and port.
const PIPE: &str = "exec 3<>/dev/tcp/$0/$1; cat <&3 & exec cat >&3";

#[test]
fn a_command_connects_in_the_operators_own_way() {
    let (fleet, gateway, _host) = behind_a_gateway();
    let proxy = format!("proxy = '''bash -c '{PIPE}' %h %p'''");
    fleet.add_to_inventory("web1", &proxy);
    let before = connections(&gateway);
    assert_eq!(fleet.ok(["run", "web1", "--", "echo out"]), "out\n");
    assert_eq!(connections(&gateway), before, "the command goes its own way");
    // What the operator says now comes first.
    assert_eq!(fleet.ok(["run", "web1", "-J", "gw1", "--", "echo out"]), "out\n");
    assert!(connections(&gateway) > before);
    // Nobody else gets to run it.
    let file = fleet.path("fleet.toml");
    fleet.ok(["fleet", "export", text(&file)]);
    assert!(!fs::read_to_string(&file).unwrap().contains("proxy"));
    assert!(fs::read_to_string(&file).unwrap().contains("via = \"gw1\""));
    let evil = fs::read_to_string(&file).unwrap().replace("via = \"gw1\"", "proxy = \"touch x\"");
    fs::write(&file, evil).unwrap();
    let error = fleet.fails(255, ["fleet", "import", text(&file), "--yes"]);
    assert!(error.contains("has a `proxy`"), "{error}");
}

#[test]
fn a_bastion_of_ssh_is_logged_in_to_once() {
    let (fleet, _gateway, _host) = behind_a_gateway();
    let [bin, log] = ["bin", "log"].map(|name| fleet.path(name));
    fs::create_dir(&bin).unwrap();
    // An ssh that forwards, and writes down how it was called.
    let script = format!(
        "#!/bin/bash\necho \"$*\" >> {}\nwhile [ $# -gt 0 ]; do\n  if [ \"$1\" = -W ]; then\n    \
         bash -c '{PIPE}' \"${{2%:*}}\" \"${{2##*:}}\"; exit\n  fi; shift\ndone\n",
        log.display()
    );
    fs::write(bin.join("ssh"), script).unwrap();
    fs::set_permissions(bin.join("ssh"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |args: &[&str]| {
        let mut lariat = fleet.lariat();
        lariat.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        lariat.args(args).output().unwrap()
    };
    let output = run(&["run", "all", "-J", "ssh:root@bastion:2222", "--gather", "--", "echo same"]);
    assert!(output.status.success(), "{output:?}");
    let calls = fs::read_to_string(&log).unwrap();
    let count = |what: &str| calls.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("ControlMaster=yes"), count(" -W "), count("-O exit")), (1, 2, 1), "{calls}");
    for line in calls.lines() {
        assert!(line.ends_with("-p 2222 -l root -- bastion"), "{line}");
        assert!(
            line.contains("ForwardAgent=no") && line.contains("PermitLocalCommand=no"),
            "{line}"
        );
    }
    // Through the bastion to a gateway, and on.
    assert!(run(&["run", "web1", "-J", "ssh:bastion,gw1", "--", "true"]).status.success());
    fs::write(bin.join("ssh"), "#!/bin/sh\necho 'Permission denied (publickey).' >&2; exit 255\n")
        .unwrap();
    let refused = run(&["ping", "web1", "-J", "ssh:root@bastion"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(255));
    assert!(
        error.contains(
            "web1 via ssh:root@bastion: ssh:root@bastion: Permission denied (publickey).; try: "
        ),
        "{error}"
    );
}
