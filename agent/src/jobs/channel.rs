//! What the agent and a supervisor say to each other over their unix socket.
//!
//! Frames have the wire's shape: an 8-byte header (length u32, word u16, flags u16, little-endian),
//! then the payload. The output's bytes do not pass here: the supervisor says how far they reach and
//! hands over the file that they are in.
//!
//! Invariant: a supervisor may be older than the agent that talks to it, since it outlives upgrades.
//! The enums here only ever grow at their ends, and [`VERSION`] says which words are known.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lariat_common::codec::{self, CodecError};
use lariat_common::frame::HEADER_LEN;
use lariat_common::limits::MAX_FRAME;
use lariat_common::protocol::exec::{Ack, Exit, Run, Signal, Started, StdinEnd, StdinTaken};
use lariat_common::protocol::failure::Failure;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::spool::Stream;

/// The words that this code knows.
pub const VERSION: u16 = 1;

/// Most descriptors that come with one message.
const FDS: usize = 2;

/// Bytes that an inbox has room for before a larger frame comes.
const READ: usize = 4 * 1024;

/// Most bytes of stdin in one frame, so that a supervisor needs no larger buffer.
pub const STDIN_FRAME: usize = 64 * 1024;

/// The first thing that a supervisor is told; the job's folder and its record come with it.
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

/// What has come and was not looked at yet: bytes and descriptors.
#[derive(Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    fds: VecDeque<OwnedFd>,
}

/// One frame of an [`Inbox`].
pub struct Frame<'a> {
    /// What the payload is.
    pub word: Word,
    /// The payload.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Decodes a message.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, ChannelError> {
        match self.word {
            Word::Message => Ok(codec::decode(self.payload)?),
            Word::Stdin => Err(ChannelError::Malformed),
        }
    }

    /// The offset and bytes of a piece of stdin.
    pub fn stdin(&self) -> Result<(u64, &[u8]), ChannelError> {
        let (offset, bytes) = self.payload.split_first_chunk().ok_or(ChannelError::Malformed)?;
        Ok((u64::from_le_bytes(*offset), bytes))
    }
}

impl Inbox {
    /// Receives once from a socket. An end is [`ChannelError::Gone`]; nothing there, when asked not to
    /// wait, is [`io::ErrorKind::WouldBlock`].
    pub fn receive(&mut self, socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<usize> {
        self.make_room();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.buffer[self.end..])];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let came = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.end += came.bytes;
        Ok(came.bytes)
    }

    /// The next whole frame, or `None` when more must be received first.
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, ChannelError> {
        let Some((word, len)) = self.peek()? else { return Ok(None) };
        let from = self.start + HEADER_LEN;
        if self.end - from < len {
            return Ok(None);
        }
        self.start = from + len;
        Ok(Some(Frame { word, payload: &self.buffer[from..from + len] }))
    }

    /// The next descriptor that came with a frame.
    pub fn fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Gives back the room that a large frame has taken.
    pub fn shrink(&mut self) {
        if self.start == self.end {
            *self = Self { fds: std::mem::take(&mut self.fds), ..Self::default() };
        }
    }

    fn peek(&self) -> Result<Option<(Word, usize)>, ChannelError> {
        let Some((header, _)) = self.buffer[self.start..self.end].split_first_chunk() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, w0, w1, f0, f1]: [u8; HEADER_LEN] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let word = match u16::from_le_bytes([w0, w1]) {
            1 => Word::Message,
            2 => Word::Stdin,
            _ => return Err(ChannelError::Malformed),
        };
        if len > MAX_FRAME || [f0, f1] != [0, 0] {
            return Err(ChannelError::Malformed);
        }
        Ok(Some((word, len)))
    }

    /// Moves what is left to the front, and makes room for the frame that has begun.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let frame = self.peek().ok().flatten().map_or(0, |(_, len)| HEADER_LEN + len);
        let wanted = READ.max(frame);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        debug_assert!(
            self.end < self.buffer.len(),
            "a whole frame is taken before more is received"
        );
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn frames_arrive_whole_with_their_descriptors_whatever_the_pieces() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ack = ToSupervisor::Ack(Ack { stdout: 1, stderr: 2 });
        let bytes = message(&ack).unwrap();
        let mut inbox = Inbox::default();
        for (at, byte) in bytes.iter().enumerate() {
            assert!(inbox.frame().unwrap().is_none());
            let fds = [theirs.as_fd()];
            let fds = if at == 0 { &fds[..] } else { &[] };
            send(ours.as_fd(), &[IoSlice::new(&[*byte])], fds, SendFlags::empty()).unwrap();
            inbox.receive(theirs.as_fd(), RecvFlags::empty()).unwrap();
        }
        let frame = inbox.frame().unwrap().unwrap();
        assert!(matches!(
            frame.message().unwrap(),
            ToSupervisor::Ack(Ack { stdout: 1, stderr: 2 })
        ));
        assert!(inbox.fd().is_some());
        assert!(inbox.fd().is_none());
        assert!(inbox.frame().unwrap().is_none());
    }

    #[test]
    fn stdin_carries_its_offset() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let head = stdin_header(7, 3);
        send_all(&ours, &[&head[..], b"abc"].concat(), &[]).unwrap();
        let mut inbox = Inbox::default();
        inbox.receive(theirs.as_fd(), RecvFlags::empty()).unwrap();
        let frame = inbox.frame().unwrap().unwrap();
        assert_eq!(frame.stdin().unwrap(), (7, &b"abc"[..]));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [[0, 0, 0, 0, 9, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1, 0], [255; 8]] {
            let mut inbox = Inbox { buffer: bytes.to_vec(), end: 8, ..Inbox::default() };
            assert!(inbox.frame().is_err());
        }
    }
}
