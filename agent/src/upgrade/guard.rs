//! The guard: a process of the old program that puts the old agent back if nobody confirms the new one.
//!
//! It depends neither on the agent nor on its unit: under systemd it has a scope of its own, and elsewhere a session.
//! A keeper, its parent, starts it again if it is killed.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lariat_base::os_error::io_error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::record::{Guarding, Now, Phase, Process, Record, Seen};
use super::store::{Store, milliseconds};
use super::unit;
use crate::jobs::OWN_BINARY;
use crate::jobs::scope::scoped;
use crate::running;

/// The first argument of a guard's process.
pub(crate) const SUBCOMMAND: &str = "guard-upgrade";

/// The words of the process that starts the keeper, of the keeper, of the guard, and of a guard in place of another.
const LEAVE: &str = "leave";
const KEEP: &str = "keep";
const STAY: &str = "stay";
const STAY_ON: &str = "stay-on";

/// Longest wait for a guard to be ready.
const READY: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How often the guard looks.
const STEP: Duration = Duration::from_millis(200);

/// How long the new agent may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(5);

/// How long the guard goes on trying, once the upgrade is over.
const MOST: Duration = Duration::from_secs(600);

/// Starts a guard for the upgrade in this state directory, which it records.
pub(super) fn start(state: &Path, unit: Option<&str>) -> Result<(), String> {
    let description = "Puts lariatd back unless its new version is confirmed";
    let own = Path::new(OWN_BINARY);
    if unit.is_some() {
        match start_by(scoped(own, "lariatd-upgrade", description, &[]), state, unit) {
            Ok(()) => return Ok(()),
            Err(error) => tracing::warn!(
                "the guard runs in the agent's own unit, because systemd-run failed: {}",
                io_error(&error)
            ),
        }
    }
    let started = start_by(Command::new(own), state, unit);
    started.map_err(|error| format!("its guard can't be started: {}", io_error(&error)))
}

