//! Words about jobs that go on by themselves: which there are, what they have written, how to end them.
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
//! A key without the verb `keys` has only its own jobs: to all of these, another's is as if it were not there.

use serde::{Deserialize, Serialize};

use crate::protocol::exec::{Ack, End, Signal};
use crate::protocol::invalid::Invalid;
use crate::protocol::verb::Verb;
use lariat_base::name::{JobId, KeyId};

/// Most hexadecimal digits of a job's id.
const ID_DIGITS: usize = 32;

/// Asks for the key's jobs, those that have ended and are kept included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Only those whose ids begin with these hexadecimal digits, in lower case.
    pub prefix: String,
    /// Other keys' jobs too.
    pub all_keys: bool,
}

/// Some of the jobs, the oldest first.
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

/// A job as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub job: JobId,
    /// The key that started it.
    pub key: KeyId,
    /// Whether it is detached, and so has logs.
    pub detached: bool,
    /// When it began by the host's clock, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended, if it has and that is known.
    pub ended_ms: Option<u64>,
    /// Whom it runs as, if not as the agent's own user.
    pub user: Option<String>,
    /// The beginning of its command, at most 256 bytes.
    pub command: Vec<u8>,
    /// What became of it.
    pub state: State,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It runs.
    Running,
    /// It has ended like this.
    Ended(End),
    /// The process that watched over it died: how it ended is not known.
    Died {
        /// The whole host did: it has been started since.
        with_host: bool,
    },
}

/// Asks for a detached job's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The job.
    pub job: JobId,
    /// From where on.
    pub from: Start,
    /// Whether to go on until the job has ended.
    pub follow: bool,
    /// It may be another key's job.
    pub all_keys: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// At the first bytes that are kept.
    Beginning,
    /// This many lines before the end of each stream.
    Lines(u64),
    /// At these offsets, or behind them if they are not kept any more.
    Offsets(Ack),
}

/// The output comes from these offsets on. A frame that begins behind the one before shows that what is
/// between them was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Bytes of each stream before what comes.
    pub from: Ack,
}

/// There is no more output, or none now for who does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsEnd {
    /// How far each stream was sent.
    pub upto: Ack,
    /// What became of the job.
    pub state: State,
}

/// A signal for every process of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The job.
    pub job: JobId,
    /// Which signal.
    pub signal: Signal,
    /// Random bytes. The supervisor sends a signal with these bytes once, so that a request whose answer was
    /// lost can be repeated.
    pub once: [u8; 16],
    /// It may be another key's job.
    pub all_keys: bool,
}

/// The job was sent the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed;

impl List {
    /// Checks what the type alone can't.
    pub fn check(&self) -> Result<(), Invalid> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let valid = self.prefix.len() <= ID_DIGITS && self.prefix.bytes().all(is_digit);
        if valid { Ok(()) } else { Err(Invalid::JobPrefix) }
    }
}

impl Kill {
    /// Checks what the type alone can't.
    pub fn check(&self) -> Result<(), Invalid> {
        self.signal.check()
    }
}

/// The verb for looking at jobs: those of one key are its own business.
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
