//! The wire's words. What each end does with them is elsewhere.
//!
//! A session is: `Challenge`, `Login` (with the first request behind it), `Welcome` or `Denied`, then
//! requests one at a time. docs/PROTOCOL.md tells the dialogue; the types here are its vocabulary.

pub mod clean;
pub mod exec;
pub mod failure;
pub mod grant;
pub mod hello;
pub mod job;
pub mod metadata;
pub mod request;
pub mod transfer;
pub mod tree;

#[cfg(test)]
mod golden;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A frame kind that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown frame kind {0:#06x}")]
pub struct UnknownKind(pub u16);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame's payload is. The numbers are the wire's and never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, for tests that must not forget one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl TryFrom<u16> for Kind {
            type Error = UnknownKind;

            fn try_from(number: u16) -> Result<Self, UnknownKind> {
                match number {
                    $($number => Ok(Self::$name),)*
                    other => Err(UnknownKind(other)),
                }
            }
        }
    };
}

kinds! {
    /// Agent's first words: [`hello::Challenge`].
    Challenge = 0x01,
    /// Controller's proof: [`hello::Login`].
    Login = 0x02,
    /// Agent's proof: [`hello::Welcome`].
    Welcome = 0x03,
    /// The one answer to every login that fails: [`hello::Denied`].
    Denied = 0x04,

    /// Are you there? [`request::Ping`].
    Ping = 0x10,
    /// Yes: [`request::Pong`].
    Pong = 0x11,
    /// A request could not be done: [`failure::Failure`].
    Failed = 0x12,
    /// The agent takes no more requests on this session: [`request::Goodbye`].
    Goodbye = 0x13,

    /// Run a command: [`exec::Run`].
    Run = 0x20,
    /// The command runs: [`exec::Started`].
    Started = 0x21,
    /// Bulk: `u64` offset, then bytes of stdout.
    Stdout = 0x22,
    /// Bulk: `u64` offset, then bytes of stderr.
    Stderr = 0x23,
    /// Output that may be forgotten: [`exec::Ack`].
    Ack = 0x24,
    /// Bulk: `u64` offset, then bytes of stdin.
    Stdin = 0x25,
    /// Stdin is at its end: [`exec::StdinEnd`].
    StdinEnd = 0x26,
    /// Stdin that the command has taken: [`exec::StdinTaken`].
    StdinTaken = 0x27,
    /// A signal for the job's tree: [`exec::Signal`].
    Signal = 0x28,
    /// How the command ended: [`exec::Exit`].
    Exit = 0x29,
    /// Output and exit have arrived, and nothing is left to keep: [`exec::Release`].
    Release = 0x2a,
    /// Go on with a job: [`exec::Attach`].
    Attach = 0x2b,
    /// The controller's terminal has another size: [`exec::Resize`].
    Resize = 0x2c,

    /// Which jobs are there? [`job::List`].
    List = 0x30,
    /// Some of them: [`job::Listed`].
    Listed = 0x31,
    /// Read a detached job's output: [`job::Logs`].
    Logs = 0x32,
    /// Where the output begins: [`job::Reading`].
    Reading = 0x33,
    /// There is no more output: [`job::LogsEnd`].
    LogsEnd = 0x34,
    /// Signal a job: [`job::Kill`].
    Kill = 0x35,
    /// It was: [`job::Killed`].
    Killed = 0x36,

    /// Send a file to the host: [`transfer::Push`].
    Push = 0x40,
    /// Fetch a file from the host: [`transfer::Pull`].
    Pull = 0x41,
    /// The sender describes its file: [`transfer::Offer`].
    Offer = 0x42,
    /// The receiver says what it has: [`transfer::Have`].
    Have = 0x43,
    /// Bulk: [`transfer::ChunkHead`], then the chunk's bytes.
    Chunk = 0x44,
    /// The receiver hashed chunks that it had, or has rebuilt: [`transfer::Hashes`].
    Hashes = 0x45,
    /// Every chunk was sent or confirmed: [`transfer::Complete`].
    Complete = 0x46,
    /// The file is on disk under its name: [`transfer::Done`].
    Done = 0x47,
    /// Bulk: pieces of the receiver's basis, [`transfer::PIECE_LEN`] bytes each.
    Pieces = 0x48,
    /// What to copy from the basis: [`transfer::Copies`].
    Copies = 0x49,
    /// Bulk: [`transfer::LiteralHead`], then bytes that the basis does not have.
    Literal = 0x4a,
    /// Remove abandoned temporary files: [`clean::Clean`].
    Clean = 0x4b,
    /// So many there were: [`clean::Cleaned`].
    Cleaned = 0x4c,

    /// Send a directory to the host: [`tree::PushTree`].
    PushTree = 0x50,
    /// The sender's directory, in answer to a Pull: [`tree::Root`].
    Root = 0x51,
    /// What is in a directory: [`tree::Entries`].
    Entries = 0x52,
    /// What the receiver wants of it: [`tree::Answers`].
    Answers = 0x53,
    /// Bulk: [`transfer::LiteralHead`], then small files, each behind a [`tree::PackedHead`].
    Pack = 0x54,
    /// A file that preserve alone: [`tree::Begin`].
    Begin = 0x55,
    /// One name failed, the rest goes on: [`tree::Missed`].
    Missed = 0x56,
    /// The sender has sent all of the tree: [`tree::End`].
    End = 0x57,
    /// What a dry run would do: [`tree::Changes`].
    Changes = 0x58,
    /// The tree is on disk: [`tree::Settled`].
    Settled = 0x59,
}

