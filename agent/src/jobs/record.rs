//! A job's record, as stored in its directory: the [`Record`], then a [`Mark`] before its command is started
//! and another when it has ended.
//!
//! Each is preceded by its length as `u32`. Later versions may append fields to each, and earlier ones ignore
//! them: an agent understands the records of any version.

use std::fs::File;
use std::io::{self, Read, Write};

use lariat_base::name::{BootId, KeyId};
use lariat_wire::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::words::Exit;

/// Most bytes of the command in its record.
const SUMMARY: usize = 256;

/// The part of a job's record that is written before its command is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the agent that started the job: [`super::channel::VERSION`].
    pub version: u16,
    /// The key that started it.
    pub key: KeyId,
    /// The boot of the host that it ran in.
    pub boot: BootId,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// Whether it is detached, so that its output is logged.
    pub detached: bool,
    /// The user it runs as, if not the agent's own.
    pub user: Option<String>,
    /// The beginning of its command.
    pub summary: Vec<u8>,
}

/// Stands for the command of a login shell.
pub(super) const LOGIN_SHELL: &[u8] = b"(login shell)";

impl Record {
    /// Whether it is a login shell.
    pub fn is_login_shell(&self) -> bool {
        self.summary == LOGIN_SHELL
    }

    /// The part of a command that its record contains.
    pub fn summary(command: &[u8]) -> Vec<u8> {
        command[..command.len().min(SUMMARY)].to_vec()
    }

    /// Writes the record at the beginning of the file.
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        file.write_all(&prefixed(self)?)
    }

    /// Reads a file that [`Self::write`] and perhaps [`Mark::add`] wrote.
    pub(super) fn read(mut file: &File) -> io::Result<(Self, Progress)> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let record = take(&mut rest)?.ok_or(io::ErrorKind::InvalidData)?;
        let mut progress = Progress::default();
        // A mark that a crash of the host truncated does not count.
        while let Ok(Some(mark)) = take(&mut rest) {
            match mark {
                Mark::Began => progress.began = true,
                Mark::Ended(exit) => progress.exit = Some(exit),
            }
        }
        Ok((record, progress))
    }
}

/// What its supervisor appends to a job's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mark {
    /// The command is about to be started: from here on it may have run.
    Began,
    /// The command has ended.
    Ended(Exit),
}

impl Mark {
    /// Appends the mark to the record.
    pub(super) fn add(self, mut file: &File) -> io::Result<()> {
        file.write_all(&prefixed(&self)?)
    }
}

/// How far a job came, by its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Its command may have run.
    pub(super) began: bool,
    /// Its exit, if it has ended.
    pub(super) exit: Option<Exit>,
}

/// A job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its supervisor runs: the command runs, or it has ended with this exit and its output waits for a
    /// controller.
    Alive(Option<Exit>),
    /// It ended, and its exit is in the record.
    Over(Exit),
    /// Its supervisor died.
    Dead,
    /// Its command was not started, and will not be: the agent died before a supervisor received it.
    NeverBegan,
}

/// Encodes a message, preceded by its length.
fn prefixed<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let payload = codec::encode(message).map_err(io::Error::other)?;
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    Ok([&len.to_le_bytes()[..], &payload].concat())
}

/// Pops the next message, or returns `None` if nothing is left.
fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> io::Result<Option<T>> {
    let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    let payload = rest.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = &rest[len..];
    codec::decode_grown(payload).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;
    use crate::jobs::words::{End, Offsets};

    /// Other releases of the agent read these bytes.
    #[test]
    fn a_record_is_these_bytes() {
        let record = Record {
            version: 1,
            key: KeyId([1; 16]),
            boot: BootId([2; 16]),
            began_ms: 3,
            detached: true,
            user: Some("nobody".to_owned()),
            summary: b"true".to_vec(),
        };
        let mut file = tempfile::tempfile().unwrap();
        record.write(&file).unwrap();
        Mark::Began.add(&file).unwrap();
        let exit = Exit { end: End::Exited(3), output: Offsets { stdout: 4, stderr: 5 } };
        Mark::Ended(exit).add(&file).unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(
            hex::encode(&bytes),
            "46000000010001010101010101010101010101010101020202020202020202020202020202020300\
             000000000000010106000000000000006e6f626f6479040000000000000074727565040000000000\
             00001900000001000000000000000304000000000000000500000000000000"
        );
        file.rewind().unwrap();
        let progress = Progress { began: true, exit: Some(exit) };
        assert_eq!(Record::read(&file).unwrap(), (record, progress));
    }

    /// Records of a version with fewer fields and of one with more.
    #[test]
    fn records_of_other_versions_are_understood() {
        let older = "27000000 0200 01010101010101010101010101010101 02020202020202020202020202020202 \
                     0300000000000000 00 04000000 00000000";
        let newer = "3a000000 0900 01010101010101010101010101010101 02020202020202020202020202020202 \
                     0300000000000000 01 00 0400000000000000 74727565 abcd \
                     17000000 01000000 00000000 07 0100000000000000 0200000000000000 ef 77";
        for (bytes, detached, end) in [(older, false, None), (newer, true, Some(End::Exited(7)))] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&hex::decode(bytes.replace(' ', "")).unwrap()).unwrap();
            file.rewind().unwrap();
            let (record, progress) = Record::read(&file).unwrap();
            assert_eq!((record.key, record.began_ms), (KeyId([1; 16]), 3));
            assert_eq!((record.detached, record.user), (detached, None));
            assert_eq!(progress.exit.map(|exit| exit.end), end);
        }
    }
}
