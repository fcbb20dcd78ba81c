//! Files to or from one host, one after another over one session, each in as many attempts as it takes.

use std::time::Duration;

use lariat_wire::protocol::Message;

use super::error::AttemptError;
use super::moved::Moved;
use crate::backoff::Flapping;
use crate::connect::Session;
use crate::host::HostHandle;
use crate::retry::Retry;
use crate::watch::Watched;

/// Bytes that may be in flight when a connection breaks, and never arrive.
const UNDER_WAY: u64 = 16 * 1024 * 1024;

/// How long a connection may be silent before another one is tried beside it. What is in flight on the first
/// is lost with it, so a transfer waits a little longer than a command.
const SECOND_AFTER: Duration = Duration::from_secs(4);

/// One file or directory that is to be moved.
pub trait Transfer {
    /// What asks the agent for it.
    type Request: Message;

    /// What asks the agent for it.
    fn request(&self) -> &Self::Request;

    /// Tries to move it over a session on which it was asked for. `moved` counts also when that fails.
    fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> impl Future<Output = Result<(), AttemptError>>;

    /// Whether another attempt can follow one that broke after this much.
    fn can_go_on(&self, moved: &Moved) -> bool;

    /// Whether an attempt can be cancelled in its middle, and another one follow.
    fn can_be_left(&self) -> bool;
}

/// A transfer that was given up.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct GaveUp {
    /// Why the last attempt did not finish.
    #[source]
    pub error: AttemptError,
    /// Why there was no further attempt.
    pub reason: Reason,
    /// Whether the receiver had begun to write.
    pub begun: bool,
}

/// Why there was no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another attempt would fail alike.
    Final,
    /// The host was away for too long. The transfer can be continued later.
    Outage,
    /// This many connections in a row broke before they brought anything worthwhile. The transfer can be
    /// continued later.
    Flapping(u32),
}

/// The transfers to and from one host.
pub struct Transfers<'a> {
    host: &'a HostHandle,
    retry: Retry<'a>,
    /// A link that always breaks is given up.
    patient: bool,
}

impl<'a> Transfers<'a> {
    /// The transfers of one host, which waits for a link that always breaks.
    pub fn new(host: &'a HostHandle) -> Self {
        Self { host, retry: Retry::new(host), patient: true }
    }

    /// The transfers of one host among many: a link that always breaks is given up.
    pub fn one_of_many(host: &'a HostHandle) -> Self {
        Self { patient: false, ..Self::new(host) }
    }

    /// The host.
    pub fn host(&self) -> &'a HostHandle {
        self.host
    }

    /// Closes the session.
    pub async fn close(&mut self) {
        std::mem::replace(&mut self.retry, Retry::new(self.host)).finish().await;
    }

    /// Moves one file or directory, over as many connections as it takes. Returns what was moved, with the
    /// bytes of all attempts.
    pub async fn run<T: Transfer>(&mut self, transfer: &mut T) -> Result<Moved, GaveUp> {
        let mut flapping = Flapping::default();
        let (mut bytes, mut sent) = (0, 0);
        let mut had = None;
        self.retry.anew();
        loop {
            let mut now = Moved::default();
            let attempt = self.attempt(transfer, &mut now).await;
            bytes += now.bytes;
            sent += now.sent;
            let error = match attempt {
                Ok(()) => return Ok(Moved { sent, bytes, ..now }),
                Err(error) => error,
            };
            let has = now.had.or(had);
            let begun = has.is_some() || bytes > 0;
            let give_up = |error, reason| Err(GaveUp { error, reason, begun });
            if !error.may_pass() || !transfer.can_go_on(&now) {
                return give_up(error, Reason::Final);
            }
            if matches!(error, AttemptError::AbortedByFile) {
                continue;
            }
            let got_on = got_on(had, has, now.bytes);
            let brought = has.zip(had).map(|(has, had)| has.saturating_sub(had));
            if let Some(times) = brought.filter(|_| !self.patient).and_then(|b| flapping.broke(b)) {
                return give_up(error, Reason::Flapping(times));
            }
            had = has;
            let error = match error {
                AttemptError::Replaced(session) => {
                    if self.retry.replaced(session, got_on) {
                        continue;
                    }
                    AttemptError::silent()
                }
                error => {
                    if self.retry.broke(got_on).await {
                        continue;
                    }
                    error
                }
            };
            return give_up(error, Reason::Outage);
        }
    }

    async fn attempt<T: Transfer>(
        &mut self,
        transfer: &mut T,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        // A transfer that is asked for twice continues with what the first request has brought.
        let asked = self.retry.ask_again(transfer.request()).await;
        let mut session = asked.map_err(AttemptError::Connect)?;
        let pulse = session.link.reader.pulse().clone();
        let second = transfer.can_be_left().then_some(SECOND_AFTER);
        let attempt = transfer.attempt(&mut session, moved);
        let done = match self.host.watch(&pulse, second, attempt).await {
            Watched::Done(done) => done,
            Watched::Silent => return Err(AttemptError::silent()),
            Watched::Replaced(other) => return Err(AttemptError::Replaced(other)),
        };
        if matches!(done, Ok(()) | Err(AttemptError::Refused(_))) {
            self.retry.keep(session);
        }
        done
    }
}

/// Whether an attempt that broke, or the one before, brought the receiver anything that it keeps. The bytes
/// sent alone do not say so: a connection that always breaks before a whole chunk is there makes no progress.
fn got_on(had: Option<u64>, has: Option<u64>, bytes: u64) -> bool {
    match has {
        Some(has) => had.is_some_and(|had| has > had) || bytes > UNDER_WAY,
        None => bytes > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_receiver_keeps_is_progress() {
        assert!(!got_on(None, Some(0), 500_000));
        assert!(!got_on(Some(0), Some(0), 500_000));
        assert!(got_on(Some(0), Some(512 * 1024), 0));
        assert!(got_on(Some(0), Some(0), UNDER_WAY + 1));
        // Of a tree nothing more is known.
        assert!(got_on(None, None, 1) && !got_on(None, None, 0));
    }
}