impl Kind {
    /// Whether the payload is raw bytes that never pass through serde.
    pub const fn is_bulk(self) -> bool {
        use Kind::{Chunk, Literal, Pack, Pieces, Stderr, Stdin, Stdout};
        matches!(self, Stdout | Stderr | Stdin | Chunk | Pieces | Literal | Pack)
    }

    /// Whether the kind belongs to the time before authentication.
    pub const fn is_hello(self) -> bool {
        matches!(self, Self::Challenge | Self::Login | Self::Welcome | Self::Denied)
    }
}

/// A control message: a type, and the kind of the frame that carries it.
pub trait Message: Serialize + DeserializeOwned {
    /// The frame's kind.
    const KIND: Kind;
}

macro_rules! messages {
    ($($kind:ident: $type:ty,)*) => { $(impl Message for $type { const KIND: Kind = Kind::$kind; })* };
}

messages! {
    Ping: request::Ping,
    Pong: request::Pong,
    Failed: failure::Failure,
    Goodbye: request::Goodbye,
    Run: exec::Run,
    Attach: exec::Attach,
    Resize: exec::Resize,
    Started: exec::Started,
    Ack: exec::Ack,
    StdinEnd: exec::StdinEnd,
    StdinTaken: exec::StdinTaken,
    Signal: exec::Signal,
    Exit: exec::Exit,
    Release: exec::Release,
    List: job::List,
    Listed: job::Listed,
    Logs: job::Logs,
    Reading: job::Reading,
    LogsEnd: job::LogsEnd,
    Kill: job::Kill,
    Killed: job::Killed,
    Push: transfer::Push,
    Pull: transfer::Pull,
    Offer: transfer::Offer,
    Have: transfer::Have,
    Hashes: transfer::Hashes,
    Complete: transfer::Complete,
    Done: transfer::Done,
    Copies: transfer::Copies,
    Clean: clean::Clean,
    Cleaned: clean::Cleaned,
    PushTree: tree::PushTree,
    Root: tree::Root,
    Entries: tree::Entries,
    Answers: tree::Answers,
    Begin: tree::Begin,
    Missed: tree::Missed,
    End: tree::End,
    Changes: tree::Changes,
    Settled: tree::Settled,
}
