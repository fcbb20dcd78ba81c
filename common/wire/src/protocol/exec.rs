//! Messages of a running command.
//!
//! ```text
//! controller                          agent
//!   Run                          →
//!                                ←    Started | Failed
//!   Stdin, StdinEnd, Signal, Ack →
//!                                ←    Stdout, Stderr, StdinTaken
//!                                ←    Exit
//!   Release                      →
//! ```
//!
//! After a cut, [`Attach`] on another connection takes the place of [`Run`]; the rest is the same. A
//! controller that does not know what has been received gets [`super::job::Reading`] first.
//!
//! A detached job ([`Streams::Detached`]) is done for its controller with [`Started`];
//! [`crate::protocol::job`] has the requests about it.
//!
//! Offsets count bytes from the beginning of the stream. The agent keeps output until it is acknowledged; the
//! controller keeps stdin until it is taken.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_WORDS};
use crate::protocol::invalid::{Invalid, check_user};
use crate::protocol::verb::Verb;
use lariat_base::name::JobId;

/// Largest signal number on Linux.
pub const LAST_SIGNAL: u8 = 64;

/// Runs a command as a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Chosen by the controller, so that a repeated request never runs the command twice.
    pub job: JobId,
    /// What to run.
    pub command: Command,
    /// The user to run it as, if not the agent's own.
    pub user: Option<String>,
    /// Working directory, relative to the user's home, which is also the default.
    pub cwd: Option<Vec<u8>>,
    /// Variables added to the clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the job's streams are connected to.
    pub streams: Streams,
    /// Ends the command after this many milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long the job waits for a controller whose connection broke, in milliseconds; the agent caps it.
    pub grace_ms: u64,
}

/// What a job's streams are connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Pipes to a controller that follows the job. Without a controller the job is ended after its grace
    /// time.
    Followed {
        /// Whether stdin will be sent. If not, the command reads `/dev/null`.
        stdin: bool,
    },
    /// Files on the host: the job is detached, continues by itself, and its output is kept.
    Detached,
    /// A terminal, with a controller that follows the job. The command's output arrives as stdout, and stdin
    /// is typed into the terminal. The end of stdin types Ctrl-D.
    Terminal {
        /// The type of the controller's terminal, which becomes the command's TERM.
        term: Vec<u8>,
        /// The terminal's size.
        size: Resize,
    },
}

/// The size of the job's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(Vec<u8>),
    /// An exact argv, looked up in PATH, without a shell.
    Argv(Vec<Vec<u8>>),
    /// A script and its arguments, run by the interpreter that its first line names, or by `/bin/sh`.
    Script {
        /// The script's content.
        body: Vec<u8>,
        /// Its arguments, from `$1` on.
        args: Vec<Vec<u8>>,
    },
    /// The user's login shell, as at a login.
    Login,
}

impl Command {
    /// The program and the arguments of a command that needs no shell: an argv, or a line that is a single plain word,
    /// which is a program without arguments. `None` for any other.
    pub fn words(&self) -> Option<&[Vec<u8>]> {
        match self {
            Self::Argv(words) => Some(words),
            Self::Shell(line) if is_plain(line) => Some(std::slice::from_ref(line)),
            Self::Shell(_) | Self::Script { .. } | Self::Login => None,
        }
    }
}

/// Whether a shell would take a line for a name, and see nothing else in it.
fn is_plain(line: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    !line.is_empty() && line.iter().all(plain)
}

impl Run {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let words: &[Vec<u8>] = match &self.command {
            Command::Shell(line) => std::slice::from_ref(line),
            Command::Argv(words) => words,
            // The script is a file to its interpreter, and may contain any bytes.
            Command::Script { args, .. } => args,
            Command::Login => &[],
        };
        if words.first().is_none_or(Vec::is_empty) && matches!(self.command, Command::Argv(_)) {
            return Err(Invalid::EmptyCommand);
        }
        if words.len() > MAX_WORDS || self.env.len() > MAX_WORDS {
            return Err(Invalid::TooManyWords);
        }
        let values = self.env.iter().flat_map(|(name, value)| [name, value]);
        if words.iter().chain(values).chain(&self.cwd).any(|text| text.contains(&0)) {
            return Err(Invalid::Nul);
        }
        if self.env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
            return Err(Invalid::Variable);
        }
        if let Streams::Terminal { term, .. } = &self.streams
            && (term.is_empty() || term.len() > MAX_NAME || term.contains(&0))
        {
            return Err(Invalid::Terminal);
        }
        check_user(self.user.as_deref())
    }

    /// The verb that the request needs.
    pub fn verb(&self) -> Verb {
        if self.command == Command::Login { Verb::Shell } else { Verb::Run }
    }
}

impl Signal {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if (1..=LAST_SIGNAL).contains(&self.number) { Ok(()) } else { Err(Invalid::Signal) }
    }
}

/// Continues a job of this key on another connection than the one that started it.
///
/// It is answered like [`Run`], with output from the given offsets on. Without offsets, output starts with
/// the first byte that is kept, and [`super::job::Reading`] tells its offsets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The job.
    pub job: JobId,
    /// Bytes of each stream that the controller has received, if it knows that.
    pub received: Option<Ack>,
}

