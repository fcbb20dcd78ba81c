//! Certificates are renewed over lariat itself: for the same key or a new one, under load, and after a cut anywhere.
//!
//! `LARIAT_AGENTS` sets the number of agents under load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::rng::number;
use lariat_testing::wait;
use rustix::process::Signal;

use crate::keys::Operator;

/// Longer than a new certificate is valid.
const ALL: &str = "400d";

struct World {
    fleet: TestFleet,
    agent: Agent,
}

/// The files of a host and of the controller that a renewal may change.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: String,
    key: String,
    inventory: String,
}

impl World {
    fn new() -> Self {
        let (fleet, agent) = TestFleet::with_agent();
        Self { fleet, agent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fleet.bundle("web1").join(name)
    }

    fn inventory(&self) -> PathBuf {
        self.fleet.home().join("hosts.toml")
    }

    fn files(&self) -> Files {
        let [certificate, key, inventory] =
            [self.path("host.pem"), self.path("host.key"), self.inventory()]
                .map(|path| fs::read_to_string(path).unwrap());
        Files { certificate, key, inventory }
    }

    fn renew(&self, options: &[&str]) -> String {
        self.fleet.ok([&["renew", "web1"], options].concat())
    }
}

#[test]
fn a_certificate_is_renewed_for_the_same_key_if_it_ends_soon() {
    let mut world = World::new();
    let before = world.files();
    assert!(world.renew(&[]).starts_with("web1: nothing to do until 20"));
    assert!(world.files() == before);

    let told = world.renew(&["--within", ALL, "--json"]);
    let object: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&object["ok"], &object["changed"]), (&true.into(), &true.into()), "{told}");
    let after = world.files();
    assert!(after.certificate != before.certificate);
    // No pin of another operator breaks.
    assert!(after.key == before.key && after.inventory == before.inventory);
    world.fleet.ok(["ping", "web1"]);
    world.agent.kill_and_restart();
    world.fleet.set_address("web1", world.agent.address);
    world.fleet.ok(["ping", "web1"]);
}

#[test]
fn a_new_key_takes_the_place_of_the_former_on_both_ends() {
    let mut world = World::new();
    let before = world.files();
    let told = world.fleet.ok(["renew", "web1", "--new-key"]);
    let new = "web1: renewed with a new key, which other operators take by fleet import, until ";
    assert!(told.starts_with(new), "{told}");
    let after = world.files();
    assert!(after.certificate != before.certificate && after.key != before.key);
    assert!(after.inventory != before.inventory && !after.inventory.contains("spki_next"));
    assert!(!world.agent.state().join("renewal.key").exists());
    world.fleet.ok(["ping", "web1"]);
    fs::write(world.inventory(), before.inventory).unwrap();
    let error = world.fleet.fails(255, ["ping", "web1"]);
    assert!(error.contains("not the one enrolled"), "{error}");
    fs::write(world.inventory(), after.inventory).unwrap();
    world.agent.kill_and_restart();
    world.fleet.set_address("web1", world.agent.address);
    world.fleet.ok(["ping", "web1"]);
}

#[test]
fn a_host_that_died_before_its_new_key_was_in_place_comes_back_with_it() {
    let mut world = World::new();
    let before = world.files();
    world.renew(&["--new-key"]);
    let after = world.files();
    // Its certificate was replaced last.
    let waiting = world.agent.state().join("renewal.key");
    fs::copy(world.path("host.key"), &waiting).unwrap();
    fs::write(world.path("host.key"), before.key).unwrap();
    world.agent.kill_and_restart();
    world.fleet.set_address("web1", world.agent.address);
    world.fleet.ok(["ping", "web1"]);
    assert!(world.files().key == after.key && !waiting.exists());
    // A key that waits for its certificate does no harm.
    fs::copy(world.path("host.key"), &waiting).unwrap();
    world.renew(&["--within", ALL]);
    world.agent.kill_and_restart();
    world.fleet.set_address("web1", world.agent.address);
    world.fleet.ok(["ping", "web1"]);
}

