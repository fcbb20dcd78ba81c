//! What is decided for hosts of all kinds.

use lariat_certs::ca::Ca;

use super::*;
use crate::inventory::Spki;

const NOW: i64 = 2_000_000_000;

fn program() -> Program {
    Program {
        path: "/opt/lariatd".into(),
        bytes: vec![0; 1 << 20],
        sum: "5".repeat(64),
        machine: "x86_64".to_owned(),
        glibc: Some((2, 34)),
    }
}

fn decide(facts: &Facts, change: impl FnOnce(&mut Wanted<'_>)) -> Result<Plan, Vec<String>> {
    let (name, program) = ("web1".parse().unwrap(), program());
    let mut wanted = Wanted {
        name: &name,
        port: 7433,
        program: Some(&program),
        known: None,
        is_of_fleet: &|_, _| true,
        now: facts.time.unwrap_or(NOW),
    };
    change(&mut wanted);
    plan(facts, &wanted).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The problems of a host.
pub(crate) fn decided(facts: &Facts) -> Vec<String> {
    decide(facts, |_| {}).err().unwrap_or_default()
}

/// A host without anything of lariat.
fn fresh() -> Facts {
    let directory = |path: &str| Directory { path: path.to_owned(), owner: 0, mode: 0o755 };
    Facts {
        user: "root".to_owned(),
        kernel: "Linux 6.1.0-18-amd64".to_owned(),
        machine: "x86_64".to_owned(),
        libc: "glibc 2.36".to_owned(),
        time: Some(NOW),
        directories: ["/usr/local/bin", "/etc"].map(directory).into(),
        disks: vec![("/usr/local/bin".to_owned(), 1 << 30), ("/etc".to_owned(), 1 << 30)],
        systemd: true,
        ..Facts::default()
    }
}

fn config(name: &str, enrolment: EnrolmentId) -> Vec<u8> {
    format!(
        "name = \"{name}\"\nenrolment = \"{enrolment}\"\nlisten = \"[::]:7433\"\n\
         certificate = \"host.pem\"\nkey = \"/etc/lariat/host.key\"\nkeyring = \"keyring.toml\"\n\
         state = \"/var/lib/lariat\"\n[exec]\ntasks_max = 9\n"
    )
    .into()
}

const ENROLMENT: EnrolmentId = EnrolmentId([7; 16]);

/// A host that was enrolled, and what the inventory has of it.
fn enrolled() -> (Facts, Enrolled) {
    let leaf = Ca::create().unwrap().issue(&"web1".parse().unwrap()).unwrap();
    let now = CertificateInfo::parse(&leaf.certificate).unwrap().not_before + 3600;
    let facts = Facts {
        time: Some(now),
        active: true,
        enabled: true,
        main: 77,
        holders: vec![(77, "lariatd".to_owned())],
        program: Some("5".repeat(64)),
        unit: Some(unit::sum()),
        config: Some(config("web1", ENROLMENT)),
        certificate: Some(leaf.certificate_pem.into()),
        key: true,
        keyring: true,
        ..fresh()
    };
    (facts, Enrolled { enrolment: ENROLMENT, spki: Spki(leaf.spki), next: None })
}

fn steps(facts: &Facts, known: Option<Enrolled>) -> Vec<Step> {
    decide(facts, |wanted| wanted.known = known).unwrap().steps
}

#[test]
fn a_fresh_host_gets_everything_and_an_enrolled_one_nothing() {
    use Step::{Certificate, Config, Keyring, Program, Start, Unit};
    assert_eq!(steps(&fresh(), None), [Program, Certificate, Config, Keyring, Unit, Start]);
    let without = Facts { systemd: false, ..fresh() };
    assert_eq!(steps(&without, None), [Program, Certificate, Config, Keyring]);
    let packaged = Facts { package: true, ..fresh() };
    assert_eq!(steps(&packaged, None), [Certificate, Config, Keyring, Start]);

    let (facts, known) = enrolled();
    assert_eq!(steps(&facts, Some(known)), []);
    // Cut after all of it was there, and before the inventory had it.
    let plan = decide(&facts, |_| {}).unwrap();
    assert_eq!(
        (plan.steps, plan.enrolment, plan.spki),
        (vec![], Some(ENROLMENT), Some(known.spki.0))
    );
}

#[test]
fn whatever_is_missing_or_wrong_is_mended_and_nothing_else() {
    use Step::{Certificate, Config, Keyring, Program, Start, Unit};
    let (facts, known) = enrolled();
    let some = |change: fn(&mut Facts), expected: &[Step]| {
        let mut facts = facts.clone();
        change(&mut facts);
        assert_eq!(steps(&facts, Some(known)), expected);
    };
    some(|facts| facts.program = Some("6".repeat(64)), &[Program, Start]);
    some(|facts| facts.certificate = None, &[Certificate, Start]);
    some(|facts| facts.certificate = Some(b"cut".into()), &[Certificate, Start]);
    some(|facts| facts.config = None, &[Config, Start]);
    some(|facts| facts.keyring = false, &[Keyring, Start]);
    some(|facts| facts.unit = Some("0".repeat(64)), &[Unit, Start]);
    some(|facts| facts.active = false, &[Start]);
    some(|facts| facts.enabled = false, &[Start]);
    some(|facts| facts.unfinished = true, &[Start]);
    let later = facts.time.unwrap() + 340 * 86400;
    let plan = plan_at(&Facts { time: Some(later), ..facts.clone() }, known, later);
    assert_eq!(plan.steps, [Certificate, Start], "it ends soon");
}

fn plan_at(facts: &Facts, known: Enrolled, now: i64) -> Plan {
    decide(facts, |wanted| (wanted.known, wanted.now) = (Some(known), now)).unwrap()
}

#[test]
fn everything_that_is_in_the_way_is_told_at_once() {
    let facts = Facts {
        user: "bob".to_owned(),
        no_root: Some("sudo: a password is required".to_owned()),
        kernel: "Linux 4.18.0-348.el8".to_owned(),
        machine: "aarch64".to_owned(),
        libc: "glibc 2.28".to_owned(),
        time: Some(NOW - 7200),
        missing: vec!["base64".to_owned()],
        directories: vec![
            Directory { path: "/usr/local/bin".to_owned(), owner: 0, mode: 0o2775 },
            Directory { path: "/usr/local".to_owned(), owner: 33, mode: 0o755 },
            Directory { path: "/etc/lariat".to_owned(), owner: 0, mode: 0o755 },
        ],
        disks: vec![("/usr/local/bin".to_owned(), 1 << 24), ("/var/lib".to_owned(), 4096)],
        holders: vec![(812, "nginx".to_owned())],
        ..fresh()
    };
    let problems = decide(&facts, |wanted| wanted.now = NOW).unwrap_err();
    insta::assert_snapshot!(problems.join("\n"), @r"
    bob is not root there, and sudo -n does not work: sudo: a password is required (ssh as root, or let sudo work without a password)
    its kernel is Linux 4.18.0-348.el8 (lariatd needs Linux 5.9 or newer)
    it lacks base64 (install coreutils there)
    /usr/local/bin is writable by others than root (mode 2775) (chmod go-w /usr/local/bin)
    /usr/local belongs to user 33 (chown root /usr/local)
    /etc/lariat is open to others than root (mode 0755) (chmod 700 /etc/lariat)
    /var/lib has 4 KiB free (16 MiB are needed)
    its processor is aarch64, and /opt/lariatd is for x86_64 (--lariatd FILE with one for it)
    its C library is glibc 2.28, and /opt/lariatd needs glibc 2.34 (--lariatd FILE with one that was built on an older system)
    /usr/local/bin has 16384 KiB free (17408 KiB are needed)
    its port 7433 is taken by nginx, process 812 (end it, or choose another port: --address ADDR:PORT)
    its clock is 7200 s behind this machine's (set the clock that is wrong: timedatectl set-ntp true)
    ");
}

#[test]
fn a_port_is_free_or_the_agents_own() {
    let taken = |holders: &[(u32, &str)], main| {
        let holders = holders.iter().map(|(pid, name)| (*pid, (*name).to_owned())).collect();
        !decided(&Facts { main, holders, ..enrolled().0 }).is_empty()
    };
    assert!(!taken(&[], 0) && !taken(&[(77, "lariatd")], 77) && !taken(&[(1, "systemd")], 0));
    assert!(!taken(&[(77, "lariatd"), (90, "sh")], 77), "a command inherited it");
    assert!(taken(&[(78, "lariatd")], 77) && taken(&[(78, "lariatd")], 0) && taken(&[(0, "?")], 0));
    let by_hand = Facts { systemd: false, main: 0, ..enrolled().0 };
    assert_eq!(decided(&by_hand), [""; 0]);
    let note = decide(&enrolled().0, |wanted| wanted.port = 7500).unwrap().notes;
    assert_eq!(note, ["its agent.toml listens on port 7433, and is left as it is"]);
}

#[test]
fn another_host_another_fleet_and_another_machine_are_refused() {
    let (facts, known) = enrolled();
    let refused = |facts: &Facts, known: Option<Enrolled>| {
        decide(facts, |wanted| wanted.known = known).unwrap_err().join("; ")
    };
    let other = decide(&facts, |wanted| wanted.is_of_fleet = &|_, _| false).unwrap_err();
    assert!(other[0].starts_with("it is a host of another fleet"), "{other:?}");
    let web2 = Facts { config: Some(config("web2", ENROLMENT)), ..facts.clone() };
    assert!(refused(&web2, None).starts_with("it is the agent of web2"));
    let unreadable = Facts { config: Some(b"name = ".into()), ..facts.clone() };
    assert!(refused(&unreadable, None).contains("agent.toml can't be read: "));
    let anew = Facts { config: Some(config("web1", EnrolmentId([8; 16]))), ..facts.clone() };
    assert!(refused(&anew, Some(known)).contains("enrolled anew since"));
    let replaced = Enrolled { spki: Spki([9; 32]), ..known };
    assert!(refused(&facts, Some(replaced)).contains("for another key"));
    assert!(
        refused(&fresh(), Some(known)).contains("has no private key of it (lariat forget web1")
    );
    let text = String::from_utf8(config("web1", ENROLMENT)).unwrap();
    let elsewhere = text.replace("\"host.pem\"", "\"/srv/host.pem\"").into_bytes();
    let elsewhere = Facts { config: Some(elsewhere), ..facts };
    assert!(refused(&elsewhere, Some(known)).contains("names other files"));
}

#[test]
fn a_program_is_needed_only_where_it_is_copied() {
    let none = |facts: &Facts| decide(facts, |wanted| wanted.program = None);
    assert!(none(&fresh()).unwrap_err()[0].starts_with("there is no lariatd beside lariat"));
    let packaged = Facts { package: true, machine: "riscv64".to_owned(), ..fresh() };
    assert_eq!(none(&packaged).unwrap().agent, "/usr/bin/lariatd");
}
