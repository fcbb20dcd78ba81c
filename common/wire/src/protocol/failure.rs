//! A failed request: a code with details, from which each end makes its own message.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::protocol::invalid::Invalid;
use crate::protocol::key::KeyProblem;
use crate::protocol::verb::Verb;
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_base::os_error::os_error;

/// What failed, where, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Failure {
    /// What was being done.
    pub action: Action,
    /// The path concerned, if any: raw bytes, escaped when displayed.
    pub path: Option<Vec<u8>>,
    /// Why it failed.
    pub cause: Cause,
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The request as a whole.
    Request,
    /// Opening a file.
    Open,
    /// Creating a file.
    Create,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Syncing a file or directory to disk.
    Sync,
    /// Giving a file its final name.
    Rename,
    /// Setting a file's mode, owner or times.
    SetMetadata,
    /// Creating a directory.
    MakeDirectory,
    /// Entering the working directory.
    EnterDirectory,
    /// Comparing what arrived with what was sent.
    Verify,
    /// Starting a command.
    Start,
    /// Removing a file or directory.
    Remove,
    /// Connecting through the host, or using such a connection.
    Connect,
    /// Listening on the host.
    Listen,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A system call failed with this Linux `errno`.
    Os(i32),
    /// The key has no permission for the request.
    NotPermitted {
        /// The verb that the request needs.
        verb: Verb,
        /// The rule of the key that denied it; empty if the key lacks the verb.
        rule: String,
    },
    /// The request is invalid; the text says why.
    BadRequest(String),
    /// Only regular files can be sent this way.
    NotAFile(FileKind),
    /// The source changed while it was read.
    SourceChanged,
    /// The source is shorter than it was when the transfer began.
    SourceShrank,
    /// What arrived is not what was sent.
    Mismatch,
    /// A newer request for the same destination took over.
    Superseded,
    /// The agent is stopping.
    Stopping,
    /// An error in the agent itself; its log has more.
    Internal,
    /// The command's supervisor died, so how far the command came is not known.
    Unwatched,
    /// This key has no such job.
    NoSuchJob {
        /// Time since the host was booted, in milliseconds. The agent knows all jobs that were requested
        /// since then.
        up_ms: u64,
    },
    /// Output of the job that is asked for is not kept any more.
    Forgotten,
    /// The key has no permission to act as this user. Newer agents say NotPermitted, with the line of the rule.
    NotAsUser(String),
    /// The host has no such user.
    NoSuchUser(String),
    /// The job has ended already.
    Over,
    /// The job's output goes to the controller that runs it, and is not kept.
    NotKept,
    /// A file's extended attributes exceed what can be sent, or what the disk can hold.
    XattrsTooLarge,
    /// The process that did the work as another user died or had to be killed.
    WorkerFailed,
    /// The key has reached this limit.
    AtLimit(Limit),
    /// More names would be deleted than the limit allows; none was.
    TooManyDeletes {
        /// How many would be deleted.
        count: u64,
        /// The limit.
        most: u64,
    },
    /// The directory to be cleared is `/` or a home directory, and no limit was given.
    Unbounded,
    /// The host can't write the request into its audit.
    CannotRecord,
    /// The keyring was left as it is.
    Key(KeyProblem),
    /// The agent, of this version, does not know the request, or something in it; empty if its version is not known.
    UnknownRequest(String),
    /// No connection of this host is parked at this gateway.
    NotParked {
        /// The host.
        host: HostName,
        /// How long ago the last one was there, in milliseconds, if there was one since the agent's start.
        since_ms: Option<u64>,
    },
}

/// What a key can have only a limited amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Concurrent sessions.
    Sessions,
    /// Concurrent jobs.
    Jobs,
    /// Memory that its requests keep.
    Memory,
    /// Output that its detached jobs keep.
    Output,
}

/// What a path is, if it is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// A symbolic link.
    Symlink,
}

impl Failure {
    /// Whether the key's permissions do not allow the request.
    pub fn is_refusal(&self) -> bool {
        matches!(self.cause, Cause::NotPermitted { .. } | Cause::NotAsUser(_))
    }

    /// A failed system call during `action` on `path`.
    pub fn io(action: Action, path: &[u8], error: &io::Error) -> Self {
        let cause = error.raw_os_error().map_or(Cause::Internal, Cause::Os);
        Self { action, path: Some(path.to_vec()), cause }
    }

