//! The protocol between the agent and a supervisor, over a unix socket.
//!
//! A frame is an 8-byte header (length u32, word u16, zero u16, little-endian), then the payload. The command's
//! output is not sent in frames: the supervisor announces how far it reaches and passes the descriptor of the
//! file that contains it.
//!
//! Invariant: a supervisor outlives upgrades, so it may be older or newer than the agent that connects to it.
//! Words are added and never change their number, and both ends skip words that they do not know. A word's
//! payload only grows at its end ([`super::words`]). So everything that both versions know keeps working.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use lariat_wire::codec::{self, CodecError};
use lariat_wire::frame::HEADER_LEN;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};

use super::stream::Stream;
use super::words::{Exit, NotStarted, Offsets, Run, Size, StdinTaken};
use crate::user::Credentials;

/// The version of the words below and their payloads.
pub const VERSION: u16 = 5;

/// Most descriptors in one message.
pub(super) const FDS: usize = 2;

/// Most bytes of stdin in one frame, so that a supervisor needs no larger buffer.
pub const STDIN_FRAME: usize = 64 * 1024;

/// The number of the word that carries stdin: a `u64` offset, then the bytes themselves.
pub(super) const STDIN: u16 = 2;

/// The first message to a supervisor; the descriptors of the job's directory and of its record come with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The agent's [`VERSION`].
    pub version: u16,
    /// What to run.
    pub run: Run,
    /// The clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The user's home.
    pub home: Vec<u8>,
    /// The user the command runs as, if not the agent's own.
    pub become_user: Option<Credentials>,
    /// Bytes of each output stream to keep, if the job is detached.
    pub log_limit: u64,
    /// Most processes and threads of the job at a time, where the kernel can count them.
    pub tasks_max: u32,
    /// The program's path, if it has been looked up already.
    pub program: Option<Vec<u8>>,
    /// Most bytes of memory of the job, where the kernel can count them.
    pub memory_max: u64,
}

/// A signal for the job. Signals with the same random bytes are sent once, unless the bytes are all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The host's number for it.
    pub number: u8,
    /// Random bytes.
    pub once: [u8; 16],
}

/// The job's state, for an agent that connects to a running supervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The supervisor's [`VERSION`].
    pub version: u16,
    /// Which output can be read.
    pub range: OutputRange,
}

/// The range of a job's output that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRange {
    /// Everything before these offsets was acknowledged and dropped.
    pub from: Offsets,
    /// Offsets behind the last byte that was written.
    pub upto: Offsets,
}

impl OutputRange {
    /// Whether output can be read from these offsets on.
    pub fn has(&self, offsets: Offsets) -> bool {
        let within = |from, offset, upto| (from..=upto).contains(&offset);
        within(self.from.stdout, offsets.stdout, self.upto.stdout)
            && within(self.from.stderr, offsets.stderr, self.upto.stderr)
    }
}

/// Announces the file that contains a stream's tail; its descriptor comes with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolFile {
    /// Which stream.
    pub stream: Stream,
    /// Size of the file.
    pub capacity: u64,
}

/// The messages of one end.
pub trait Vocabulary: Sized {
    /// The word's number and its payload.
    fn encode(&self) -> Result<(u16, Vec<u8>), CodecError>;
    /// Decodes a word, or returns `None` if this version does not know it.
    fn decode(word: u16, payload: &[u8]) -> Result<Option<Self>, CodecError>;
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $word:ident($type:ty) = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $word($type),)*
        }

        impl Vocabulary for $name {
            fn encode(&self) -> Result<(u16, Vec<u8>), CodecError> {
                match self {
                    $(Self::$word(payload) => Ok(($number, codec::encode(payload)?)),)*
                }
            }

            fn decode(word: u16, payload: &[u8]) -> Result<Option<Self>, CodecError> {
                Ok(match word {
                    $($number => Some(Self::$word(codec::decode_grown(payload)?)),)*
                    _ => None,
                })
            }
        }
    };
}

