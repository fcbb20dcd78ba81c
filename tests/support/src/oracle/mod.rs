//! Random trees, copied by lariat and by rsync: both copies must be equal.
//!
//! A round is made from one seed: a source, what is in the destination already, options that both tools have,
//! and disturbances that only lariat gets (a kill of either end, a cut, an orderly end). Its last attempt is
//! not disturbed. Then the two copies are compared, no temporary file may be left, and a further attempt must
//! find nothing to do.

mod disturb;
mod generate;
mod options;
mod snapshot;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::agent::Agent;
use crate::faulty::{Fault, Faulty};
use crate::fleet::TestFleet;
use crate::rng::Rng;
use disturb::Disturbance;
use options::Options;
use snapshot::Snapshot;

/// Both ends of the rounds: a fleet of one host, behind a network that can be cut.
pub struct Oracle {
    fleet: TestFleet,
    agent: Agent,
    proxy: Faulty,
}

/// Whether rsync is installed and the tests run as root, whose copies preserve everything.
pub fn is_possible() -> bool {
    let rsync = Command::new("rsync").arg("--version").stdout(Stdio::null()).status();
    rsync.is_ok_and(|status| status.success()) && rustix::process::geteuid().is_root()
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

impl Oracle {
    /// Starts an agent.
    pub fn new() -> Self {
        let (fleet, agent) = TestFleet::with_agent();
        let proxy = Faulty::start(agent.address, Fault::default());
        fleet.set_address("web1", proxy.address);
        Self { fleet, agent, proxy }
    }

    /// Runs the round of this seed.
    ///
    /// # Errors
    /// Reports the differences, and how to inspect the round: its directory stays.
    ///
    /// # Panics
    /// If the round can't be set up.
    pub fn round(&mut self, seed: u64) -> Result<(), String> {
        let mut rng = Rng::from_seed(seed);
        let options = Options::choose(&mut rng);
        let directory = self.fleet.path(format!("round-{seed}"));
        std::fs::create_dir(&directory).expect("a directory for the round");
        generate::source(&mut rng, &options, &directory.join("src"));
        let (mine, theirs) = (directory.join("mine"), directory.join("theirs"));
        if generate::destination(&mut rng, &options, &directory.join("src"), &mine) {
            copy(&mine, &theirs);
        }
        let disturbances = Disturbance::choose(&mut rng);
        let told = format!("seed {seed}: {options}, {disturbances:?}, in {}", directory.display());
        let outcome = self.play(&options, &disturbances, &directory);
        outcome.map_err(|why| format!("{told}\n{why}"))?;
        std::fs::remove_dir_all(&directory).expect("the round's directory can go");
        Ok(())
    }

    /// Keeps the directories of failed rounds.
    pub fn keep(self) {
        std::mem::forget(self.fleet);
    }

    fn play(
        &mut self,
        options: &Options,
        disturbances: &[Disturbance],
        directory: &Path,
    ) -> Result<(), String> {
        let [source, mine, theirs] = ["src", "mine", "theirs"].map(|name| directory.join(name));
        for disturbance in disturbances {
            let lariat = options.lariat(self.fleet.lariat(), &source, &mine);
            disturbance.play(lariat, &mut self.agent, &self.proxy);
        }
        let first = run(options.lariat(self.fleet.lariat(), &source, &mine));
        let other = run(options.rsync(&source, &theirs));
        let [made, wanted] = [&mine, &theirs].map(|root| Snapshot::take(root, options.links));
        let first = match (first, other) {
            (Ok(first), Ok(_)) => first,
            // A directory that holds what is excluded can't give way to a file: all else is as with rsync.
            (Err(why), Err(_)) => {
                return made.compare(&wanted).map_err(|odd| format!("{odd}\n{why}"));
            }
            (Err(why), Ok(_)) => return Err(format!("rsync can: {why}")),
            (Ok(first), Err(why)) => {
                return Err(format!("rsync can't: {why}\nlariat said: {first}"));
            }
        };
        made.compare(&wanted).map_err(|why| format!("{why}\nlariat said: {first}"))?;
        let mut again = options.lariat(self.fleet.lariat(), &source, &mine);
        again.arg("--json");
        let second = run(again)?;
        let told: serde_json::Value =
            serde_json::from_str(&second).map_err(|error| format!("{error}: {second}"))?;
        if told["sent"] != 0 || told.get("changed").is_some_and(|changed| *changed != 0) {
            return Err(format!("a second run found something to do: {told}"));
        }
        Snapshot::take(&mine, options.links)
            .compare(&wanted)
            .map_err(|why| format!("after a second run: {why}"))
    }
}

/// Copies a tree with everything that rsync can preserve.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("rsync").arg("-aHAX").arg(slashed(from)).arg(to).status();
    assert!(status.expect("rsync can be run").success(), "a copy of {}", from.display());
}

/// A path with a `/` at its end, which stands for the directory's contents.
fn slashed(path: &Path) -> std::ffi::OsString {
    let mut path = path.as_os_str().to_owned();
    path.push("/");
    path
}

/// Runs a command that must succeed, and returns its output.
fn run(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if output.status.success() {
        return Ok(if stdout.is_empty() { stderr } else { stdout });
    }
    Err(format!("{command:?} ended with {}: {stderr}", output.status))
}