fn start_by(mut command: Command, state: &Path, unit: Option<&str>) -> io::Result<()> {
    let mut child = command
        .arg0("lariatd")
        .args([SUBCOMMAND, LEAVE, unit.unwrap_or_default()])
        .arg(state)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = match child.stdout.take() {
        Some(mut said) => match poll(&mut [PollFd::new(&said, PollFlags::IN)], Some(&READY)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => said.read_exact(&mut [0]),
            Err(error) => Err(error.into()),
        },
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    if said.is_err() {
        // It may have gone on already.
        let _ = child.kill();
    }
    // The keeper and the guard are other processes.
    let _ = child.wait();
    said
}

/// Guards an upgrade: `lariatd guard-upgrade WORD UNIT STATE ARGUMENTS...`, where UNIT may be empty, and ARGUMENTS
/// are the agent's.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let [word, unit, state, words @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    let process = |word: &str| {
        let mut command = Command::new(OWN_BINARY);
        command.arg0("lariatd").args([SUBCOMMAND, word]).args([unit, state]).args(words);
        command
    };
    if word == LEAVE {
        // So that the keeper is no child of an agent that goes on as the new one.
        let keeper = process(KEEP).spawn();
        return if keeper.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if word == KEEP {
        return keep(process);
    }
    let guard = Guard {
        is_first: word == STAY,
        state: PathBuf::from(state),
        unit: unit.to_str().filter(|unit| !unit.is_empty()).map(ToOwned::to_owned),
        words: words.to_vec(),
        absent_since: None,
        ending: None,
        started: None,
        unsaved: None,
    };
    match guard.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "lariatd: upgrade: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the guard, and another one in its place if somebody kills it.
fn keep(process: impl Fn(&str) -> Command) -> ExitCode {
    // Fails only for the leader of a process group, which has one already.
    let _ = rustix::process::setsid();
    let (until, mut word) = (Instant::now() + MOST, STAY);
    loop {
        match process(word).status() {
            Ok(status) if status.success() => return ExitCode::SUCCESS,
            Ok(status) if status.signal().is_some() && Instant::now() < until => word = STAY_ON,
            Ok(_) | Err(_) => return ExitCode::FAILURE,
        }
        sleep(STEP);
    }
}

struct Guard {
    /// Whether it is not in the place of another.
    is_first: bool,
    state: PathBuf,
    unit: Option<String>,
    /// The agent's arguments.
    words: Vec<OsString>,
    /// Since when neither an agent nor the new program runs.
    absent_since: Option<u64>,
    /// When the new program was asked to end.
    ending: Option<Instant>,
    /// The agent that the guard has started.
    started: Option<Child>,
    /// What could not be written, as on a full disk.
    unsaved: Option<Phase>,
}

impl Guard {
    fn run(mut self) -> Result<(), String> {
        {
            let store = self.lock()?;
            let mut record = store.load().ok_or("there is none")?;
            match record.phase {
                Phase::Checked => store.enter(&mut record, Phase::Guarded)?,
                _ if self.is_first => return Err("it has begun already".to_owned()),
                _ => {}
            }
        }
        // If the agent has died, it is the next one's to go on.
        let _ = io::stdout().write_all(b"\n").and_then(|()| io::stdout().flush());
        let until = Instant::now() + MOST;
        while Instant::now() < until {
            sleep(STEP);
            if let Some(child) = &mut self.started {
                // So that it does not remain a zombie.
                let _ = child.try_wait();
            }
            if self.look()?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Store, String> {
        Store::lock(&self.state).map_err(|error| io_error(&error))
    }

    /// Does what is to be done next; `None` if nothing is left.
    fn look(&mut self) -> Result<Option<()>, String> {
        let store = self.lock()?;
        let Some(mut record) = store.load() else { return Ok(None) };
        if let Some(phase) = &self.unsaved {
            record.phase = phase.clone();
        }
        let now = Now::here(&record.program).map_err(|error| io_error(&error))?;
        let seen = self.seen(&record);
        let next = record.guarding(&now, seen);
        match next {
            Guarding::Wait => {}
            Guarding::Leave => return Ok(None),
            Guarding::Settle(phase) => {
                if let Err(why) = store.settle(&mut record, phase) {
                    let _ = writeln!(io::stderr(), "lariatd: upgrade: {why}");
                    self.unsaved = Some(record.phase);
                }
            }
            Guarding::End(process) => self.end(process),
            Guarding::Start => {
                // Whoever starts reads the record.
                drop(store);
                self.absent_since = None;
                self.start_agent(&record);
            }
        }
        Ok(Some(()))
    }

    fn seen(&mut self, record: &Record) -> Seen {
        let process = match record.phase {
            Phase::Trial { process } => Some(process),
            Phase::Restored { process, .. } => process,
            Phase::Checked | Phase::Guarded | Phase::Confirmed => None,
        };
        let is_trial_alive = process.is_some_and(Process::is_alive);
        let is_served = running::is_there(&self.state).unwrap_or_default();
        if is_trial_alive || is_served {
            self.absent_since = None;
            return Seen { is_trial_alive, is_served, absent: 0 };
        }
        let since = *self.absent_since.get_or_insert_with(milliseconds);
        Seen { is_trial_alive, is_served, absent: milliseconds().saturating_sub(since) }
    }

    fn end(&mut self, process: Process) {
        match self.ending {
            None => {
                self.ending = Some(Instant::now());
                process.signal(Signal::TERM);
            }
            Some(since) if since.elapsed() > ENDING => process.signal(Signal::KILL),
            Some(_) => {}
        }
    }

    /// Starts the agent as it was started before.
    fn start_agent(&mut self, record: &Record) {
        let started = match &self.unit {
            // Such as after an exit that tells systemd not to start it again.
            Some(unit) => unit::start(unit),
            None => Command::new(&record.program)
                .args(&self.words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map(|child| self.started = Some(child)),
        };
        if let Err(error) = started {
            let _ = writeln!(io::stderr(), "lariatd: start it again: {}", io_error(&error));
        }
    }
}