/// Reports that the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The command's process id on the host.
    pub pid: u32,
}

/// Acknowledges output up to these offsets, which the agent may then discard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Bytes of stdout.
    pub stdout: u64,
    /// Bytes of stderr.
    pub stderr: u64,
}

/// Reports the end of stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinEnd {
    /// Total length of stdin in bytes.
    pub len: u64,
}

/// Reports how much of stdin the command has taken. The controller may be [`crate::limits::STDIN_CREDIT`]
/// bytes ahead of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinTaken {
    /// Offset of the first byte that is not taken yet.
    pub upto: u64,
    /// The command has closed its stdin, so the rest has no reader.
    pub closed: bool,
}

/// Sends a signal to every process of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The signal's number on the host, 1 to 64.
    pub number: u8,
}

/// Reports that the command has ended and how much it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub end: End,
    /// Total bytes of stdout.
    pub stdout: u64,
    /// Total bytes of stderr.
    pub stderr: u64,
}

/// Reports that output and exit have arrived, so that the agent may forget the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// It exceeded its time limit.
    TimedOut,
    /// It could not be started: the `errno` of execve(2).
    NotRun(i32),
    /// It was ended because its controller was away for longer than the grace time.
    GraceExpired,
    /// It was ended because the host was shutting down or its supervisor was asked to stop.
    Stopped,
}

impl End {
    /// The exit status that a shell would show: 128+N for signal N, 124 for a time limit, 127 for a program
    /// that does not exist, 126 for one that can't be run. A command that the host ended shows SIGTERM, the
    /// first signal that it was sent.
    pub fn status(self) -> u8 {
        const ENOENT: i32 = 2;
        const SIGTERM: u8 = 15;
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128_u8.saturating_add(signal),
            Self::TimedOut => 124,
            Self::NotRun(ENOENT) => 127,
            Self::NotRun(_) => 126,
            Self::GraceExpired | Self::Stopped => 128 + SIGTERM,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: Command) -> Run {
        let job = JobId([0; 16]);
        let user = None;
        Run {
            job,
            command,
            user,
            cwd: None,
            env: vec![],
            streams: Streams::Followed { stdin: false },
            timeout_ms: None,
            grace_ms: 0,
        }
    }

    #[test]
    fn what_no_program_can_be_given_is_refused() {
        assert_eq!(run(Command::Argv(vec![])).check(), Err(Invalid::EmptyCommand));
        assert_eq!(run(Command::Argv(vec![vec![]])).check(), Err(Invalid::EmptyCommand));
        assert_eq!(run(Command::Shell(b"a\0b".to_vec())).check(), Err(Invalid::Nul));
        assert_eq!(run(Command::Shell(vec![])).check(), Ok(()));
        let script = |args| Command::Script { body: b"a\0b".to_vec(), args };
        assert_eq!(run(script(vec![vec![]])).check(), Ok(()));
        assert_eq!(run(script(vec![b"\0".to_vec()])).check(), Err(Invalid::Nul));
        let terminal = |term: &[u8]| {
            let (term, size) = (term.to_vec(), Resize { rows: 24, columns: 80 });
            Run { streams: Streams::Terminal { term, size }, ..run(Command::Login) }
        };
        assert_eq!(terminal(b"xterm").check(), Ok(()));
        assert_eq!(terminal(b"").check(), Err(Invalid::Terminal));
        assert_eq!(terminal(b"a\0b").check(), Err(Invalid::Terminal));
        let many = vec![b"x".to_vec(); MAX_WORDS + 1];
        assert_eq!(run(Command::Argv(many)).check(), Err(Invalid::TooManyWords));
        for name in [&b""[..], b"A=B"] {
            let mut bad = run(Command::Shell(b"true".to_vec()));
            bad.env.push((name.to_vec(), vec![]));
            assert_eq!(bad.check(), Err(Invalid::Variable));
        }
    }

    #[test]
    fn a_line_with_anything_for_a_shell_has_no_words() {
        let line = |text: &str| Command::Shell(text.into());
        for plain in ["id", "/usr/bin/g++", "a-b_c.sh", "x"] {
            assert_eq!(line(plain).words(), Some(&[plain.as_bytes().to_vec()][..]));
        }
        for shell in
            ["", " id", "id\n", "id -u", "$x", "~/x", "a=b", "x;y", "`x`", "a*", "[", "#", "!"]
        {
            assert_eq!(line(shell).words(), None, "{shell}");
        }
        let words = vec![b"a b".to_vec()];
        assert_eq!(Command::Argv(words.clone()).words(), Some(words.as_slice()));
        assert_eq!(Command::Login.words(), None);
    }

    #[test]
    fn statuses_are_a_shells() {
        assert_eq!(End::Exited(3).status(), 3);
        assert_eq!(End::Signaled(9).status(), 137);
        assert_eq!(End::TimedOut.status(), 124);
        assert_eq!(End::NotRun(2).status(), 127);
        assert_eq!(End::NotRun(13).status(), 126);
        assert_eq!(End::GraceExpired.status(), 143);
        assert_eq!(End::Stopped.status(), 143);
    }
}
