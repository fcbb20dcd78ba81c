//! How a request ended, as data: for the log, the audit and the controller.

use lariat_wire::protocol::exec::Exit;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::Hash;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Done(Done),
    /// The command ended, and wrote this.
    Exited(Exit, Digests),
    /// It failed at this end, and the controller has not been told yet.
    Failed(Failure),
    /// It failed, and the controller knows: the failure was sent to it, or came from it.
    Over(String),
    /// The connection broke, the controller gave the request up, or the session is to end.
    Abandoned,
}

/// What a request did that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// In words, for the log.
    pub text: String,
    /// How many files it is about.
    pub files: Option<u64>,
    /// How many bytes they have.
    pub bytes: Option<u64>,
    /// The BLAKE3 of the only file, if it is known.
    pub sum: Option<Hash>,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// The SHA-256 of a command's stdout and stderr, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of stdout.
    pub stdout: Option<[u8; 32]>,
    /// Of stderr.
    pub stderr: Option<[u8; 32]>,
}
