//! An upgrade as data: what is on disk of it, and what each process does next. Without I/O.
//!
//! ```text
//! the agent        Checked    the new program is beside the old one, and was checked
//! the guard        Guarded    the guard runs; the agent is asked to stop
//! the old program  Trial      at its start: executes the new program
//! the new program  Confirmed  a login by the key that asked: it takes the old one's name
//! any              Restored   the old program serves again, or still
//! ```
//!
//! Until it is confirmed, the new program does not have the old one's name. So whatever dies, and whatever starts the
//! agent after that, it starts a program that has worked: the old one, which never starts a new one twice.

use std::path::PathBuf;

use lariat_base::name::{BootId, KeyId, UpgradeId};
use serde::{Deserialize, Serialize};

/// The format of records.
pub(super) const FORMAT: u32 = 1;

/// The host's last upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) id: UpgradeId,
    /// The first id of the key that asked for it.
    pub(super) owner: KeyId,
    pub(super) label: String,
    /// The versions of the old program and of the new one.
    pub(super) from: String,
    pub(super) to: String,
    /// The agent's program. The new one is beside it.
    pub(super) program: PathBuf,
    pub(super) staged: FileId,
    pub(super) boot: BootId,
    /// When the phase began, in milliseconds since the host was booted.
    pub(super) since: u64,
    /// How long the old agent may take to stop, and the new one to be logged in to, in milliseconds.
    pub(super) limit: u64,
    pub(super) phase: Phase,
    /// Whether the audit has the verdict.
    pub(super) is_told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Checked,
    Guarded,
    Trial {
        process: Process,
    },
    Confirmed,
    Restored {
        why: String,
        /// The process of the new program, which may still run.
        process: Option<Process>,
    },
}

/// A process. Executing another program leaves it the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// When it was started, in the kernel's ticks since the boot.
    pub(super) started: u64,
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What a process knows when it looks at a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) boot: BootId,
    /// Milliseconds since the boot.
    pub(super) ms: u64,
    /// The process that looks.
    pub(super) me: Process,
    /// The file that has the program's name.
    pub(super) installed: Option<FileId>,
}

/// What an agent does at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AtStart {
    /// It serves.
    Serve,
    /// It is the new program, and serves on trial.
    ServeOnTrial,
    /// It executes the new program.
    Launch,
    /// It serves, and records how the upgrade ended.
    Settle(Phase),
}

/// What an agent does when the key that asked wants to know how the upgrade stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WhenAsked {
    Unknown,
    Waiting,
    /// Gives the new program its name.
    Commit,
    Confirmed,
    Restored(String),
}

/// What the guard sees of the host's processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The process of the new program runs.
    pub(super) is_trial_alive: bool,
    /// An agent serves.
    pub(super) is_served: bool,
    /// For how long neither was the case, in milliseconds.
    pub(super) absent: u64,
}

/// What the guard does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guarding {
    Wait,
    Settle(Phase),
    /// Ends the process of the new program.
    End(Process),
    /// Starts the agent, which nobody else does.
    Start,
    /// It is over.
    Leave,
}

/// The part of the limit for which an agent may be absent before the guard starts one.
const ABSENT: u64 = 6;

impl Record {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Confirmed | Phase::Restored { .. })
    }

    /// Whether the new program has the old one's name.
    fn is_installed(&self, now: &Now) -> bool {
        now.installed == Some(self.staged)
    }

    fn elapsed(&self, now: &Now) -> u64 {
        now.ms.saturating_sub(self.since)
    }

    pub(super) fn restored(&self, why: impl Into<String>) -> Phase {
        let process = match self.phase {
            Phase::Trial { process } => Some(process),
            _ => None,
        };
        Phase::Restored { why: why.into(), process }
    }

    /// What an agent that starts does.
    pub(super) fn at_start(&self, now: &Now) -> AtStart {
        let elapsed = self.elapsed(now);
        match &self.phase {
            Phase::Confirmed | Phase::Restored { .. } => AtStart::Serve,
            // It died between giving the new program its name and recording that.
            Phase::Trial { .. } if self.is_installed(now) => AtStart::Settle(Phase::Confirmed),
            Phase::Trial { process } if self.boot == now.boot && *process == now.me => {
                AtStart::ServeOnTrial
            }
            _ if self.boot != now.boot => {
                AtStart::Settle(self.restored("the host was restarted before it was confirmed"))
            }
            Phase::Checked => {
                AtStart::Settle(self.restored("the agent was stopped before the new one began"))
            }
            Phase::Guarded if elapsed > self.limit => {
                AtStart::Settle(self.restored("the old agent took too long to stop"))
            }
            Phase::Guarded => AtStart::Launch,
            Phase::Trial { .. } => AtStart::Settle(self.ended(elapsed)),
        }
    }

    fn ended(&self, elapsed: u64) -> Phase {
        let (seconds, tenths) = (elapsed / 1000, elapsed / 100 % 10);
        self.restored(format!(
            "the new agent, {}, ended within {seconds}.{tenths} s, and nobody had logged in to it; see the agent's log",
            self.to
        ))
    }

    /// What an agent does when this key asks how the upgrade stands.
    pub(super) fn when_asked(&self, id: UpgradeId, owner: KeyId, now: &Now) -> WhenAsked {
        if self.id != id || self.owner != owner {
            return WhenAsked::Unknown;
        }
        match &self.phase {
            Phase::Confirmed => WhenAsked::Confirmed,
            Phase::Restored { why, .. } => WhenAsked::Restored(why.clone()),
            Phase::Trial { process } if *process == now.me && self.boot == now.boot => {
                WhenAsked::Commit
            }
            Phase::Checked | Phase::Guarded | Phase::Trial { .. } => WhenAsked::Waiting,
        }
    }

    /// What the guard does next.
    pub(super) fn guarding(&self, now: &Now, seen: Seen) -> Guarding {
        let is_late = self.elapsed(now) > self.limit;
        match &self.phase {
            Phase::Restored { process: Some(process), .. } if seen.is_trial_alive => {
                Guarding::End(*process)
            }
            Phase::Confirmed | Phase::Restored { .. } if seen.is_served => Guarding::Leave,
            Phase::Trial { .. } if self.is_installed(now) => Guarding::Settle(Phase::Confirmed),
            Phase::Trial { .. } if !seen.is_trial_alive => {
                Guarding::Settle(self.ended(self.elapsed(now)))
            }
            Phase::Trial { .. } if is_late => Guarding::Settle(self.restored(format!(
                "nobody could log in to the new agent, {}, within {} s",
                self.to,
                self.limit / 1000
            ))),
            Phase::Guarded if is_late => {
                Guarding::Settle(self.restored("the old agent took too long to stop"))
            }
            Phase::Guarded | Phase::Confirmed | Phase::Restored { .. }
                if seen.absent > self.limit / ABSENT =>
            {
                Guarding::Start
            }
            Phase::Guarded | Phase::Trial { .. } | Phase::Confirmed | Phase::Restored { .. } => {
                Guarding::Wait
            }
            // The agent failed to begin it.
            Phase::Checked => Guarding::Leave,
        }
    }
}

#[cfg(test)]
mod tests;
