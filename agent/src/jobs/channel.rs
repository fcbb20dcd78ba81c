//! What the agent and a supervisor say to each other over their unix socket.
//!
//! Frames have the wire's shape: an 8-byte header (length u32, word u16, flags u16, little-endian),
//! then the payload. The output's bytes do not pass here: the supervisor says how far they reach and
//! hands over the file that they are in.
//!
//! Invariant: a supervisor may be older than the agent that talks to it, since it outlives upgrades.
//! The enums here only ever grow at their ends, and [`VERSION`] says which words are known.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use lariat_wire::codec::{self, CodecError};
use lariat_wire::frame::HEADER_LEN;
use lariat_wire::protocol::exec::{Ack, Exit, Resize, Run, Signal, Started, StdinEnd, StdinTaken};
use lariat_wire::protocol::failure::Failure;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};

use super::spool::Stream;
use crate::user::Credentials;

/// The words that this code knows.
pub const VERSION: u16 = 2;

/// The first [`VERSION`] that knows [`ToSupervisor::SignalOnce`].
pub const SIGNALS_ONCE: u16 = 2;

/// Most descriptors that come with one message.
pub(super) const FDS: usize = 2;

/// Most bytes of stdin in one frame, so that a supervisor needs no larger buffer.
pub const STDIN_FRAME: usize = 64 * 1024;

/// The first thing that a supervisor is told; the job's directory and its record come with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// The agent's [`VERSION`].
    pub version: u16,
    /// What to run.
    pub run: Run,
    /// The clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The user's home.
    pub home: Vec<u8>,
    /// Whom the command runs as, if not as the agent's own user.
    pub become_user: Option<Credentials>,
    /// Bytes of each output stream that are kept, if the job is detached.
    pub log_limit: u64,
    /// Most processes and threads of the job at a time, where they can be counted.
    pub tasks_max: u32,
}

/// What an agent says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// Run this. Only the first agent says it, and once.
    Begin(Box<Begin>),
    /// Output that may be forgotten.
    Ack(Ack),
    /// Stdin is at its end.
    StdinEnd(StdinEnd),
    /// A signal for the job.
    Signal(Signal),
    /// Everything has reached the controller: there is nothing left to keep.
    Release,
    /// This is the one agent that the job's controller is with: from here on it counts, and no other.
    /// The agent that started the job need not say it. Others only listen, or send a signal.
    Follow,
    /// The job's terminal has another size.
    Resize(Resize),
    /// A signal for the job, unless one came with the same bytes before.
    SignalOnce {
        /// The signal.
        signal: Signal,
        /// Random bytes.
        once: [u8; 16],
    },
}

/// What a supervisor says. A new agent is told again all that still matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The command runs.
    Started(Started),
    /// It can't be run, and why; the supervisor leaves.
    Failed(Failure),
    /// A stream's tail is in the file that comes with this.
    Spool {
        /// Which stream.
        stream: Stream,
        /// Size of the file.
        capacity: u64,
    },
    /// How far each stream reaches.
    Output(Ack),
    /// How much of stdin the command has taken.
    StdinTaken(StdinTaken),
    /// The command has ended.
    Exit(Exit),
    /// The first thing that an agent is told that did not start the job, whether it follows or not.
    OutputRange(OutputRange),
    /// Another agent has taken its place; nothing more comes.
    Replaced,
}

/// How far a job's output has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRange {
    /// Everything before this was forgotten.
    pub from: Ack,
    /// Everything before this has come.
    pub upto: Ack,
}

impl OutputRange {
    /// Whether output can be given from these offsets on.
    pub fn has(&self, offsets: Ack) -> bool {
        let within = |from, offset, upto| (from..=upto).contains(&offset);
        within(self.from.stdout, offsets.stdout, self.upto.stdout)
            && within(self.from.stderr, offsets.stderr, self.upto.stderr)
    }
}

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Word {
    /// A [`ToSupervisor`] or [`ToAgent`].
    Message = 1,
    /// `u64` offset, then bytes of stdin.
    Stdin = 2,
}

/// Why a conversation can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("the supervisor's socket failed: {0}")]
    Io(#[from] io::Error),
    /// The other end is gone.
    #[error("the other end is gone")]
    Gone,
    /// What came is no frame.
    #[error("malformed frame")]
    Malformed,
    /// What came is no message.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A message's frame.
pub fn message<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let payload = codec::encode(message)?;
    Ok([&header(Word::Message, payload.len())[..], &payload].concat())
}

/// What precedes up to [`STDIN_FRAME`] bytes of stdin.
pub fn stdin_header(offset: u64, len: usize) -> [u8; HEADER_LEN + 8] {
    let mut bytes = [0; HEADER_LEN + 8];
    bytes[..HEADER_LEN].copy_from_slice(&header(Word::Stdin, len + 8));
    bytes[HEADER_LEN..].copy_from_slice(&offset.to_le_bytes());
    bytes
}

fn header(word: Word, len: usize) -> [u8; HEADER_LEN] {
    let len = u32::try_from(len).expect("messages are limited to far less than 4 GiB");
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..6].copy_from_slice(&(word as u16).to_le_bytes());
    bytes
}

/// Sends bytes, with descriptors that belong to their first one.
pub fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::net::sendmsg(socket, parts, &mut control, flags | SendFlags::NOSIGNAL)?)
}

/// Sends all of a message, waiting where it must.
pub fn send_all(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = send(socket.as_fd(), &[IoSlice::new(bytes)], fds, SendFlags::empty())?;
    while sent < bytes.len() {
        let rest = [IoSlice::new(&bytes[sent..])];
        sent += send(socket.as_fd(), &rest, &[], SendFlags::empty())?;
    }
    Ok(())
}
