//! What a job's record says, as it lies in its folder: two messages, the second once it has ended.

use std::fs::File;
use std::io::{self, Read, Write};

use lariat_common::codec;
use lariat_common::name::{BootId, KeyId};
use lariat_common::protocol::exec::Exit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Most bytes of the command that its record shows.
const SUMMARY: usize = 256;

/// What is written down of a job before its command is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The words that its supervisor knows: [`super::channel::VERSION`].
    pub version: u16,
    /// Whose job it is.
    pub key: KeyId,
    /// The boot of the host that it ran in.
    pub boot: BootId,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// Whether it is detached, so that its output is kept.
    pub kept: bool,
    /// Whom it runs as, if not as the agent's own user.
    pub user: Option<String>,
    /// The beginning of its command.
    pub summary: Vec<u8>,
}

impl Record {
    /// The part of a command that a record shows.
    pub fn summary(command: &[u8]) -> Vec<u8> {
        command[..command.len().min(SUMMARY)].to_vec()
    }

    /// Writes it down, as the first thing in the file.
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        file.write_all(&prefixed(self)?)
    }

    /// Reads a file that [`Self::write`] and perhaps [`add_exit`] have written.
    pub(super) fn read(mut file: &File) -> io::Result<(Self, Option<Exit>)> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let record = take(&mut rest)?.ok_or(io::ErrorKind::InvalidData)?;
        // An end that was cut off by the host's was not written down.
        Ok((record, take(&mut rest).unwrap_or(None)))
    }
}

/// Writes down how a job ended, behind its record.
pub(super) fn add_exit(mut file: &File, exit: &Exit) -> io::Result<()> {
    file.write_all(&prefixed(exit)?)
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its supervisor lives: its command runs, or it has ended so and its output waits for somebody to
    /// come for it.
    Alive(Option<Exit>),
    /// It ended, and that was written down: nobody came for it, or nobody need come.
    Over(Exit),
    /// Its supervisor died.
    Dead,
}

/// A length, then the message.
fn prefixed<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let payload = codec::encode(message).map_err(io::Error::other)?;
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    Ok([&len.to_le_bytes()[..], &payload].concat())
}

/// Takes the next message off the front; none when there is none.
fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> io::Result<Option<T>> {
    let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    let payload = rest.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = &rest[len..];
    codec::decode(payload).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}