words! {
    /// Messages from an agent. Word 2, which carries stdin, is not listed.
    ToSupervisor {
        /// Run this command. Only the first agent sends it, and once.
        Begin(Box<Begin>) = 1,
        /// Output up to these offsets can be dropped.
        Ack(Offsets) = 3,
        /// Stdin has ended, with this total length.
        StdinEnd(u64) = 4,
        /// A signal for the job.
        Signal(Signal) = 5,
        /// The controller has received everything: nothing needs to be kept.
        Release(()) = 6,
        /// This agent's session follows the job: it replaces the session that did before, acknowledges output
        /// and sends stdin. The agent that started the job need not send this. Other agents only observe the
        /// job, or send signals.
        Follow(()) = 7,
        /// The job's terminal was resized.
        Resize(Size) = 8,
        /// The job is to end, with all that its command has left behind.
        End(()) = 9,
    }
}

words! {
    /// Messages from a supervisor. A new agent receives everything that still matters again.
    ToAgent {
        /// The first message to an agent that did not start the job, whether it follows the job or not.
        Hello(Hello) = 1,
        /// The command runs, with this process id.
        Started(u32) = 2,
        /// The command can't be started, and why. The supervisor then exits.
        NotStarted(NotStarted) = 3,
        /// A stream's tail moved to another file.
        Spool(SpoolFile) = 4,
        /// The end of each output stream.
        Output(Offsets) = 5,
        /// How much of stdin the command has read.
        StdinTaken(StdinTaken) = 6,
        /// The command has ended.
        Exit(Exit) = 7,
        /// Another session follows the job now. This is the last message.
        Replaced(()) = 8,
    }
}

