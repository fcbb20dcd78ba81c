//! What one operator exports, another imports; what is false is noticed.

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;

use super::{Operator, export};

#[test]
fn a_false_export_is_noticed() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (file, fingerprint) = export(&fleet, "bob");
    let exported = std::fs::read_to_string(&file).unwrap();
    let piped = fleet.run(["fleet", "export", "-"]);
    let (to_file, to_stdout) = (std::fs::read_to_string(&file).unwrap(), text(&piped.stdout));
    assert_eq!((to_file.as_str(), fleet.path("-").exists()), (to_stdout, false));
    assert!(text(&piped.stderr).contains(&fingerprint), "{piped:?}");
    assert!(!exported.contains("PRIVATE KEY") && !exported.contains("secret ="), "{exported}");
    let other = TestFleet::new();
    let (false_file, false_print) = export(&other, "mallory");
    assert_ne!(fingerprint, false_print);
    let bob = Operator { fleet: &fleet, name: "bob", home: fleet.path("bob.home") };
    let import = |file: &std::path::Path, more: &[&str]| {
        let words = ["fleet", "import", file.to_str().unwrap()];
        bob.run(&[&words[..], more].concat())
    };
    let refused = import(&false_file, &["--ca", &fingerprint]);
    assert!(text(&refused.stderr).contains("nothing was changed"), "{refused:?}");
    let unasked = import(&file, &[]);
    assert!(text(&unasked.stderr).contains("try: --ca FINGERPRINT"), "{unasked:?}");
    assert!(!bob.home.join("hosts.toml").exists());
    let colons: Vec<&str> = (0..32).map(|n| &fingerprint[2 * n..2 * n + 2]).collect();
    assert!(import(&file, &["--ca", &colons.join(":").to_uppercase()]).status.success());
    assert!(!bob.home.join("ca.key").exists());
    assert!(bob.refused(&["enroll", "web2", "--address", "10.0.0.1"]).contains("made the fleet"));

    // Another fleet's file changes nothing, whatever fingerprint is given along.
    let refused = import(&false_file, &["--ca", &false_print]);
    assert!(text(&refused.stderr).contains("is of another fleet; nothing was changed"));

    // The same fleet's, with a host that was exchanged.
    let hosts = std::fs::read_to_string(bob.home.join("hosts.toml")).unwrap();
    let spki = exported.lines().find(|line| line.starts_with("spki")).unwrap();
    let wrong = fleet.path("wrong");
    let text_of_it = exported.replace(spki, &format!("spki = \"{}\"", "66".repeat(32)));
    std::fs::write(&wrong, text_of_it).unwrap();
    let asked = import(&wrong, &[]);
    assert!(!asked.status.success());
    assert!(text(&asked.stderr).contains("web1: key "), "{asked:?}");
    assert_eq!(std::fs::read_to_string(bob.home.join("hosts.toml")).unwrap(), hosts);
    assert!(import(&wrong, &["--yes"]).status.success());
    assert!(bob.refused(&["ping", "web1"]).contains("not the one enrolled"));
}

