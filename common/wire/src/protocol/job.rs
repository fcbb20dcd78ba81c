//! Messages about jobs: list them, read the output of detached ones, signal them.
//!
//! ```text
//! controller          agent
//!   List         →
//!                ←    Listed...
//!   Logs         →
//!                ←    Reading, Stdout and Stderr..., LogsEnd | Failed
//!   Kill         →
//!                ←    Killed | Failed
//! ```
//!
//! A key without the verb `keys` sees only its own jobs: these requests treat another key's job as missing.

use serde::{Deserialize, Serialize};

use crate::protocol::exec::{Ack, End, Signal};
use crate::protocol::invalid::Invalid;
use crate::protocol::verb::Verb;
use lariat_base::name::{JobId, KeyId};

/// Most hexadecimal digits of a job's id.
const ID_DIGITS: usize = 32;

/// Lists the key's jobs, including ended ones that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Only jobs whose ids begin with these lower-case hexadecimal digits.
    pub prefix: String,
    /// Includes other keys' jobs.
    pub all_keys: bool,
}

/// Some of the jobs, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// At most [`Listed::MOST`].
    pub jobs: Vec<Job>,
    /// Whether another of these messages follows.
    pub more: bool,
}

impl Listed {
    /// Most jobs in one message.
    pub const MOST: usize = 1000;
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's id.
    pub job: JobId,
    /// The key that started it.
    pub key: KeyId,
    /// Whether it is detached, and so has logs.
    pub detached: bool,
    /// When it began by the host's clock, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended, if it has ended and the time is known.
    pub ended_ms: Option<u64>,
    /// The user that it runs as, if not the agent's own.
    pub user: Option<String>,
    /// The beginning of its command, at most 256 bytes.
    pub command: Vec<u8>,
    /// The job's state.
    pub state: State,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It runs.
    Running,
    /// It has ended.
    Ended(End),
    /// Its supervisor died, so how it ended is not known.
    Died {
        /// Whether the whole host went down: it has been booted since.
        with_host: bool,
    },
}

/// Reads a detached job's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The job.
    pub job: JobId,
    /// Where to begin.
    pub from: Start,
    /// Whether to continue until the job has ended.
    pub follow: bool,
    /// Whether it may be another key's job.
    pub all_keys: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// At the first bytes that are kept.
    Beginning,
    /// This many lines before the end of each stream.
    Lines(u64),
    /// At these offsets, or after them if they are no longer kept.
    Offsets(Ack),
}

/// Reports the offsets at which the output begins. A gap between two later frames shows that the bytes in
/// between were not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Offset of the first byte of each stream.
    pub from: Ack,
}

/// Reports the end of the output, or of what exists now if the request does not follow the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsEnd {
    /// How far each stream was sent.
    pub upto: Ack,
    /// The job's state.
    pub state: State,
}

/// Sends a signal to every process of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The job.
    pub job: JobId,
    /// The signal.
    pub signal: Signal,
    /// Random bytes. The supervisor sends a signal only once for the same bytes, so that a request whose
    /// answer was lost can be repeated.
    pub once: [u8; 16],
    /// Whether it may be another key's job.
    pub all_keys: bool,
}

/// Confirms that the job was sent the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed;

impl List {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let valid = self.prefix.len() <= ID_DIGITS && self.prefix.bytes().all(is_digit);
        if valid { Ok(()) } else { Err(Invalid::JobPrefix) }
    }
}

impl Kill {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.signal.check()
    }
}

/// The verb for requests about jobs: those of other keys need more than one's own.
pub(super) fn verb(all_keys: bool) -> Verb {
    if all_keys { Verb::Keys } else { Verb::Jobs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_some_digits_of_an_id() {
        let check = |prefix: &str| List { prefix: prefix.to_owned(), all_keys: false }.check();
        for good in ["", "0af", &"a".repeat(32)] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in ["A", "g", "/", &"a".repeat(33)] {
            assert_eq!(check(bad), Err(Invalid::JobPrefix), "{bad}");
        }
    }

    #[test]
    fn signals_are_1_to_64() {
        let check = |number| {
            let (job, signal, once) = (JobId([0; 16]), Signal { number }, [0; 16]);
            Kill { job, signal, once, all_keys: false }.check()
        };
        assert_eq!([0, 1, 64, 65].map(|number| check(number).is_ok()), [false, true, true, false]);
    }
}
