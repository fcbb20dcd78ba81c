//! A file over several connections: shared, cut, killed, refused.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{assert_same, random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;

const MIB: u64 = 1 << 20;

/// A link on which one connection alone takes seconds.
fn slow() -> Fault {
    let (delay, rate) = (Duration::from_millis(5), Some(6 * MIB));
    Fault { delay, rate, ..Fault::default() }
}

struct World {
    fleet: TestFleet,
    agent: Agent,
    faulty: Faulty,
    source: PathBuf,
    copy: PathBuf,
}

impl World {
    fn new(agent: impl FnOnce(&TestFleet) -> Agent) -> Self {
        let fleet = TestFleet::new();
        let agent = agent(&fleet);
        let faulty = Faulty::start(agent.address, slow());
        fleet.set_address("web1", faulty.address);
        let (source, copy) = (fleet.path("source"), fleet.path("copy"));
        random_file(&source, 24 * MIB + 77, 5);
        Self { fleet, agent, faulty, source, copy }
    }

    fn start(&self, verb: &str, streams: &str) -> Child {
        let paths = match verb {
            "push" => [text(&self.source), remote(&self.copy)],
            _ => [remote(&self.source), text(&self.copy)],
        };
        let mut command = self.fleet.lariat();
        command.arg(verb).args(paths).args(["--json", "--streams", streams]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until this many connections were made and so many bytes have passed.
    fn passed(&self, connections: u64, bytes: u64) {
        let faulty = &self.faulty;
        let there = || {
            let passed = faulty.bytes_up() + faulty.bytes_down();
            (faulty.accepted() >= connections && passed >= bytes).then_some(())
        };
        wait::until("the transfer to get on", there);
    }

    /// Checks that the transfer succeeded and the copy is exact, and returns the controller's object.
    fn finished(&self, output: &Output) -> serde_json::Value {
        let errors = String::from_utf8_lossy(&output.stderr);
        let log = || self.agent.log().join("\n");
        assert!(output.status.success(), "{errors}\n{}", log());
        assert_same(&self.source, &self.copy);
        let directory = |path: &Path| std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(directory(&self.copy), 2, "no partial is left");
        std::fs::remove_file(&self.copy).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn four_connections_carry_one_file_both_ways() {
    let world = World::new(|fleet| fleet.agent("web1"));
    for (number, verb) in (1..).zip(["push", "pull"]) {
        let told = world.finished(&world.start(verb, "4").wait_with_output().unwrap());
        assert_eq!((&told["streams"], &told["ok"]), (&4.into(), &true.into()), "{told}");
        assert_eq!(told["sent"], 24 * MIB + 77, "nothing was sent twice");
        assert_eq!(world.faulty.accepted(), 4 * number);
        let lane = format!("{verb} lane of ");
        let begun = || world.agent.log().iter().filter(|line| line.contains(&lane)).count();
        wait::until("three lanes in the log", || (begun() >= 3).then_some(()));
    }
}

#[test]
fn one_of_four_may_break_again_and_again() {
    for verb in ["push", "pull"] {
        let world = World::new(|fleet| fleet.agent("web1"));
        let mut child = world.start(verb, "4");
        world.passed(4, 2 * MIB);
        while child.try_wait().unwrap().is_none() {
            world.faulty.cut_newest();
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let told = world.finished(&child.wait_with_output().unwrap());
        assert!(world.faulty.accepted() > 6, "{}", world.faulty.accepted());
        // The first connection was never cut, so it is all one attempt.
        let log = world.agent.log();
        let begun = format!("{verb} {}", world.copy.display());
        let begun =
            if verb == "push" { begun } else { format!("{verb} {}", world.source.display()) };
        let begun = log.iter().filter(|line| line.ends_with(&begun)).count();
        assert_eq!((begun, &told["ok"]), (1, &true.into()), "{}", log.join("\n"));
    }
}

#[test]
fn when_the_first_breaks_the_next_attempt_has_what_all_have_brought() {
    for verb in ["push", "pull"] {
        let world = World::new(|fleet| fleet.agent("web1"));
        let child = world.start(verb, "4");
        world.passed(4, 12 * MIB);
        world.faulty.cut_oldest();
        let told = world.finished(&child.wait_with_output().unwrap());
        // The lanes kept their connections.
        assert_eq!((world.faulty.accepted(), &told["streams"]), (5, &4.into()), "{told}");
        let sent = told["sent"].as_u64().unwrap();
        assert!(sent < 32 * MIB, "{told}");
    }
}

#[test]
fn all_break_at_once_and_an_agent_that_is_killed_comes_back() {
    for verb in ["push", "pull"] {
        let mut world = World::new(|fleet| fleet.agent("web1"));
        let child = world.start(verb, "4");
        world.passed(4, 8 * MIB);
        world.faulty.cut();
        world.passed(8, 14 * MIB);
        world.agent.kill_and_restart();
        let told = world.finished(&child.wait_with_output().unwrap());
        assert!(told["sent"].as_u64().unwrap() < 40 * MIB, "{told}");
    }
}

#[test]
fn a_key_has_no_more_connections_than_it_may_have() {
    let world = World::new(|fleet| {
        fleet.enroll("web1", "127.0.0.1:1");
        let keyring = fleet.bundle("web1").join("keyring.toml");
        let text = std::fs::read_to_string(&keyring).unwrap();
        std::fs::write(&keyring, format!("{text}max_sessions = 2\n")).unwrap();
        let agent = fleet.start("web1");
        fleet.set_address("web1", agent.address);
        agent
    });
    for (number, verb) in (1..).zip(["push", "pull"]) {
        let told = world.finished(&world.start(verb, "8").wait_with_output().unwrap());
        assert_eq!((&told["streams"], world.faulty.accepted()), (&2.into(), 2 * number), "{told}");
    }
}

#[test]
fn as_another_user_there_is_one_connection() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new(|fleet| fleet.agent("web1"));
    let directory = world.fleet.path("theirs");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(65_534), Some(65_534)).unwrap();
    let searchable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(directory.parent().unwrap().parent().unwrap(), searchable).unwrap();
    let (source, copy) = (text(&world.source), directory.join("copy"));
    let arguments = ["push", &source, &remote(&copy), "--streams", "3", "-u", "nobody", "--json"];
    let told: serde_json::Value = serde_json::from_str(&world.fleet.ok(arguments)).unwrap();
    assert_eq!(told["streams"], 1, "{told}");
    assert_same(&world.source, &copy);
    world.agent.wait_for("this key has no transfer under way here");
}

#[test]
fn the_rate_is_that_of_all_connections_together() {
    let world = World::new(|fleet| fleet.agent("web1"));
    random_file(&world.source, 8 * MIB, 6);
    for verb in ["push", "pull"] {
        let mut command = world.fleet.lariat();
        command.arg(verb).args(match verb {
            "push" => [text(&world.source), remote(&world.copy)],
            _ => [remote(&world.source), text(&world.copy)],
        });
        command.args(["--json", "--streams", "4", "--bwlimit", "4M"]);
        let told = world.finished(&command.output().unwrap());
        assert!(told["seconds"].as_f64().unwrap() > 1.3, "{told}");
    }
}

#[test]
fn numbers_from_one_to_eight() {
    let world = World::new(|fleet| fleet.agent("web1"));
    for bad in ["0", "9", "many"] {
        let error = String::from_utf8(world.start("push", bad).wait_with_output().unwrap().stderr);
        let error = error.unwrap();
        assert!(error.contains("is neither auto nor a number from 1 to 8"), "{error}");
    }
    for (streams, accepted) in [("1", 1), ("auto", 2)] {
        let told = world.finished(&world.start("push", streams).wait_with_output().unwrap());
        assert_eq!((&told["streams"], world.faulty.accepted()), (&1.into(), accepted), "{told}");
    }
}