#[test]
fn a_second_import_brings_new_hosts_and_keeps_what_was_written() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let path = bob.home.join("hosts.toml");
    let hosts = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, hosts.replace("tags = []", "tags = [\"mine\"] # mine")).unwrap();
    let id = bob.id();
    let _web2 = fleet.agent("web2");
    let (file, _) = export(&fleet, "again");
    let told = bob.ok(&["fleet", "import", file.to_str().unwrap()]);
    assert_eq!(told, "Added 1 host(s), changed 0.\n");
    assert_eq!(bob.ok(&["hosts", "@mine", "--expand"]), "web1\n");
    assert_eq!(bob.id(), id);
    assert!(bob.refused(&["ping", "web2"]).contains("denied the login"));
    bob.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn an_export_that_was_cut_is_refused() {
    let (fleet, _agent) = TestFleet::with_agent();
    for host in ["web2", "web3"] {
        let out = fleet.path(format!("{host}.out"));
        let words = ["enroll", host, "--address", "10.0.0.1", "--out"];
        fleet.ok(words.into_iter().chain([out.to_str().unwrap()]));
    }
    let (file, fingerprint) = export(&fleet, "bob");
    let whole = std::fs::read_to_string(&file).unwrap();
    let bob = Operator { fleet: &fleet, name: "bob", home: fleet.path("bob.home") };
    let import = || bob.run(&["fleet", "import", file.to_str().unwrap(), "--ca", &fingerprint]);
    // After each line, the end of the file excepted.
    let mut at = 0;
    for line in whole.lines().collect::<Vec<_>>().split_last().unwrap().1 {
        at += line.len() + 1;
        std::fs::write(&file, &whole[..at]).unwrap();
        let refused = import();
        assert_eq!(refused.status.code(), Some(255), "{refused:?}");
        if line.starts_with("spki") {
            assert!(text(&refused.stderr).contains("of the 3 hosts that it was written with"));
        }
    }
    assert!(!bob.home.exists());
    // One that says nothing of it is of an older version.
    std::fs::write(&file, whole.replace("host_count = 3\n", "")).unwrap();
    assert!(import().status.success());
    let hosts = std::fs::read_to_string(bob.home.join("hosts.toml")).unwrap();
    std::fs::write(&file, &whole[..whole.find("[hosts.web3]").unwrap()]).unwrap();
    let refused = import();
    assert!(text(&refused.stderr).contains("nothing was changed"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(bob.home.join("hosts.toml")).unwrap(), hosts);
}

#[test]
fn what_an_import_says_that_it_takes_away_is_gone() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let path = bob.home.join("hosts.toml");
    let hosts = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, hosts.replace("tags = []", "tags = [\"mine\"]\nvia = \"gw\" # mine"))
        .unwrap();
    let (file, _) = export(&fleet, "again");
    let import = ["fleet", "import", file.to_str().unwrap(), "--yes"];
    let taken = bob.run(&import);
    assert!(text(&taken.stderr).contains("web1: via gw -> none\n"), "{taken:?}");
    assert_eq!(text(&taken.stdout), "Added 0 host(s), changed 1.\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), hosts.replace("[]", "[\"mine\"]"));
    assert_eq!(bob.ok(&import), "Added 0 host(s), changed 0.\n");
    bob.ok(&["run", "web1", "--", "true"]);
}

#[test]
fn a_host_that_is_new_or_enrolled_anew_is_said_to_lack_the_keys_of_others() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let enroll = |host: &str| {
        let words = ["enroll", host, "--address", "10.0.0.1", "--out"];
        let out = fleet.path(format!("{host}.out"));
        let output = fleet.run(words.into_iter().chain([out.to_str().unwrap()]));
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(
        enroll("web2").contains("web2 lacks keys")
            && enroll("web3").contains("\n  bob: --verbs run\n")
    );
    fleet.ok(["forget", "web1"]);
    assert!(enroll("web1").ends_with("lariat key request web1:\n  bob: --verbs run\n"));

    // The same rules are offered to who adds it again, whatever it is added with.
    bob.ok(&["fleet", "import", export(&fleet, "anew").0.to_str().unwrap(), "--yes"]);
    let (request, id) = (bob.request(&["web1"]), bob.id());
    let words = ["key", "add", request.to_str().unwrap(), "web1", "--id", &id, "--reconnect", "0"];
    let offered = fleet.run(words);
    let told = text(&offered.stderr);
    assert!(told.contains("bob was last seen on web1 with: --verbs run\n"), "{told}");
    assert!(told.contains("\nmay do: everything but keys\n"), "{told}");
    let same = fleet.run(words.into_iter().chain(["--verbs", "run"]));
    assert!(!text(&same.stderr).contains("last seen"), "{same:?}");
}

#[test]
fn a_revocation_that_was_exported_is_done_only_by_who_agreed() {
    let (fleet, web1) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &[]);
    let [carol, dave] =
        ["carol", "dave"].map(|name| Operator::added(&fleet, name, &["--verbs", "keys"]));
    let (config, address) = (fleet.bundle("web1").join("agent.toml"), web1.address);
    drop(web1);
    assert!(!fleet.run(["key", "revoke", "bob", "web1", "--reconnect", "0"]).status.success());
    let (file, _) = export(&fleet, "again");
    let import = ["fleet", "import", file.to_str().unwrap()];
    let told = carol.run(&import);
    let told = text(&told.stderr);
    assert!(told.contains("bob was revoked, and is still to be taken from web1"), "{told}");
    dave.ok(&[&import[..], &["--yes"]].concat());
    let _web1 = lariat_testing::agent::Agent::start(config, address);
    carol.ok(&["ping", "web1"]);
    bob.ok(&["ping", "web1"]);
    assert!(
        text(&dave.run(&["ping", "web1"]).stderr).contains("web1: revoked bob, which was pending")
    );
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
}
