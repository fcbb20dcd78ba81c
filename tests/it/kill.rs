//! The receiver is killed with SIGKILL anywhere in a transfer that replaces a file: the destination then has
//! the old file or the complete new one, and nothing is left in the end.
//!
//! `LARIAT_ROUNDS` sets the number of rounds, `LARIAT_SEED` repeats a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{names, random_file};
use lariat_testing::fleet::TestFleet;
use lariat_testing::rng::{Rng, number};
use lariat_testing::wait::PATIENCE;

/// Default number of rounds.
const ROUNDS: u64 = 200;

/// Bytes of the file, which is not a whole number of chunks.
const SIZE: u64 = (4 << 20) + 12_345;

/// How long after the last byte the receiver may still be about to rename the file.
const COMMIT: Duration = Duration::from_millis(8);

struct Rounds {
    fleet: TestFleet,
    agent: Agent,
    faulty: Faulty,
    source: PathBuf,
    /// The destinations of pushes and of pulls.
    dests: [PathBuf; 2],
    /// Bytes that pass, in both directions together, for a fresh file and for an update.
    totals: [u64; 2],
    rng: Rng,
    /// How many rounds ended with the old file, with the new one, and with a partial to continue.
    ended: [u32; 3],
}

/// The parameters of a round.
#[derive(Clone, Copy, Debug)]
struct Round {
    pull: bool,
    /// The new file is the old one with a few changes.
    update: bool,
    /// The source is that of the previous round, so that its partial is continued.
    again: bool,
    /// The receiver is killed `late` after this many bytes have passed, in both directions together.
    after: u64,
    late: Duration,
}

impl Rounds {
    fn new() -> Self {
        let (fleet, agent) = TestFleet::with_agent();
        let faulty = Faulty::start(agent.address, Fault::default());
        fleet.set_address("web1", faulty.address);
        let dests = ["pushed", "pulled"].map(|name| {
            let directory = fleet.path(name);
            std::fs::create_dir(&directory).unwrap();
            random_file(&directory.join("file"), SIZE, 1);
            directory.join("file")
        });
        let source = fleet.path("source");
        random_file(&source, SIZE, 2);
        let (totals, rng) = ([0; 2], Rng::new());
        let mut rounds = Self { fleet, agent, faulty, source, dests, totals, rng, ended: [0; 3] };
        rounds.totals = [false, true].map(|update| rounds.total(update));
        rounds
    }

    /// How many bytes pass without a kill.
    fn total(&mut self, update: bool) -> u64 {
        let passed = |faulty: &Faulty| faulty.bytes_up() + faulty.bytes_down();
        let before = passed(&self.faulty);
        let dest = self.dests[0].clone();
        self.make_source(update, &dest);
        assert!(self.start(false).wait().unwrap().success());
        passed(&self.faulty) - before
    }

    fn throw(&mut self) -> Round {
        let rng = &mut self.rng;
        let (pull, update, again) = (rng.one_in(2), rng.one_in(2), rng.one_in(2));
        let total = self.totals[usize::from(update)];
        // Near the end few bytes pass and much is done, so there the time is random instead.
        let end = rng.one_in(3);
        let after = if end { total - total / 50 } else { rng.below(total) };
        let late = rng.below(if end { COMMIT.as_micros().try_into().unwrap() } else { 200 });
        Round { pull, update, again, after, late: Duration::from_micros(late) }
    }

    fn make_source(&mut self, update: bool, dest: &Path) {
        if update {
            let mut bytes = std::fs::read(dest).unwrap();
            for _ in 0..4 {
                let at = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap();
                bytes.insert(at, self.rng.below(256).to_le_bytes()[0]);
            }
            std::fs::write(&self.source, bytes).unwrap();
        } else {
            random_file(&self.source, SIZE, self.rng.below(u64::MAX));
        }
    }

    fn start(&self, pull: bool) -> Child {
        let mut command = self.fleet.lariat();
        let [pushed, pulled] = &self.dests;
        if pull {
            command.arg("pull").arg(format!("web1:{}", self.source.display())).arg(pulled);
        } else {
            command.arg("push").arg(&self.source).arg(format!("web1:{}", pushed.display()));
        }
        command.args(["--reconnect", "0"]).stderr(Stdio::null()).spawn().unwrap()
    }

    fn play(&mut self, number: u64) {
        let round = self.throw();
        let dest = self.dests[usize::from(round.pull)].clone();
        if !round.again {
            self.make_source(round.update, &dest);
        }
        let (old, new) = (std::fs::read(&dest).unwrap(), std::fs::read(&self.source).unwrap());
        let passed = self.faulty.after(round.after);
        let mut child = self.start(round.pull);
        let began = Instant::now();
        // The command ends by itself if fewer bytes pass.
        while passed.recv_timeout(Duration::from_millis(1)).is_err() {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {round:?}");
        }
        let when = Instant::now() + round.late;
        while Instant::now() < when {
            std::hint::spin_loop();
        }
        if round.pull {
            child.kill().unwrap();
        } else {
            self.agent.kill_and_restart();
        }
        child.wait().unwrap();
        let is = std::fs::read(&dest).unwrap();
        let told = || format!("round {number}, LARIAT_SEED={}: {round:?}", self.rng.seed());
        assert!(is == old || is == new, "neither the old nor the new file: {}", told());
        let left = names(dest.parent().unwrap()).len() > 1;
        self.ended[if left { 2 } else { usize::from(is == new) }] += 1;
    }

    /// Without a kill the transfer succeeds, and nothing is left.
    fn finish(&self) {
        for (pull, dest) in [false, true].into_iter().zip(&self.dests) {
            assert!(self.start(pull).wait().unwrap().success());
            assert!(std::fs::read(dest).unwrap() == std::fs::read(&self.source).unwrap());
            assert_eq!(names(dest.parent().unwrap()), ["file"], "{}", self.rng.seed());
        }
        let log = self.agent.log().join("\n");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_receiver_killed_anywhere_leaves_the_old_file_or_the_new_one() {
    let mut rounds = Rounds::new();
    (0..number("LARIAT_ROUNDS").unwrap_or(ROUNDS)).for_each(|number| rounds.play(number));
    rounds.finish();
    let [old, new, partial] = rounds.ended;
    // Kills that all hit the same place would prove little.
    assert!(old + partial > 0 && new > 0 && partial > 0, "{:?}", rounds.ended);
}
