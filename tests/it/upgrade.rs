//! An agent is replaced by another version, and comes back where nobody can log in to that one.
//!
//! These agents have no systemd: tests/systemd has the same with one. Where nothing else starts them again, their guard
//! does.

mod under_way;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lariat_testing::agent::{Agent, anywhere};
use lariat_testing::binaries::binaries;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const OWN: &str = env!("CARGO_PKG_VERSION");

/// The version of new agents. It has the length of the real one, which it replaces in the program's file.
const NEW: &str = "9.9.9";

/// A host whose agent has a program of its own.
struct World {
    fleet: TestFleet,
    agent: Option<Agent>,
    address: SocketAddr,
    directory: PathBuf,
}

impl World {
    /// `confirm` is how long a new agent has; `manager` is a shell's loop that starts the agent, if there is one.
    fn new(confirm: &str, has_manager: bool) -> Self {
        let fleet = TestFleet::new();
        fleet.enroll("web1", "127.0.0.1:1");
        let directory = fleet.path("bin");
        fs::create_dir(&directory).unwrap();
        let program = directory.join("lariatd");
        let own = &binaries().lariatd;
        fs::hard_link(own, &program).or_else(|_| fs::copy(own, &program).map(drop)).unwrap();
        let config = fleet.bundle("web1").join("agent.toml");
        let settings = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{settings}\n[upgrade]\nconfirm = \"{confirm}\"\n")).unwrap();
        // One that is started again needs the same port.
        let address = std::net::TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
        let mut command = Command::new(&program);
        if has_manager {
            command = Command::new("/bin/sh");
            command.args(["-c", "while :; do \"$@\"; sleep 0.1; done", "sh"]).arg(&program);
        }
        // The path of its configuration begins in its directory.
        command.current_dir(fleet.bundle("web1")).args(["--config", "agent.toml"]);
        command.arg("--listen").arg(address.to_string());
        command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        let agent = Agent::spawn(command, config);
        fleet.set_address("web1", address);
        Self { fleet, agent: Some(agent), address, directory }
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn program(&self) -> PathBuf {
        self.directory.join("lariatd")
    }

    /// Writes a script that says that it is a newer agent, and does this when it is started as one.
    fn script(&self, served: &str) -> PathBuf {
        self.script_of(NEW, "exit 0", served)
    }

    fn script_of(&self, version: &str, check: &str, served: &str) -> PathBuf {
        let path = self.fleet.path("new");
        let script = format!(
            "#!/bin/sh\ncase $1 in\n--version) echo lariatd {version}; exit ;;\ncheck) {check} ;;\nesac\n{served}\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn upgrade(&self, file: &Path, options: &[&str]) -> Command {
        let mut command = self.fleet.lariat();
        command.args(["upgrade", "web1", "--file"]).arg(file).args(options);
        command
    }

    fn upgraded(&self, file: &Path, options: &[&str]) -> Output {
        self.upgrade(file, options).output().unwrap()
    }

    /// Upgrades to a program that the host does not keep, and returns the reason.
    fn keeps_its_agent(&self, file: &Path) -> String {
        let output = self.upgraded(file, &["--json"]);
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{object}");
        assert_eq!((&object["ok"], &object["kind"]), (&false.into(), &"failed".into()), "{object}");
        assert_eq!((&object["before"], &object["after"]), (&OWN.into(), &OWN.into()), "{object}");
        self.is_old();
        object["error"].as_str().unwrap().to_owned()
    }

    /// Asserts that the old agent answers, from the old file, and that nothing of the new one is left.
    fn is_old(&self) {
        self.fleet.ok(["ping", "web1"]);
        let mut names: Vec<_> = fs::read_dir(&self.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["lariatd"]);
        let len = |path: &Path| path.metadata().unwrap().len();
        assert_eq!(len(&self.program()), len(&binaries().lariatd));
    }

    fn phase(&self) -> Option<String> {
        let text = fs::read_to_string(self.agent().state().join("upgrade.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["phase"].to_string())
    }

    fn audit(&self) -> String {
        self.fleet.ok(["audit", "show", "web1", "--json"])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let pid = self.agent().state().join("agent.pid");
        // First what would start another.
        drop(self.agent.take());
        let pid = fs::read_to_string(pid).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The agent's own program, which says that it is of another version.
fn patched(directory: &Path) -> PathBuf {
    let path = directory.join("patched");
    let edit = format!("s/{}/{NEW}/g", OWN.replace('.', "\\."));
    let mut sed = Command::new("sed");
    sed.env("LC_ALL", "C").arg(edit).arg(&binaries().lariatd);
    let status = sed.stdout(fs::File::create(&path).unwrap()).status().unwrap();
    assert!(status.success() && OWN.len() == NEW.len());
    path
}

#[test]
fn another_version_takes_the_agents_place_and_commands_go_on() {
    let world = World::new("20s", false);
    let (fleet, new) = (&world.fleet, patched(&world.fleet.path("")));
    let pid = world.agent().pid();
    let fifo = fleet.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--"]).arg(format!("echo one; cat {}", fifo.display()));
    let run = run.stdout(Stdio::piped()).spawn().unwrap();
    let job = wait::until("the command", || {
        let jobs: Value = serde_json::from_str(&fleet.ok(["jobs", "web1", "--json"])).ok()?;
        jobs["job"].as_str().map(ToOwned::to_owned)
    });

    let output = world.upgraded(&new, &[]);
    let told = text(&output.stdout);
    assert_eq!(told, format!("web1: upgraded, {OWN} -> {NEW}\n"), "{}", text(&output.stderr));
    assert!(output.status.success());
    let old = world.directory.join("lariatd.old");
    assert_eq!(old.metadata().unwrap().len(), binaries().lariatd.metadata().unwrap().len());
    assert!(!world.directory.join("lariatd.lariat-upgrade").exists());
    let version = Command::new(world.program()).arg("--version").output().unwrap();
    assert_eq!(text(&version.stdout), format!("lariatd {NEW}\n"));
    assert_eq!(world.agent().pid(), pid);

    assert!(fleet.ok(["jobs", "web1"]).contains(&job[..8]));
    fs::write(&fifo, "two\n").unwrap();
    let ended = run.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(0), "one\ntwo\n"));

    let again = world.upgraded(&new, &[]);
    assert_eq!(text(&again.stdout), format!("web1: unchanged, {NEW}\n"));
    let older = world.upgraded(&binaries().lariatd, &[]);
    assert_eq!(older.status.code(), Some(1));
    let why = format!("its version, {OWN}, is older than {NEW}; try: --downgrade");
    assert!(text(&older.stderr).contains(&why), "{}", text(&older.stderr));
    let back = world.upgraded(&binaries().lariatd, &["--downgrade", "--json"]);
    let object: Value = serde_json::from_slice(&back.stdout).unwrap();
    assert_eq!(object["changed"], true, "{object}");
    assert_eq!((&object["before"], &object["after"]), (&NEW.into(), &OWN.into()));

    let audit = world.audit();
    for part in ["\"request\":\"upgrade\"", "\"event\":\"upgraded\"", "\"request\":\"send agent\""]
    {
        assert!(audit.contains(part), "{audit}");
    }
    fleet.ok(["audit", "verify", "web1"]);
}

#[test]
fn what_the_checks_refuse_is_told_and_nothing_is_replaced() {
    let world = World::new("20s", false);
    let pid = fs::read_to_string(world.agent().state().join("agent.pid")).unwrap();
    for (version, check, why) in [
        ("0.0.1", "exit 0", "its version, 0.0.1, is older than"),
        (NEW, "echo lariatd: it is broken >&2; exit 78", "failed (exit status: 78): it is broken"),
        ("one", "exit 0", "is not lariatd: its --version says"),
    ] {
        let told = world.keeps_its_agent(&world.script_of(version, check, "exit 1"));
        assert!(told.contains(why) && told.contains("web1"), "{told}");
    }
    let told = world.keeps_its_agent(&world.script_of(OWN, "exit 0", "exit 1"));
    assert!(told.contains(&format!("another build of {OWN} runs there")), "{told}");
    world.is_old();
    let still = fs::read_to_string(world.agent().state().join("agent.pid")).unwrap();
    assert_eq!(still, pid, "the agent was not restarted");

    world.fleet.set_rules("web1", "verbs = [\"push\", \"run\"]\n");
    world.agent().signal(Signal::HUP);
    world.agent().wait_for("were read anew");
    let error = world.fleet.fails(255, ["upgrade", "web1"]);
    assert!(error.contains("not permitted to upgrade the agent"), "{error}");
}

#[test]
fn a_new_agent_that_ends_is_undone_and_its_guard_starts_the_old_one() {
    let world = World::new("3s", false);
    let told = world.keeps_its_agent(&world.script("exit 3"));
    assert!(
        told.contains(&format!("{OWN} is back: the new agent, {NEW}, ended within 0.")),
        "{told}"
    );
    let audit = world.audit();
    let undone = audit.lines().find(|line| line.contains("\"event\":\"upgrade undone\"")).unwrap();
    assert!(undone.contains(&format!("\"to\":\"{NEW}\",\"error\":\"the new agent")), "{undone}");
    // Another attempt is no other.
    let told = world.keeps_its_agent(&world.script("kill -9 $$"));
    assert!(told.contains("ended within 0."), "{told}");
}

#[test]
fn a_new_agent_that_hangs_is_undone_also_where_something_else_starts_the_agent() {
    for (has_manager, hang) in [(false, "exec sleep 600"), (true, "trap '' TERM; sleep 600 & wait")]
    {
        let world = World::new("1s", has_manager);
        let told = world.keeps_its_agent(&world.script(hang));
        let why = format!("{OWN} is back: nobody could log in to the new agent, {NEW}, within 1 s");
        assert!(told.contains(&why), "{told}");
    }
}

#[test]
fn an_agent_that_dies_while_it_checks_is_asked_again() {
    let world = World::new("20s", true);
    let (pid, once) = (world.agent().state().join("agent.pid"), world.fleet.path("once"));
    let kill = format!(
        "[ -e {0} ] || {{ touch {0}; kill -9 $(cat {1}); }}; exit 0",
        once.display(),
        pid.display()
    );
    let serve = format!("exec {} \"$@\"", binaries().lariatd.display());
    let output = world.upgraded(&world.script_of(NEW, &kill, &serve), &[]);
    assert!(output.status.success() && once.exists(), "{}", text(&output.stderr));
    world.fleet.ok(["ping", "web1"]);
}

#[test]
fn without_its_controller_the_new_agent_is_undone() {
    let world = World::new("2s", false);
    let (go, serve) = (world.fleet.path("go"), binaries().lariatd.display());
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done; exec {serve} \"$@\"", go.display());
    let mut controller = world.upgrade(&world.script(&wait), &[]).spawn().unwrap();
    wait::until("the new agent", || world.phase()?.contains("Trial").then_some(()));
    controller.kill().unwrap();
    controller.wait().unwrap();
    fs::write(&go, "").unwrap();
    wait::until("the old agent", || world.phase()?.contains("Restored").then_some(()));
    // The new one may still answer.
    wait::until("the old agent's word", || {
        let audit = world.fleet.run(["audit", "show", "web1", "--json"]);
        text(&audit.stdout).contains("\"event\":\"upgrade undone\"").then_some(())
    });
    world.is_old();
}

#[test]
fn hosts_are_upgraded_in_batches_and_the_first_failure_stops_the_rest() {
    let world = World::new("1s", false);
    // A host that is never reached.
    world.fleet.enroll("web2", "127.0.0.1:1");
    let mut command = world.fleet.lariat();
    command.args(["upgrade", "web1,web2", "--batch", "1", "--max-fail", "0", "--file"]);
    let output = command.arg(world.script("exit 1")).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("1 not started (web2), 1 failed (web1)"), "{told}");
    world.is_old();
}
