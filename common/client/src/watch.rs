//! Detects a silent connection. The kernel reports a broken one, but neither a path that drops all packets nor
//! a changed address of this machine: then another connection may get through where the first does not.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_wire::limits::{DEAD_AFTER, PING_AFTER};
use lariat_wire::link::Pulse;
use lariat_wire::protocol::session::{Ping, Pong};
use tokio::time::{sleep, sleep_until, timeout};

use crate::connect::{Session, Stage};
use crate::host::HostHandle;
use crate::outage::TELL_AFTER;

/// How often to check whether this process itself was suspended.
const STEP: Duration = Duration::from_millis(500);

/// A step that takes this much longer means that the process was suspended.
const HELD_UP: Duration = Duration::from_millis(500);

/// How often to check whether a silent peer has spoken.
const LISTEN: Duration = Duration::from_millis(100);

/// The wait between two attempts to get through beside the first connection.
const AGAIN: Duration = Duration::from_millis(700);

/// How work on a connection ended.
pub enum Watched<T> {
    /// The work ended, with this result.
    Done(T),
    /// The connection is silent, and this other one answers.
    Replaced(Box<Session>),
    /// The connection was silent for as long as an outage may last.
    Silent,
}

impl HostHandle {
    /// Runs `work` on the connection with this pulse. Once the connection has been silent for `second`,
    /// although the peer was asked for a sign of life, another one is tried beside it. Work without a `second`
    /// can't be cancelled, and ends by itself.
    pub async fn watch<T>(
        &self,
        pulse: &Pulse,
        second: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Watched<T> {
        // Without reconnecting there is no other connection.
        let second = second.filter(|_| !self.reconnect().is_zero());
        tokio::select! {
            biased;
            done = work => {
                // The caller reports a broken connection; a last frame may have come just now.
                if self.outage().is_before(pulse.silent_since()) {
                    self.outage().back();
                }
                Watched::Done(done)
            }
            silence = Box::pin(self.silence(pulse, second)) => match silence {
                Some(session) => Watched::Replaced(session),
                None => Watched::Silent,
            },
        }
    }

    /// Resolves if the connection has to be given up, with the one that takes its place.
    async fn silence(&self, pulse: &Pulse, second: Option<Duration>) -> Option<Box<Session>> {
        loop {
            let since = silent(pulse, TELL_AFTER).await;
            self.outage().lost(since);
            // The reader itself gives up after [`DEAD_AFTER`].
            let limit = self.reconnect().max(PING_AFTER);
            let is_limited = second.is_some() && limit < DEAD_AFTER;
            tokio::select! {
                biased;
                () = heard(pulse) => self.outage().back(),
                session = self.beside(since + second.unwrap_or_default()), if second.is_some() => {
                    self.outage().back();
                    return Some(Box::new(session));
                }
                never = self.outage().report() => match never {},
                () = sleep_until((since + limit).into()), if is_limited => return None,
            }
        }
    }

    /// Another connection that answers, tried from `at` on.
    async fn beside(&self, at: Instant) -> Session {
        sleep_until(at.into()).await;
        loop {
            let stage = Cell::new(Stage::Connect);
            let answered = async {
                let ping = Ping { nonce: 0 };
                let connected = self.attempt(&ping, true, &stage).await;
                let mut session = connected.ok()?;
                let answer = timeout(self.connect_limit(), session.answer::<Pong>()).await;
                answer.ok()?.ok().map(|_| session)
            };
            if let Some(session) = answered.await {
                return session;
            }
            sleep(AGAIN).await;
        }
    }
}

/// Waits until nothing has come for `long`, and returns since when. Time in which this process was suspended
/// does not count.
pub(crate) async fn silent(pulse: &Pulse, long: Duration) -> Instant {
    let mut held_up = Instant::now();
    loop {
        let now = Instant::now();
        let since = pulse.silent_since().map(|since| since.max(held_up));
        let left = since.map_or(STEP, |since| (since + long).saturating_duration_since(now));
        if let Some(since) = since.filter(|_| left.is_zero()) {
            return since;
        }
        let step = left.min(STEP);
        sleep(step).await;
        let woken = Instant::now();
        if woken - now > step + HELD_UP {
            held_up = woken;
        }
    }
}

/// Waits until the peer has spoken.
async fn heard(pulse: &Pulse) {
    let silence = pulse.silent_since();
    while silence.is_some() && pulse.silent_since() == silence {
        sleep(LISTEN).await;
    }
}
