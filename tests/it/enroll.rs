//! `enroll --ssh` and `--from`, with machines that a program in place of ssh reaches: cut anywhere, mended, refused.
//!
//! `LARIAT_HOSTS` sets the number of machines that are enrolled at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::iter::repeat;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::time::Instant;

use lariat_testing::binaries::binaries;
use lariat_testing::fleet::TestFleet;
use lariat_testing::machine::Machine;
use lariat_testing::rng::number;

/// A fleet, and a machine that is to become its host `web1`.
struct World {
    /// Ended before its directory is removed.
    machine: Machine,
    fleet: TestFleet,
}

impl World {
    fn new() -> Option<Self> {
        let fleet = TestFleet::new();
        let machine = Machine::new(fleet.path("machine"))?;
        Some(Self { machine, fleet })
    }

    fn words(&self, options: &[&str]) -> Vec<String> {
        let Machine { address, .. } = &self.machine;
        let ssh = self.machine.ssh();
        let words = [
            "enroll",
            "web1",
            "--ssh",
            "root@127.0.0.1:22",
            "--ssh-command",
            &ssh,
            "--address",
            address,
        ];
        words.iter().chain(options).map(|&word| word.to_owned()).collect()
    }

    fn enroll(&self, options: &[&str]) -> String {
        self.fleet.ok(self.words(options))
    }

    fn fails(&self, options: &[&str]) -> String {
        self.fleet.fails(255, self.words(options))
    }