#[test]
fn a_controller_that_was_cut_accepts_both_keys_and_settles_on_the_hosts() {
    let world = World::new();
    let spki = |inventory: &str| {
        let line = inventory.lines().find(|line| line.starts_with("spki = ")).unwrap();
        line.trim_start_matches("spki = ").to_owned()
    };
    let old = spki(&world.files().inventory);
    world.renew(&["--within", ALL, "--new-key"]);
    let done = world.files().inventory;
    let new = spki(&done);
    // Cut before the host had the new key, and after it.
    for (present, next) in [(&new, &old), (&old, &new)] {
        let both = format!("spki = {present}\nspki_next = {next}");
        fs::write(world.inventory(), done.replace(&format!("spki = {new}"), &both)).unwrap();
        world.fleet.ok(["ping", "web1"]);
    }
    world.renew(&[]);
    assert_eq!(world.files().inventory, done);
    world.renew(&["--within", ALL, "--new-key"]);
    world.fleet.ok(["ping", "web1"]);
}

#[test]
fn no_login_fails_while_certificates_are_renewed() {
    let (fleet, _agents) =
        fleet_of(usize::try_from(number("LARIAT_AGENTS").unwrap_or(10)).unwrap());
    let (over, logins) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 2]);
    let bob = Operator::added(&fleet, "bob", &["--verbs", "run"]);
    let own = fleet.home();
    std::thread::scope(|scope| {
        for (home, logins) in [&own, &bob.home].into_iter().zip(&logins) {
            let (fleet, over) = (&fleet, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut command = fleet.lariat();
                    command.env("LARIAT_HOME", home).args(["run", "all", "--", "true"]);
                    let output = command.output().unwrap();
                    let told = String::from_utf8(output.stderr).unwrap();
                    if !output.status.success() {
                        over.store(true, Ordering::Relaxed);
                        panic!("{told}");
                    }
                    logins.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=2 {
            let began = Instant::now();
            fleet.ok(["renew", "all", "--within", ALL]);
            // Shown with --nocapture.
            println!("renewed in {:?}, {logins:?} fan-outs", began.elapsed());
            wait::until("logins", || {
                let enough = |logins: &AtomicUsize| logins.load(Ordering::Relaxed) >= 2 * round;
                (logins.iter().all(enough) || over.load(Ordering::Relaxed)).then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn only_a_key_with_keys_renews_and_only_with_the_fleets_ca() {
    let world = World::new();
    let keyring = world.path("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    fs::write(&keyring, text.replace("\"keys\", ", "")).unwrap();
    world.agent.signal(Signal::HUP);
    world.agent.wait_for("were read anew");
    let before = world.files();
    let error = world.fleet.fails(255, ["renew", "web1", "--within", ALL]);
    assert!(error.contains("not permitted") && error.contains("keys"), "{error}");
    fs::remove_file(world.fleet.home().join("ca.key")).unwrap();
    let error = world.fleet.fails(255, ["renew", "web1"]);
    assert!(error.contains("only the machine that made the fleet has it"), "{error}");
    assert!(world.files() == before);
}

#[test]
fn a_reload_takes_another_certificate_and_refuses_one_of_another_key() {
    let world = World::new();
    let first = world.files();
    world.renew(&["--within", ALL]);
    world.fleet.enroll("web2", "127.0.0.1:1");
    let other = fs::read_to_string(world.fleet.bundle("web2").join("host.pem")).unwrap();
    for (certificate, said) in
        [(&other, "nothing was read anew: "), (&first.certificate, "were read anew")]
    {
        fs::write(world.path("host.pem"), certificate).unwrap();
        world.agent.signal(Signal::HUP);
        world.agent.wait_for(said);
        world.fleet.ok(["ping", "web1"]);
    }
}

#[test]
fn the_ca_is_shown_with_its_end() {
    let fleet = TestFleet::new();
    let shown: serde_json::Value =
        serde_json::from_str(&fleet.ok(["ca", "show", "--json"])).unwrap();
    let print = shown["fingerprint"].as_str().unwrap();
    let text = fleet.ok(["ca", "show"]);
    assert!(text.contains(print) && text.contains(shown["not_after"].as_str().unwrap()), "{text}");
    let exported = fleet.ok(["fleet", "export", "fleet.toml"]);
    assert!(exported.contains(print), "{exported}");
}

/// Replaces the CA's certificate by one that ends in so many days: so do the certificates that it issues.
fn ca_that_ends_in(fleet: &TestFleet, days: u64) {
    let key = fs::read_to_string(fleet.home().join("ca.key")).unwrap();
    let key = rcgen::KeyPair::from_pem(&key).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.not_after = (SystemTime::now() + Duration::from_secs(days * 86400 + 3600)).into();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(fleet.home().join("ca.pem"), certificate.pem()).unwrap();
}

/// The end of web1's certificate as `hosts` says, and what it warns of.
fn hosts(fleet: &TestFleet, home: &Path) -> (Option<u64>, String) {
    let mut command = fleet.lariat();
    let output = command.env("LARIAT_HOME", home).args(["hosts", "--json"]).output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["enrolled"], true, "{object}");
    (object["expires"].as_u64(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_wherever_somebody_looks() {
    let fleet = TestFleet::new();
    ca_that_ends_in(&fleet, 29);
    let agent = fleet.agent("web1");
    let why = "certificate ends in 29 day(s): lariat renew web1";
    assert!(agent.log().iter().any(|line| line.contains(why)), "{:?}", agent.log());
    for target in ["web1", "all"] {
        let pinged = fleet.run(["ping", target]);
        let told = String::from_utf8(pinged.stderr).unwrap();
        assert!(pinged.status.success() && told.contains(why), "{told}");
    }
    let config = fleet.bundle("web1").join("agent.toml");
    let checked = lariat_testing::agent::lariatd(&config).arg("check").output().unwrap();
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && told.contains(why), "{told}");
    // By default what ends within 90 days is renewed.
    assert!(fleet.ok(["renew", "all"]).starts_with("web1: renewed, until "));
}

#[test]
fn hosts_tells_the_ends_of_certificates_as_they_were_last_seen() {
    let fleet = TestFleet::new();
    ca_that_ends_in(&fleet, 29);
    let home = fleet.home();
    let _agent = fleet.agent("web1");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let days = |end: Option<u64>| end.unwrap().saturating_sub(now) / 86400;
    let warning =
        "web1: the certificate ends within 30 days, the first in 29 day(s); try: lariat renew web1";
    let (end, told) = hosts(&fleet, &home);
    assert_eq!((days(end), told.trim_end()), (29, warning));
    let table = fleet.run(["hosts"]);
    assert!(String::from_utf8(table.stderr).unwrap().contains(warning));
    // The file is only what was seen: what is damaged, or gone, is seen again.
    let seen = home.join("seen/certificates");
    fs::write(&seen, "nonsense\n").unwrap();
    assert_eq!(hosts(&fleet, &home), (None, String::new()));
    fleet.ok(["run", "web1", "--", "true"]);
    assert_eq!(hosts(&fleet, &home).0, end);

    let export = fleet.ok(["fleet", "export", "fleet.toml"]);
    let print = export.lines().nth(1).unwrap().trim();
    let other = fleet.path("other");
    let import = ["fleet", "import", "fleet.toml", "--ca", print];
    let mut command = fleet.lariat();
    assert!(command.env("LARIAT_HOME", &other).args(import).status().unwrap().success());
    assert_eq!(hosts(&fleet, &other), (end, told));

    ca_that_ends_in(&fleet, 200);
    fleet.ok(["renew", "all"]);
    let (end, told) = hosts(&fleet, &home);
    assert_eq!((days(end), told.as_str()), (200, ""));
    // No contact rewrites what is there.
    let inventory = fs::metadata(home.join("hosts.toml")).unwrap().modified().unwrap();
    let lines = fs::read_to_string(&seen).unwrap();
    fleet.ok(["ping", "web1"]);
    assert_eq!(fs::metadata(home.join("hosts.toml")).unwrap().modified().unwrap(), inventory);
    assert_eq!(fs::read_to_string(&seen).unwrap(), lines);

    let mut line = lines.lines().last().unwrap().rsplitn(2, ' ');
    let ended = format!("{} {}\n", line.nth(1).unwrap(), now - 5);
    fs::write(&seen, ended).unwrap();
    let told = hosts(&fleet, &home).1;
    assert!(told.contains("web1: the certificate has ended; enroll anew"), "{told}");
}
