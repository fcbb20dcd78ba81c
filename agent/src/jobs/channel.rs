//! What the agent and a supervisor say to each other over their unix socket.
//!
//! A frame is an 8-byte header (length u32, word u16, zero u16, little-endian), then the payload. The
//! output's bytes do not pass here: the supervisor says how far they reach and hands over the file that they
//! are in.
//!
//! Invariant: a supervisor may be older or newer than the agent that talks to it, since it outlives upgrades.
//! Words are added and never change their number; an end passes over a word that it does not know. What a
//! word carries grows at its end only ([`super::words`]). So everything that both know works.

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

/// The words that this code knows, and what they carry.
pub const VERSION: u16 = 3;

/// Most descriptors that come with one message.
pub(super) const FDS: usize = 2;

/// Most bytes of stdin in one frame, so that a supervisor needs no larger buffer.
pub const STDIN_FRAME: usize = 64 * 1024;

/// The number of the word that carries stdin: a `u64` offset, then the bytes themselves.
pub(super) const STDIN: u16 = 2;

/// The first thing that a supervisor is told; the job's directory and its record come with it.
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
    /// Whom the command runs as, if not as the agent's own user.
    pub become_user: Option<Credentials>,
    /// Bytes of each output stream that are kept, if the job is detached.
    pub log_limit: u64,
    /// Most processes and threads of the job at a time, where they can be counted.
    pub tasks_max: u32,
}

/// A signal for the job. One with the same random bytes is sent once, unless they are all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The host's number for it.
    pub number: u8,
    /// Random bytes.
    pub once: [u8; 16],
}

/// How a job stands when another agent comes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The supervisor's [`VERSION`].
    pub version: u16,
    /// How far the output has come.
    pub range: OutputRange,
}

/// How far a job's output has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRange {
    /// Everything before this was forgotten.
    pub from: Offsets,
    /// Everything before this has come.
    pub upto: Offsets,
}

impl OutputRange {
    /// Whether output can be given from these offsets on.
    pub fn has(&self, offsets: Offsets) -> bool {
        let within = |from, offset, upto| (from..=upto).contains(&offset);
        within(self.from.stdout, offsets.stdout, self.upto.stdout)
            && within(self.from.stderr, offsets.stderr, self.upto.stderr)
    }
}

/// A stream's tail is in the file that comes with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolFile {
    /// Which stream.
    pub stream: Stream,
    /// Size of the file.
    pub capacity: u64,
}

/// What one end says to the other.
pub trait Vocabulary: Sized {
    /// The word's number and its payload.
    fn encode(&self) -> Result<(u16, Vec<u8>), CodecError>;
    /// Reads a word; `None` if this version does not know it.
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
    /// What an agent says. Word 2 carries stdin.
    ToSupervisor {
        /// Run this. Only the first agent says it, and once.
        Begin(Box<Begin>) = 1,
        /// Output that may be forgotten.
        Ack(Offsets) = 3,
        /// Stdin is at its end; its whole length.
        StdinEnd(u64) = 4,
        /// A signal for the job.
        Signal(Signal) = 5,
        /// Everything has reached the controller: there is nothing left to keep.
        Release(()) = 6,
        /// This is the one agent that the job's controller is with: from here on it counts, and no other. The
        /// agent that started the job need not say it. Others only listen, or send a signal.
        Follow(()) = 7,
        /// The job's terminal has another size.
        Resize(Size) = 8,
    }
}

words! {
    /// What a supervisor says. A new agent is told again all that still matters.
    ToAgent {
        /// The first thing that an agent is told that did not start the job, whether it follows or not.
        Hello(Hello) = 1,
        /// The command runs, as this process.
        Started(u32) = 2,
        /// It can't be started, and why; the supervisor leaves.
        NotStarted(NotStarted) = 3,
        /// A stream's tail is in another file.
        Spool(SpoolFile) = 4,
        /// How far each stream reaches.
        Output(Offsets) = 5,
        /// How much of stdin the command has taken.
        StdinTaken(StdinTaken) = 6,
        /// The command has ended.
        Exit(Exit) = 7,
        /// Another agent has taken its place; nothing more comes.
        Replaced(()) = 8,
    }
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
pub fn message(message: &impl Vocabulary) -> Result<Vec<u8>, CodecError> {
    let (word, payload) = message.encode()?;
    Ok([&header(word, payload.len())[..], &payload].concat())
}

/// What precedes up to [`STDIN_FRAME`] bytes of stdin.
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

#[cfg(test)]
mod tests {
    use lariat_base::name::JobId;

    use super::*;
    use crate::jobs::words::{Command, During, End, Streams};

    fn check<V: Vocabulary + PartialEq + std::fmt::Debug>(said: &V, bytes: &str) {
        assert_eq!(hex::encode(message(said).unwrap()), bytes.replace(' ', ""), "{said:?}");
        let (word, payload) = said.encode().unwrap();
        assert_eq!(V::decode(word, &payload).unwrap().as_ref(), Some(said));
        // One of a newer version has more behind it.
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
        };
        check(
            &ToSupervisor::Begin(Box::new(begin)),
            "95000000 0100 0000 0300 1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 00000000 0400000000000000 74727565 \
             00 0100000000000000 0100000000000000 41 0100000000000000 31 02000000 0500000000000000 \
             787465726d 1800 5000 01 0500000000000000 0600000000000000 0000000000000000 \
             0100000000000000 2f 01 01000000 02000000 0100000000000000 02000000 0700000000000000 08000000",
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
    fn what_an_older_version_did_not_say_reads_as_zero_and_a_newer_word_is_passed_over() {
        let older = ToAgent::decode(6, &7_u64.to_le_bytes()).unwrap();
        assert_eq!(older, Some(ToAgent::StdinTaken(StdinTaken { upto: 7, closed: false })));
        assert_eq!(ToAgent::decode(99, b"whatever").unwrap(), None);
        assert_eq!(ToSupervisor::decode(STDIN, b"").unwrap(), None, "stdin is no message");
        assert!(ToAgent::decode(7, &[0xff; 4]).is_err(), "there is no such end");
    }
}
