//! `init`, `enroll`, `forget` and `hosts` as a user runs them: the real binary, with a home for each test.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lariat_testing::binaries::binaries;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn with_fleet() -> Self {
        let desk = Self::new();
        assert!(desk.run(&["init"]).status.success());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&binaries().lariat);
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env_clear().env("LARIAT_HOME", self.path("home"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The one line of a command that must fail with lariat's own exit code.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text.trim_end().replace(self.directory.path().to_str().unwrap(), "DESK")
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Checks that every file and directory at and below `path` is private.
fn assert_private(path: &Path) {
    let metadata = path.symlink_metadata().unwrap();
    let mode = if metadata.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(metadata.mode() & 0o7777, mode, "{}", path.display());
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_made_is_private_whatever_the_umask() {
    let desk = Desk::new();
    let lariat = binaries().lariat.to_str().unwrap();
    let script = format!("umask 0; {lariat} init && {lariat} enroll web1 --address 10.0.0.1");
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(desk.directory.path())
        .env("LARIAT_HOME", desk.path("home"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_private(&desk.path("home"));
    assert_private(&desk.path("web1.lariat"));
    assert_eq!(
        desk.names("web1.lariat"),
        ["agent.toml", "ca.pem", "host.key", "host.pem", "keyring.toml"]
    );
}

#[test]
fn init_twice_and_enroll_twice_are_refused_and_change_nothing() {
    let desk = Desk::with_fleet();
    assert!(desk.run(&["enroll", "web1", "--address", "10.0.0.1"]).status.success());
    let read = |name: &str| fs::read(desk.path(name)).unwrap();
    let before = (read("home/ca.key"), read("home/hosts.toml"), read("web1.lariat/host.key"));
    insta::assert_snapshot!(desk.refused(&["init"]), @"lariat: init: DESK/home holds a fleet of 1 host(s) already; nothing was changed; try: lariat enroll HOST --address ADDR, or lariat --home DIR init for another fleet");
    insta::assert_snapshot!(desk.refused(&["enroll", "web1", "--address", "10.0.0.2"]), @"lariat: enroll web1: it is enrolled already, at 10.0.0.1:7433; nothing was changed; lariat renew web1 gives it a new certificate, lariat enroll web1 --ssh ADDR repairs it, and lariat forget web1 removes it from the fleet");
    let out = ["enroll", "web2", "--address", "10.0.0.2", "--out", "web1.lariat"];
    insta::assert_snapshot!(desk.refused(&out), @"lariat: enroll web2: web1.lariat exists and is not empty; nothing was changed; try: mv web1.lariat web1.lariat.old, or --out with a new directory");
    insta::assert_snapshot!(desk.refused(&["hosts", "web2"]), @"lariat: no host web2 in this fleet (did you mean web1?); try: lariat hosts");
    let after = (read("home/ca.key"), read("home/hosts.toml"), read("web1.lariat/host.key"));
    assert!(before == after);
    assert_eq!(desk.names("."), ["home", "web1.lariat"]);
}

#[test]
fn a_forgotten_host_can_be_enrolled_anew() {
    let desk = Desk::with_fleet();
    let enroll = |out| desk.run(&["enroll", "web1", "--address", "10.0.0.1", "--out", out]);
    let line = |name: &str| {
        let text = fs::read_to_string(desk.path(name)).unwrap();
        text.lines().find(|line| line.starts_with("enrolment")).unwrap().to_owned()
    };
    assert!(enroll("first").status.success());
    assert!(desk.run(&["forget", "web1"]).status.success());
    insta::assert_snapshot!(desk.refused(&["forget", "web1"]), @"lariat: forget web1: no host web1 in this fleet; try: lariat hosts");
    assert!(enroll("second").status.success());
    assert_ne!(line("first/agent.toml"), line("second/agent.toml"));
    assert_eq!(line("home/hosts.toml"), line("second/agent.toml"));
}

#[test]
fn twenty_enrolments_at_once_are_all_in_the_inventory() {
    let desk = Desk::with_fleet();
    let started: Vec<_> = (1..=20)
        .map(|n| {
            let (name, address) = (format!("web{n}"), format!("10.0.0.{n}"));
            let mut command = desk.command(&["enroll", &name, "--address", &address]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let hosts = desk.run(&["hosts", "--json"]).stdout;
    assert_eq!(String::from_utf8(hosts).unwrap().lines().count(), 20);
}

#[test]
fn what_others_can_read_is_refused() {
    let desk = Desk::with_fleet();
    chmod(&desk.path("home/ca.key"), 0o644);
    let enroll = ["enroll", "web1", "--address", "10.0.0.1"];
    insta::assert_snapshot!(desk.refused(&enroll), @"lariat: enroll web1: DESK/home/ca.key is open to others (mode 0644), and must be its owner's alone; try: chmod 600 DESK/home/ca.key");
    chmod(&desk.path("home/ca.key"), 0o600);
    chmod(&desk.path("home"), 0o750);
    insta::assert_snapshot!(desk.refused(&["hosts"]), @"lariat: DESK/home is open to others (mode 0750), and must be its owner's alone; try: chmod 700 DESK/home");
    assert_eq!(desk.names("."), ["home"]);
}

#[test]
fn init_takes_over_an_empty_directory_and_not_one_that_is_open_and_in_use() {
    let desk = Desk::new();
    fs::create_dir(desk.path("home")).unwrap();
    chmod(&desk.path("home"), 0o777);
    fs::write(desk.path("home/notes"), "mine").unwrap();
    insta::assert_snapshot!(desk.refused(&["init"]), @"lariat: init: DESK/home is open to others (mode 0777), and must be its owner's alone; try: chmod 700 DESK/home");
    fs::remove_file(desk.path("home/notes")).unwrap();
    assert!(desk.run(&["init"]).status.success());
    assert_private(&desk.path("home"));
}

#[test]
fn a_closed_stdout_is_no_panic_and_a_full_one_is_told() {
    let desk = Desk::with_fleet();
    for arguments in [&["completions", "bash"][..], &["--help"], &["hosts", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = desk.command(arguments).stdout(writer).output().unwrap();
        assert!(output.stderr.is_empty() && output.status.code().is_some(), "{output:?}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk.command(&["--help"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk.command(&["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert_eq!(output.stderr, b"lariat: write to stdout: no space left on device\n");
}

/// The JSON object of a host that can't even be asked.
#[test]
fn with_json_the_object_tells_the_error_and_nothing_else_does() {
    let desk = Desk::with_fleet();
    assert!(desk.run(&["enroll", "web1", "--address", "127.0.0.1:1"]).status.success());
    let objects = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let output = desk.run(arguments);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let verbs = |host: &str| {
        let there = format!("{host}:/x");
        [
            objects(&["ping", "--json", host]),
            objects(&["run", "--json", host, "--", "true"]),
            objects(&["push", "--json", "home/hosts.toml", &there]),
            objects(&["pull", "--json", &there, "x"]),
        ]
    };
    for (host, why) in [("web2", "no host web2 in this fleet"), ("web1", "connection refused")] {
        for told in verbs(host) {
            assert_eq!((told.len(), &told[0]["host"]), (1, &host.into()));
            assert_eq!(told[0]["ok"], false);
            assert!(told[0]["error"].as_str().unwrap().contains(why), "{told:?}");
        }
    }
    // With several hosts, a mistake is reported before any host is asked.
    let refused = desk.refused(&["pull", "--json", "web1:/x", "web2:/x", "there"]);
    assert!(refused.contains("no host web2 in this fleet"), "{refused}");
    assert!(!desk.path("there").exists());
    fs::remove_dir_all(desk.path("home")).unwrap();
    for told in verbs("web1") {
        assert!(told[0]["error"].as_str().unwrap().contains("no fleet in"), "{told:?}");
    }
}

#[test]
fn wrong_usage_and_no_fleet_are_one_line_and_255() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.refused(&["hosts"]), @"lariat: no fleet in DESK/home; try: lariat init");
    insta::assert_snapshot!(desk.refused(&["enroll", "all", "--address", "10.0.0.1"]), @r#"lariat: HOST: "all" stands for every host and can't name one; try: lariat enroll --help"#);
    insta::assert_snapshot!(desk.refused(&["hosts", "web[01-20"]), @r#"lariat: TARGET: "web[01-20", position 4: its ']' is missing; try: lariat hosts --help"#);
    assert!(desk.names(".").is_empty());
}

#[test]
fn hosts_of_an_ssh_configuration_come_in_and_are_enrolled_from_there() {
    let desk = Desk::with_fleet();
    fs::write(
        desk.path("config"),
        "Host Web1 web[1]\n  HostName 10.0.0.1\nHost *\n  User me\nHost db\n",
    )
    .unwrap();
    let import = || desk.run(&["hosts", "import", "config", "--tag", "office"]);
    let output = import();
    assert!(output.status.success(), "{output:?}");
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
    Web1 becomes web1: a name has no capitals
    web[1] is left out: "web[1]" is not a host name (1 to 63 of a-z, 0-9, '.' and '-', beginning and ending with a letter or digit)
    "#);
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @"Added db,web1. Next, for each of them: lariat enroll web1");
    insta::assert_snapshot!(desk.refused(&["ping", "web1"]), @"lariat: ping: web1 is not enrolled yet; try: lariat enroll web1");
    assert!(desk.run(&["enroll", "web1", "--tag", "berlin"]).status.success());
    let listed = desk.run(&["hosts"]);
    insta::assert_snapshot!(String::from_utf8(listed.stdout).unwrap(), @r"
    HOST  ADDRESS        TAGS
    db    db:7433        office  (not enrolled)
    web1  10.0.0.1:7433  office,berlin
    ");
    assert!(String::from_utf8(import().stderr).unwrap().ends_with("no new host\n"));
    insta::assert_snapshot!(desk.refused(&["enroll", "mail"]), @"lariat: enroll mail: it is not in the inventory, so it needs an address; try: lariat enroll mail --address ADDR");
}