    /// The request as a whole failed.
    pub fn request(cause: Cause) -> Self {
        Self { action: Action::Request, path: None, cause }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::request(Cause::BadRequest(invalid.to_string()))
    }
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::SetMetadata => "set metadata of",
            Self::MakeDirectory => "make directory",
            Self::EnterDirectory => "enter directory",
            Self::Verify => "verify",
            Self::Start => "start",
            Self::Remove => "remove",
            Self::Connect => "connect to",
            Self::Listen => "listen on",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.action) {
            (Some(path), Action::Request) => write!(f, "{}: ", escape(path))?,
            (Some(path), action) => write!(f, "{} {}: ", action.as_str(), escape(path))?,
            (None, Action::Request) => {}
            (None, action) => write!(f, "{}: ", action.as_str())?,
        }
        self.cause.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => f.write_str(&os_error(*errno)),
            Self::NotPermitted { verb, rule } => {
                let rule = escape(rule.as_bytes());
                let what = phrase(*verb);
                write!(f, "this key is not permitted to {what} on this host: {rule}")
            }
            Self::BadRequest(why) => f.write_str(&escape(why.as_bytes())),
            Self::NotAFile(kind) => f.write_str(match kind {
                FileKind::Directory => "is a directory",
                FileKind::Fifo => "is a fifo, not a regular file",
                FileKind::Socket => "is a socket, not a regular file",
                FileKind::Device => "is a device, not a regular file",
                FileKind::Symlink => "is a symbolic link, not a regular file",
            }),
            Self::SourceChanged => f.write_str("the source changed while it was read"),
            Self::SourceShrank => f.write_str("the source became shorter while it was read"),
            Self::Mismatch => f.write_str("what arrived is not what was sent"),
            Self::Superseded => {
                f.write_str("a newer request took over from this one")
            }
            Self::Stopping => f.write_str("the agent is stopping"),
            Self::Internal => f.write_str("internal error; see the agent's log"),
            Self::Unwatched => f.write_str(
                "the process that watches over the command died: how the command ended is not known; \
                 what could be found of it was ended",
            ),
            Self::NoSuchJob { .. } => f.write_str("this key has no such job on this host"),
            Self::Forgotten => {
                f.write_str("output of this job that was not read is not kept any longer")
            }
            Self::NotAsUser(user) => {
                let user = escape(user.as_bytes());
                write!(f, "this key is not permitted to act as the user {user} on this host: users")
            }
            Self::NoSuchUser(user) => {
                write!(f, "there is no user {} on this host", escape(user.as_bytes()))
            }
            Self::XattrsTooLarge => f.write_str(
                "its extended attributes are too large: over 64 KiB, or more than the disk there can hold",
            ),
            Self::Over => f.write_str("the job has ended already"),
            Self::WorkerFailed => f.write_str(
                "the process that did this as another user died; see the agent's log",
            ),
            Self::AtLimit(limit) => f.write_str(match limit {
                Limit::Sessions => {
                    "this key is not permitted more sessions on this host at a time (max_sessions, or the host's limits); end some, or try again later"
                }
                Limit::Jobs => {
                    "this key is not permitted more jobs on this host at a time (max_jobs, or the host's limits); end some (lariat jobs, lariat kill), or try again later"
                }
                Limit::Output => {
                    "this key's detached jobs may come to keep as much output on this host as they may; end some (lariat jobs, lariat kill), or try again later"
                }
                Limit::Memory => {
                    "this key's requests keep as much memory on this host as they may; ask for less at a time, or try again later"
                }
            }),
            Self::TooManyDeletes { count, most } => write!(
                f,
                "{count} names would be deleted, which is more than --max-delete {most}: none was"
            ),
            Self::Unbounded => f.write_str(
                "--delete would clear this directory itself: give a bound by --max-delete N",
            ),
            Self::CannotRecord => f.write_str(
                "this host can't write into its audit, and so does nothing; see the agent's log, or make room on its disk with a key that has the verb keys",
            ),
            Self::Key(problem) => problem.fmt(f),
            Self::UnknownRequest(version) => {
                let version = escape(version.as_bytes());
                let space = if version.is_empty() { "" } else { " " };
                write!(f, "its lariatd{space}{version} does not know this request")
            }
            Self::NotParked { host, since_ms } => {
                write!(f, "no connection of {host} is parked there: ")?;
                match since_ms {
                    Some(ms) => write!(f, "the last one was there {} s ago", ms.div_ceil(1000))?,
                    None => f.write_str("none was there since its agent started")?,
                }
                write!(f, "; is {host} up, and does its network let it out?")
            }
            Self::NotKept => f.write_str(
                "its output goes to the command that runs it, and is not kept; only detached jobs have logs",
            ),
        }
    }
}

/// What a request that needs the verb does.
fn phrase(verb: Verb) -> &'static str {
    match verb {
        Verb::Run => "run this",
        Verb::Push => "push this",
        Verb::Pull => "pull this",
        Verb::Shell => "open a shell",
        Verb::Jobs => "see or change jobs",
        Verb::Connect => "connect there",
        Verb::Listen => "listen",
        Verb::Keys => "see or change keys",
        Verb::Audit => "read the audit",
        Verb::Status => "see the status",
        Verb::Note => "leave notes",
        Verb::Upgrade => "upgrade the agent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_compose_and_paths_are_made_harmless() {
        let failure = Failure {
            action: Action::Write,
            path: Some(b"/srv/a\x1b[2J".to_vec()),
            cause: Cause::Os(28),
        };
        assert_eq!(failure.to_string(), "write /srv/a\\x1b[2J: no space left on device");
        assert_eq!(Failure::request(Cause::Stopping).to_string(), "the agent is stopping",);
    }
}