    fn inventory(&self) -> String {
        fs::read_to_string(self.fleet.home().join("hosts.toml")).unwrap()
    }
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_machine_becomes_a_host_by_one_command_and_the_second_changes_nothing() {
    let Some(world) = World::new() else { return };
    let World { fleet, machine } = &world;
    let before = machine.state();
    let told = world.enroll(&["--dry-run"]);
    assert!(told.starts_with("web1: would copy lariatd to /usr/local/bin/lariatd\n"), "{told}");
    assert_eq!(told.lines().count(), 6, "{told}");
    assert!(
        machine.state() == before && !world.inventory().contains("\n[hosts.web1]"),
        "a dry run"
    );

    let told = world.enroll(&["--tag", "web"]);
    let steps = "(lariatd, certificate, agent.toml, keyring, unit, start), ping ";
    assert!(told.starts_with("web1: enrolled at 127.") && told.contains(steps), "{told}");
    assert_eq!(fleet.ok(["run", "@web", "--", "echo", "$LARIAT_HOST"]), "web1: $LARIAT_HOST\n");
    let mode = |name| fs::metadata(machine.path(name)).unwrap().permissions().mode() & 0o7777;
    for (file, expected) in [
        ("usr/local/bin/lariatd", 0o755),
        ("etc/systemd/system/lariatd.service", 0o644),
        ("etc/lariat", 0o700),
        ("etc/lariat/agent.toml", 0o600),
        ("etc/lariat/host.key", 0o600),
        ("etc/lariat/keyring.toml", 0o600),
    ] {
        assert_eq!(mode(file), expected, "{file}");
    }
    assert!(machine.read("etc/lariat/agent.toml").contains("state = \"/var/lib/lariat\"\n"));
    // No copy of anything secret is here, nor of anything that was on its way there.
    let listed = fs::read_dir(fleet.path("")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(listed.collect::<Vec<_>>(), ["machine"]);
    assert_eq!(fs::read_dir(machine.path("etc/lariat")).unwrap().count(), 5);
    assert_eq!(fs::read_dir(machine.path("usr/local/bin")).unwrap().count(), 1);

    let (before, inventory) = (machine.state(), world.inventory());
    let told = world.enroll(&["--tag", "web"]);
    assert!(told.starts_with("web1: unchanged, at 127."), "{told}");
    assert!(world.enroll(&["--dry-run"]).starts_with("web1: unchanged, at 127."));
    let object: serde_json::Value = serde_json::from_str(&world.enroll(&["--json"])).unwrap();
    assert_eq!((&object["ok"], &object["changed"]), (&true.into(), &false.into()), "{object}");
    assert!(machine.state() == before && world.inventory() == inventory);

    let called = machine.read("called");
    let options = "-T -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no -o BatchMode=yes -p 22 -l root -- 127.0.0.1 exec sh -c ";
    assert!(called.lines().all(|line| line.starts_with(options)), "{called}");
    assert_eq!(called.lines().count(), 5, "one session each: {called}");
}

#[test]
fn what_is_wrong_is_mended_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let World { machine, fleet } = &world;
    world.enroll(&[]);
    let keyring = format!("{}# mine\n", machine.read("etc/lariat/keyring.toml"));
    machine.write("etc/lariat/keyring.toml", &keyring);
    let config = format!("{}[exec]\ntasks_max = 60\n", machine.read("etc/lariat/agent.toml"));
    machine.write("etc/lariat/agent.toml", &config);
    let mended = |steps: &str| {
        let told = world.enroll(&[]);
        assert!(told.contains(&format!(" s ({steps}), ping ")), "{told}");
        assert_eq!(machine.read("etc/lariat/agent.toml"), config);
        assert_eq!(machine.read("etc/lariat/keyring.toml"), keyring);
        assert!(world.enroll(&[]).starts_with("web1: unchanged"));
    };
    machine.write("etc/systemd/system/lariatd.service", "[Service]\nExecStart=/bin/false\n");
    machine.remove("etc/lariat/host.pem");
    mended("certificate, unit, start");
    machine.stop();
    mended("start");
    machine.remove("var/lib/machine/enabled");
    mended("start");
    fs::write(machine.path("usr/local/bin/lariatd.copy"), "damaged").unwrap();
    fs::rename(machine.path("usr/local/bin/lariatd.copy"), machine.path("usr/local/bin/lariatd"))
        .unwrap();
    mended("lariatd, start");
    // An address counts once the host has answered there.
    let inventory = world.inventory();
    let words = world.words(&[]);
    let elsewhere: Vec<&str> = words
        .iter()
        .map(|word| if *word == machine.address { "127.0.0.1:9" } else { word.as_str() })
        .collect();
    let told = fleet.fails(255, elsewhere);
    assert!(told.contains("enroll web1: ping: ") && told.contains("firewall"), "{told}");
    assert_eq!(world.inventory(), inventory);
    // Forgotten here: its files are its own, and are taken as they are.
    fleet.ok(["forget", "web1"]);
    let told = world.enroll(&[]);
    assert!(told.contains(" s (inventory), ping "), "{told}");
    fleet.ok(["ping", "web1"]);
}

/// Cuts a session, which must fail, and finishes it by the next.
fn cut(how: &str, at: &str, has_program: bool) {
    let Some(world) = World::new() else { return };
    let World { fleet, machine } = &world;
    if has_program {
        machine.put_program();
    }
    machine.write(how, at);
    if how == "kill" {
        let output = fleet.run(world.words(&[]));
        assert_eq!(output.status.signal(), Some(9), "{at}: {output:?}");
    } else {
        let told = world.fails(&[]);
        assert!(told.starts_with("lariat: enroll web1: "), "{how} {at}: {told}");
    }
    machine.remove(how);
    world.enroll(&[]);
    fleet.ok(["ping", "web1"]);
    assert_eq!(fs::read_dir(machine.path("etc/lariat")).unwrap().count(), 5, "{how} {at}");
    assert_eq!(fs::read_dir(machine.path("usr/local/bin")).unwrap().count(), 1, "{how} {at}");
    assert!(world.enroll(&[]).starts_with("web1: unchanged"), "{how} {at}");
}

/// The lines that the script says for begin, request, three files, unit, check and start; then it finishes.
const LINES: std::ops::Range<u32> = 0..10;

#[test]
fn a_connection_that_is_cut_between_any_two_steps_is_finished_by_the_next() {
    for at in LINES {
        cut("cut", &at.to_string(), true);
    }
}

#[test]
fn a_controller_that_is_killed_between_any_two_steps_leaves_what_the_next_one_finishes() {
    for at in LINES {
        cut("kill", &at.to_string(), true);
    }
}

#[test]
fn a_connection_that_is_cut_within_a_file_is_finished_by_the_next() {
    cut("cut-input", "200000", false);
    cut("cut", "2", false);
    // Within the certificate.
    let Some(world) = World::new() else { return };
    let World { machine, .. } = &world;
    machine.put_program();
    world.enroll(&[]);
    let before = machine.read("etc/lariat/keyring.toml");
    machine.remove("etc/lariat/host.pem");
    // The script, three lines for it, and half of the certificate.
    let script =
        include_str!("../../controller/src/enrollment/script.sh").len() + "port=12345\n".len();
    machine.write("cut-input", &(script + 110 + 300).to_string());
    let told = world.fails(&[]);
    assert!(
        told.contains("certificate: it did not arrive whole; once that is repaired, run it again"),
        "{told}"
    );
    machine.remove("cut-input");
    world.enroll(&[]);
    assert_eq!(machine.read("etc/lariat/keyring.toml"), before);
    assert_eq!(fs::read_dir(machine.path("etc/lariat")).unwrap().count(), 5);
}

#[test]
fn everything_that_is_in_the_way_is_told_before_anything_is_changed() {
    let Some(world) = World::new() else { return };
    let World { machine, .. } = &world;
    machine.program(
        "usr/local/sbin/uname",
        "#!/bin/sh\n[ $1 = -m ] && echo sparc64 || echo Linux 4.18.0\n",
    );
    machine.program("usr/local/sbin/id", "#!/bin/sh\n[ $1 = -u ] && echo 1000 || echo bob\n");
    machine.program(
        "usr/local/sbin/sudo",
        "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n",
    );
    machine.program("usr/local/sbin/date", "#!/bin/sh\necho 1000000000\n");
    let port = machine.address.rsplit_once(':').unwrap().1;
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let before = machine.state();
    let told = world.fails(&["--tag", "web"]);
    for part in [
        "enroll web1: preflight: 5 problems: ",
        "bob is not root there, and sudo -n does not work: sudo: a password is required (ssh as root",
        "its kernel is Linux 4.18.0 (lariatd needs Linux 5.9",
        "its processor is sparc64, and ",
        " s behind this machine's (set the clock",
        &format!("its port {port} is taken by "),
        "; nothing was changed",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let object = world.fleet.run(world.words(&["--json"]));
    let object: serde_json::Value = serde_json::from_slice(&object.stdout).unwrap();
    assert_eq!((&object["ok"], &object["kind"]), (&false.into(), &"refused".into()), "{object}");
    assert!(machine.state() == before && !world.inventory().contains("\n[hosts.web1]"));
    drop(listener);
}

#[test]
fn a_user_who_may_become_root_enrolls_by_sudo() {
    let Some(world) = World::new() else { return };
    let World { machine, fleet } = &world;
    machine.put_program();
    machine.program(
        "usr/local/sbin/id",
        "#!/bin/sh\n[ -n \"${SUDO-}\" ] && set -- $1 0 || set -- $1 1000\necho $2\n",
    );
    let sudo = "#!/bin/sh\n[ $1 = -n ] || exit 1\nshift\nSUDO=yes exec \"$@\"\n";
    machine.program("usr/local/sbin/sudo", sudo);
    world.enroll(&[]);
    fleet.ok(["ping", "web1"]);
}

#[test]
fn a_host_without_systemd_is_installed_and_told_how_to_start() {
    let Some(world) = World::new() else { return };
    let World { machine, fleet } = &world;
    machine.put_program();
    machine.remove("run/systemd");
    let output = fleet.run(world.words(&[]));
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(told.contains("(certificate, agent.toml, keyring)\n"), "{told}{}", error(&output));
    assert!(
        error(&output).contains("As root, now and at each boot: /usr/local/bin/lariatd;"),
        "{}",
        error(&output)
    );
    assert!(!machine.path("etc/systemd/system/lariatd.service").exists());
    assert!(world.enroll(&[]).starts_with("web1: unchanged"));
}

#[test]
fn another_machine_a_copy_and_a_host_of_another_fleet_are_refused() {
    let Some(world) = World::new() else { return };
    let World { machine, fleet } = &world;
    machine.put_program();
    world.enroll(&[]);
    let as_web2: Vec<String> =
        world.words(&[]).iter().map(|word| word.replace("web1", "web2")).collect();
    let told = fleet.fails(255, &as_web2);
    assert!(
        told.contains("it is web1 of this fleet, by /etc/lariat/host.pem (if that agent"),
        "{told}"
    );
    // A copy of the machine that has lost all but its key.
    for file in ["host.pem", "agent.toml", "keyring.toml"] {
        machine.remove(&format!("etc/lariat/{file}"));
    }
    let told = fleet.fails(255, &as_web2);
    assert!(
        told.contains("web2: certificate: its key is that of web1: one is a copy of the other"),
        "{told}"
    );
    world.enroll(&[]);
    machine.remove("etc/lariat");
    let told = world.fails(&[]);
    assert!(
        told.contains("this machine has no private key of it (lariat forget web1 first"),
        "{told}"
    );
    fleet.ok(["forget", "web1"]);
    world.enroll(&[]);
    let other = TestFleet::new();
    let told = other.fails(255, world.words(&[]));
    assert!(told.contains("it is a host of another fleet"), "{told}");
}

#[test]
fn a_failure_says_which_step_and_what_to_do() {
    let Some(world) = World::new() else { return };
    let World { machine, .. } = &world;
    machine.put_program();
    machine
        .write("down", "ssh: connect to host 127.0.0.1 port 22: \u{1b}[2JConnection refused\r\n");
    let told = world.fails(&[]);
    let ssh = machine.ssh();
    let expected = format!(
        "lariat: enroll web1: ssh to root@127.0.0.1:22: ssh: connect to host 127.0.0.1 port 22: \\x1b[2JConnection refused; try: {ssh} -p 22 root@127.0.0.1\n"
    );
    assert_eq!(told, expected);
    machine.remove("down");
    let systemctl = machine.read("usr/local/sbin/systemctl");
    machine.program(
        "usr/local/sbin/systemctl",
        &systemctl.replace("restart)", "restart) echo 'no such unit' >&2; exit 5 ;;\nnever)"),
    );
    let told = world.fails(&[]);
    let expected = "lariat: enroll web1: start: no such unit; once that is repaired, run it again to resume: lariat enroll web1 --ssh root@127.0.0.1:22\n";
    assert_eq!(told, expected);
    machine.program("usr/local/sbin/systemctl", &systemctl);
    world.enroll(&[]);
}

#[test]
fn a_program_that_does_not_fit_takes_no_place() {
    let Some(world) = World::new() else { return };
    let World { machine, fleet } = &world;
    world.enroll(&[]);
    let program_there = || {
        let state = machine.state();
        let line = state.lines().find(|line| line.contains("/bin/lariatd "));
        line.map(ToOwned::to_owned)
    };
    let before = program_there();
    let (own, older) = (env!("CARGO_PKG_VERSION"), fleet.path("older"));
    let mut program = fs::read(&binaries().lariatd).unwrap();
    let at: Vec<usize> = program
        .windows(own.len())
        .enumerate()
        .filter(|(_, w)| *w == own.as_bytes())
        .map(|(at, _)| at)
        .collect();
    at.iter().for_each(|&at| program[at..at + own.len()].copy_from_slice(b"0.0.9"));
    fs::write(&older, program).unwrap();
    fs::set_permissions(&older, fs::Permissions::from_mode(0o755)).unwrap();
    for (program, why) in [
        ("/bin/true".to_owned(), "it is not lariatd: its --version says "),
        (binaries().lariat.display().to_string(), "it is not lariatd: its --version says lariat "),
        (older.display().to_string(), "lariatd 0.0.9 is older than lariatd "),
    ] {
        let told = world.fails(&["--lariatd", &program]);
        assert!(told.contains("enroll web1: lariatd: ") && told.contains(why), "{program}: {told}");
        assert!(before.is_some() && program_there() == before, "{program}");
        fleet.ok(["ping", "web1"]);
    }
    world.enroll(&[]);
    assert_eq!(program_there(), before);
}

#[test]
fn the_hosts_of_a_file_are_enrolled_at_once() {
    let fleet = TestFleet::new();
    let count = number("LARIAT_HOSTS").unwrap_or(3);
    let names: Vec<String> = (1..=count).map(|number| format!("web{number}")).collect();
    fs::create_dir(fleet.path("m")).unwrap();
    let mut inventory = fs::read_to_string(fleet.home().join("hosts.toml")).unwrap();
    let mut machines = Vec::new();
    let mut list = "# all\n".to_owned();
    for (name, tags) in names.iter().zip(["web berlin", ""].into_iter().chain(repeat("db"))) {
        let Some(machine) = Machine::new(fleet.path(format!("m/{name}"))) else { return };
        machine.put_program();
        writeln!(list, "{name} root@{name} {tags}").unwrap();
        let address = &machine.address;
        writeln!(inventory, "[hosts.{name}]\naddress = \"{address}\"").unwrap();
        machines.push(machine);
    }
    fs::write(fleet.home().join("hosts.toml"), inventory).unwrap();
    machines[1].write("down", "Permission denied (publickey).\n");
    let ssh = fleet.path("m/ssh");
    let script = "while [ $1 != -- ]; do shift; done; exec \"$(dirname $0)/$2/ssh\" \"$@\"\n";
    fs::write(&ssh, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(fleet.path("hosts.txt"), list).unwrap();
    let ssh = ssh.display().to_string();
    let words = ["enroll", "--from", "hosts.txt", "--ssh-command", &ssh];
    let began = Instant::now();
    let output = fleet.run(words);
    // Shown with --nocapture.
    println!("{} hosts in {:?}", count - 1, began.elapsed());
    let errors = error(&output);
    assert_eq!(output.status.code(), Some(255), "{errors}");
    assert!(
        errors.contains("enroll web2: ssh to root@web2: Permission denied (publickey).; try: "),
        "{errors}"
    );
    let summary = format!("{} ok, 1 unreachable (web2); ", count - 1);
    assert!(errors.contains(&summary), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap().lines().count();
    assert_eq!(lines as u64, count - 1);
    machines[1].remove("down");
    let told = fleet.ok([&words[..], &["--json"]].concat());
    let changed: BTreeMap<String, bool> = told
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|object| (object["host"].as_str().unwrap().to_owned(), object["changed"] == true))
        .collect();
    let expected = names.into_iter().map(|name| (name.clone(), name == "web2"));
    assert_eq!(changed, expected.collect());
    assert_eq!(fleet.ok(["run", "@berlin,@db", "--", "true"]), "");
    fs::write(fleet.path("hosts.txt"), "web1 web1\nweb1 x\n").unwrap();
    let told = fleet.fails(255, words);
    assert_eq!(told, "lariat: enroll: hosts.txt:2: web1 stands there twice\n");
}