/// Why communication with a supervisor failed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed.
    #[error("the supervisor's socket failed: {0}")]
    Io(#[from] io::Error),
    /// The other end closed the connection.
    #[error("the other end is gone")]
    Gone,
    /// The received bytes are not a frame.
    #[error("malformed frame")]
    Malformed,
    /// The frame's payload can't be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Encodes a message as a frame.
pub fn message(message: &impl Vocabulary) -> Result<Vec<u8>, CodecError> {
    let (word, payload) = message.encode()?;
    Ok([&header(word, payload.len())[..], &payload].concat())
}

/// The header of a frame with up to [`STDIN_FRAME`] bytes of stdin.
pub fn stdin_header(offset: u64, len: usize) -> [u8; HEADER_LEN + 8] {
    let mut bytes = [0; HEADER_LEN + 8];
    bytes[..HEADER_LEN].copy_from_slice(&header(STDIN, len + 8));
    bytes[HEADER_LEN..].copy_from_slice(&offset.to_le_bytes());
    bytes
}

fn header(word: u16, len: usize) -> [u8; HEADER_LEN] {
    let len = u32::try_from(len).expect("messages are limited to far less than 4 GiB");
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..6].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Sends bytes once; the descriptors are attached to the first byte.
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

/// Sends all of a message, blocking if necessary.
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
    use lariat_base::name::JobId;

    use super::*;
    use crate::jobs::words::{Command, During, End, Streams};

    fn check<V: Vocabulary + PartialEq + std::fmt::Debug>(said: &V, bytes: &str) {
        assert_eq!(hex::encode(message(said).unwrap()), bytes.replace(' ', ""), "{said:?}");
        let (word, payload) = said.encode().unwrap();
        assert_eq!(V::decode(word, &payload).unwrap().as_ref(), Some(said));
        // A newer version may append fields.
        let newer = [&payload[..], &[9; 5]].concat();
        assert_eq!(V::decode(word, &newer).unwrap().as_ref(), Some(said));
    }

    #[test]
    fn each_word_has_these_bytes_in_every_version() {
        let run = Run {
            job: JobId([0x1d; 16]),
            command: Command::Shell(b"true".to_vec()),
            cwd: None,
            env: vec![(b"A".to_vec(), b"1".to_vec())],
            streams: Streams::Terminal {
                term: b"xterm".to_vec(),
                size: Size { rows: 24, columns: 80 },
            },
            timeout_ms: Some(5),
            grace_ms: 6,
        };
        let begin = Begin {
            version: VERSION,
            run,
            env: vec![],
            home: b"/".to_vec(),
            become_user: Some(Credentials { uid: 1, gid: 2, groups: vec![2] }),
            log_limit: 7,
            tasks_max: 8,
            program: Some(b"/x".to_vec()),
            memory_max: 9,
        };
        check(
            &ToSupervisor::Begin(Box::new(begin)),
            "a8000000 0100 0000 0500 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 00000000 0400000000000000 74727565 \
             00 0100000000000000 0100000000000000 41 0100000000000000 31 02000000 0500000000000000 \
             787465726d 1800 5000 01 0500000000000000 0600000000000000 0000000000000000 \
             0100000000000000 2f 01 01000000 02000000 0100000000000000 02000000 0700000000000000 08000000 \
             01 0200000000000000 2f78 0900000000000000",
        );
        let offsets = Offsets { stdout: 1, stderr: 2 };
        check(&ToSupervisor::Ack(offsets), "10000000 0300 0000 0100000000000000 0200000000000000");
        check(&ToSupervisor::StdinEnd(9), "08000000 0400 0000 0900000000000000");
        let signal = Signal { number: 15, once: [0x0c; 16] };
        check(
            &ToSupervisor::Signal(signal),
            "11000000 0500 0000 0f 0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
        );
        check(&ToSupervisor::Release(()), "00000000 0600 0000");
        check(&ToSupervisor::Follow(()), "00000000 0700 0000");
        let size = Size { rows: 24, columns: 80 };
        check(&ToSupervisor::Resize(size), "04000000 0800 0000 1800 5000");
        let range = OutputRange { from: offsets, upto: Offsets { stdout: 3, stderr: 4 } };
        check(
            &ToAgent::Hello(Hello { version: 3, range }),
            "22000000 0100 0000 0300 0100000000000000 0200000000000000 0300000000000000 0400000000000000",
        );
        check(&ToAgent::Started(258), "04000000 0200 0000 02010000");
        let path = Some(b"/x".to_vec());
        let failed = NotStarted { during: During::EnterDirectory, path, errno: 2 };
        check(
            &ToAgent::NotStarted(failed),
            "13000000 0300 0000 01000000 01 0200000000000000 2f78 02000000",
        );
        let spool = SpoolFile { stream: Stream::Stderr, capacity: 5 };
        check(&ToAgent::Spool(spool), "0c000000 0400 0000 01000000 0500000000000000");
        check(&ToAgent::Output(offsets), "10000000 0500 0000 0100000000000000 0200000000000000");
        let taken = StdinTaken { upto: 7, closed: true };
        check(&ToAgent::StdinTaken(taken), "09000000 0600 0000 0700000000000000 01");
        let exit = Exit { end: End::Exited(3), output: offsets };
        check(
            &ToAgent::Exit(exit),
            "15000000 0700 0000 00000000 03 0100000000000000 0200000000000000",
        );
        check(&ToAgent::Replaced(()), "00000000 0800 0000");
    }

    #[test]
    fn missing_fields_are_zero_and_newer_words_are_skipped() {
        let older = ToAgent::decode(6, &7_u64.to_le_bytes()).unwrap();
        assert_eq!(older, Some(ToAgent::StdinTaken(StdinTaken { upto: 7, closed: false })));
        assert_eq!(ToAgent::decode(99, b"whatever").unwrap(), None);
        assert_eq!(ToSupervisor::decode(STDIN, b"").unwrap(), None, "stdin is no message");
        assert!(ToAgent::decode(7, &[0xff; 4]).is_err(), "there is no such end");
    }
}
