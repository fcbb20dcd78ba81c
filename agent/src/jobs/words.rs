//! What an agent and a supervisor speak of: the types of their channel and of a job's record.
//!
//! They are types of their own, for a supervisor outlives upgrades of its agent: the wire may change, and
//! these only ever grow, at the end of each. Whatever is missing there reads as zero
//! ([`lariat_wire::codec::decode_grown`]).

use std::io;

use lariat_base::name::JobId;
use lariat_wire::protocol::exec;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use serde::{Deserialize, Serialize};

/// What to run. Whom it runs as is told beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// Its command.
    pub command: Command,
    /// Working directory; relative to the user's home, which is also the default.
    pub cwd: Option<Vec<u8>>,
    /// Variables added to the clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// What its streams are.
    pub streams: Streams,
    /// Ends the command after this many milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long the job waits for a controller that went away, in milliseconds.
    pub grace_ms: u64,
}

/// A job's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(Vec<u8>),
    /// An exact argv.
    Argv(Vec<Vec<u8>>),
    /// A script and its arguments.
    Script {
        /// The script itself.
        body: Vec<u8>,
        /// Its arguments.
        args: Vec<Vec<u8>>,
    },
    /// The user's login shell.
    Login,
}

/// A job's streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Pipes to a controller that follows the job.
    Followed {
        /// Whether stdin will be sent.
        stdin: bool,
    },
    /// Files on the host.
    Detached,
    /// A terminal, with a controller that follows the job.
    Terminal {
        /// The command's TERM.
        term: Vec<u8>,
        /// How large it is.
        size: Size,
    },
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// An offset in each output stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    /// Bytes of stdout.
    pub stdout: u64,
    /// Bytes of stderr.
    pub stderr: u64,
}

/// How much of stdin the command has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinTaken {
    /// Offset of the first byte not yet taken.
    pub upto: u64,
    /// The command has closed its stdin.
    pub closed: bool,
}

/// The command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub end: End,
    /// Bytes of each output stream in all.
    pub output: Offsets,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// It ran into its time limit.
    TimedOut,
    /// It could not be run: the `errno` that `execve` gave.
    NotRun(i32),
    /// It was ended because its controller had been away for longer than its grace time.
    GraceExpired,
    /// It was ended because the host went down, or its supervisor was told to stop.
    Stopped,
}

/// The command could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStarted {
    /// What was being done.
    pub during: During,
    /// To which path, if to one.
    pub path: Option<Vec<u8>>,
    /// The `errno` of Linux; 0 if there was none.
    pub errno: i32,
}

/// What a supervisor does before the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum During {
    /// It prepares the command's process.
    Start,
    /// It enters the working directory.
    EnterDirectory,
}

impl NotStarted {
    /// The system refused.
    pub fn new(during: During, path: Option<&[u8]>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        Self { during, path: path.map(<[u8]>::to_vec), errno }
    }
}

impl From<NotStarted> for Failure {
    fn from(NotStarted { during, path, errno }: NotStarted) -> Self {
        let action = match during {
            During::Start => Action::Start,
            During::EnterDirectory => Action::EnterDirectory,
        };
        let cause = if errno == 0 { Cause::Internal } else { Cause::Os(errno) };
        Self { action, path, cause }
    }
}

impl From<exec::Run> for Run {
    fn from(run: exec::Run) -> Self {
        let exec::Run { job, command, user: _, cwd, env, streams, timeout_ms, grace_ms } = run;
        let command = match command {
            exec::Command::Shell(line) => Command::Shell(line),
            exec::Command::Argv(words) => Command::Argv(words),
            exec::Command::Script { body, args } => Command::Script { body, args },
            exec::Command::Login => Command::Login,
        };
        let streams = match streams {
            exec::Streams::Followed { stdin } => Streams::Followed { stdin },
            exec::Streams::Detached => Streams::Detached,
            exec::Streams::Terminal { term, size } => Streams::Terminal { term, size: size.into() },
        };
        Self { job, command, cwd, env, streams, timeout_ms, grace_ms }
    }
}

impl From<exec::Resize> for Size {
    fn from(exec::Resize { rows, columns }: exec::Resize) -> Self {
        Self { rows, columns }
    }
}

impl From<exec::Ack> for Offsets {
    fn from(exec::Ack { stdout, stderr }: exec::Ack) -> Self {
        Self { stdout, stderr }
    }
}

impl From<Offsets> for exec::Ack {
    fn from(Offsets { stdout, stderr }: Offsets) -> Self {
        Self { stdout, stderr }
    }
}

impl From<StdinTaken> for exec::StdinTaken {
    fn from(StdinTaken { upto, closed }: StdinTaken) -> Self {
        Self { upto, closed }
    }
}

impl From<End> for exec::End {
    fn from(end: End) -> Self {
        match end {
            End::Exited(status) => Self::Exited(status),
            End::Signaled(signal) => Self::Signaled(signal),
            End::TimedOut => Self::TimedOut,
            End::NotRun(errno) => Self::NotRun(errno),
            End::GraceExpired => Self::GraceExpired,
            End::Stopped => Self::Stopped,
        }
    }
}

impl From<Exit> for exec::Exit {
    fn from(Exit { end, output: Offsets { stdout, stderr } }: Exit) -> Self {
        Self { end: end.into(), stdout, stderr }
    }
}
