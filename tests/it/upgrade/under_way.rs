//! What is under way while an agent is replaced, and a guard that is killed meanwhile.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use lariat_testing::binaries::binaries;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, remote};
use lariat_testing::screen::Screen;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};

use super::{World, patched};

const SIZE: u64 = 16 << 20;

#[test]
fn a_shell_and_a_push_live_through_an_upgrade() {
    let world = World::new("20s", false);
    let fleet = &world.fleet;
    let mut shell = Screen::start(fleet.lariat().args(["shell", "web1"]));
    shell.types("exec sh\r");
    shell.types("PS1=; echo one$((1 + 1))\r");
    shell.sees("one2");
    // The push has begun, and goes on when the agent is another one.
    let slow = Faulty::start(world.address, Fault { rate: Some(512 << 10), ..Fault::default() });
    fleet.set_address("web1", slow.address);
    let (source, directory) = (fleet.path("source"), fleet.path("directory"));
    fs::create_dir(&directory).unwrap();
    random_file(&source, SIZE, 1);
    let dest = directory.join("dest");
    let mut push = fleet.lariat();
    push.arg("push").arg("--json").arg(&source).arg(remote(&dest)).stdout(Stdio::piped());
    let push = push.spawn().unwrap();
    let partial = wait::partial_reaches(&directory, 1 << 20);
    fleet.set_address("web1", world.address);

    let upgraded = world.upgraded(&patched(&fleet.path("")), &[]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert!(partial.exists(), "the push was over before the upgrade");
    slow.set(Fault::default());
    shell.types("echo two$((1 + 1))\r");
    shell.sees("two2");
    let pushed = push.wait_with_output().unwrap();
    let object: serde_json::Value = serde_json::from_slice(&pushed.stdout).unwrap();
    assert!(pushed.status.success() && slow.accepted() >= 2, "{object}");
    assert!(fs::read(&dest).unwrap() == fs::read(&source).unwrap());
    shell.types("exit 3\r");
    assert_eq!(shell.child.wait().unwrap().code(), Some(3));
}

/// The processes that guard the upgrade of the agent in this directory, by the word that says which they are.
fn guards(directory: &Path, word: &str) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let guards = processes.filter_map(|process| {
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let mut words = line.split(|&byte| byte == 0).skip(1);
        let is_guard = words.next()? == b"guard-upgrade" && words.next()? == word.as_bytes();
        let is_here = fs::read_link(process.path().join("cwd")).ok()? == directory;
        (is_guard && is_here).then_some(pid)
    });
    guards.collect()
}

fn kill(pid: Pid) {
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
}

impl World {
    /// Starts an upgrade to this program.
    fn begin(&self, served: &str) -> Child {
        let mut upgrade = self.upgrade(&self.script(served), &["--json"]);
        upgrade.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// A program that waits for `go` before it does this.
    fn waiting(&self, then: &str) -> String {
        let go = self.fleet.path("go");
        format!("while [ ! -e {} ]; do sleep 0.05; done; {then}", go.display())
    }

    /// A program that is the agent's own.
    fn serving(&self) -> String {
        self.waiting(&format!("exec {} \"$@\"", binaries().lariatd.display()))
    }

    fn go(&self) {
        fs::write(self.fleet.path("go"), "").unwrap();
    }

    fn waits_for(&self, phase: &str) {
        wait::until(phase, || self.phase()?.contains(phase).then_some(()));
    }

    /// The guard, as soon as it is there.
    fn guard(&self) -> Pid {
        let directory = self.fleet.bundle("web1");
        wait::until("a guard", || guards(&directory, "stay").pop())
    }

    /// Kills the guard and its keeper.
    fn kill_guard_and_keeper(&self) {
        guards(&self.fleet.bundle("web1"), "keep").into_iter().for_each(kill);
        kill(self.guard());
    }

    /// The end of an upgrade, after which an agent answers: why it has failed.
    fn ended(&self, upgrade: Child) -> Option<String> {
        let output = upgrade.wait_with_output().unwrap();
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        self.fleet.ok(["ping", "web1"]);
        object["error"].as_str().map(ToOwned::to_owned)
    }
}

#[test]
fn a_guard_that_is_killed_at_its_start_has_a_successor() {
    let world = World::new("20s", false);
    let upgrade = world.begin(&world.serving());
    // It may not have written down that it is there, nor have told the agent.
    kill(world.guard());
    world.go();
    assert_eq!(world.ended(upgrade), None);
    world.waits_for("Confirmed");
}

#[test]
fn a_guard_that_is_killed_later_has_a_successor_that_goes_on() {
    for phase in ["Trial", "Restored"] {
        let world = World::new("3s", false);
        let upgrade = world.begin("trap '' TERM; sleep 600 & wait");
        let guard = world.guard();
        world.waits_for(phase);
        kill(guard);
        let why = world.ended(upgrade).unwrap();
        assert!(why.contains("nobody could log in to the new agent"), "{phase}: {why}");
    }
}

#[test]
fn without_a_guard_the_new_agent_answers_or_who_starts_agents_starts_the_old_one() {
    for (served, has_manager) in [(None, false), (Some("exit 1"), true)] {
        let world = World::new("20s", has_manager);
        let served = served.map_or_else(|| world.serving(), |then| world.waiting(then));
        let upgrade = world.begin(&served);
        world.waits_for("Trial");
        world.kill_guard_and_keeper();
        world.go();
        let why = world.ended(upgrade);
        assert_eq!(why.is_some(), has_manager, "{why:?}");
        assert!(why.is_none_or(|why| why.contains(", ended within ")), "{has_manager}");
    }
}
