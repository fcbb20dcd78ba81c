//! Looks at one host again and again, over one connection as long as it lasts.

use std::time::Duration;

use lariat_client::status::Measured;
use lariat_client::{AskError, HostHandle, Session};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::host::Look;
use crate::error::CliError;
use crate::fanout::{End, Failed};

/// How often a host is looked at, unless all of them together are looked at more often than [`MOST`].
const EVERY: Duration = Duration::from_secs(2);

/// The time between two looks at whichever hosts: a look costs this end less than 2 % of it.
const MOST: Duration = Duration::from_millis(5);

/// Looks begin at multiples of this: to wake up once for many of them costs much less than once for each.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long a host may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The longest wait between two attempts to reach a host.
const LONGEST: Duration = Duration::from_secs(30);

/// How often each of so many hosts is looked at.
pub(crate) fn pace(asked: Option<Duration>, hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    asked.unwrap_or_else(|| EVERY.max(MOST.saturating_mul(hosts)))
}

/// The wait after so many failures in a row; `dice` is from 0 to 1. It is anything up to twice the one before, so that
/// hosts that are lost together are not tried together.
fn backoff(failures: u32, dice: f64) -> Duration {
    let most = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(failures.min(16)));
    Duration::from_millis(50) + most.min(LONGEST).mul_f64(dice)
}

/// The next moment at which looks begin.
fn together(moment: Duration) -> Duration {
    let steps = moment.as_millis().div_ceil(TOGETHER.as_millis());
    TOGETHER.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

/// What came of a look at the host with this number.
pub(super) type Told = (usize, Look);

/// What the looks at all hosts have in common.
pub(super) struct Polling {
    pub(super) began: Instant,
    pub(super) every: Duration,
    /// How many looks there are at each host.
    pub(super) looks: Option<u32>,
    pub(super) connect_timeout: Duration,
    /// So many hosts are connected to at a time.
    pub(super) connecting: Semaphore,
    pub(super) tell: Sender<Told>,
}

impl Polling {
    /// Looks at a host until there were enough looks, or nobody wants to know any more.
    pub(super) async fn watch(&self, number: usize, handle: Result<HostHandle, CliError>) {
        let handle = match handle {
            Ok(handle) => handle.reconnecting(Some(Duration::ZERO)),
            Err(error) => {
                let _ = self.tell.send((number, Look::Failure(error.end(), error.line()))).await;
                return;
            }
        };
        let (mut session, mut failures, mut looks) = (None, 0, 0);
        loop {
            let look = match self.look(&handle, session.take()).await {
                Ok((kept, measured)) => {
                    session = Some(kept);
                    failures = 0;
                    Look::Answer(Box::new(measured))
                }
                Err(Failed { end, error }) => {
                    failures += 1;
                    let (line, place) = (error.line(), format!("{}: ", handle.place()));
                    let why = line.strip_prefix(&place).unwrap_or(&line).to_owned();
                    Look::Failure(end, why)
                }
            };
            looks += 1;
            let is_wanted = self.tell.send((number, look)).await.is_ok();
            if !is_wanted || self.looks.is_some_and(|most| looks >= most) {
                break;
            }
            let dice = rand::random::<f64>();
            if let Some(kept) = session.take() {
                // The first waits spread the looks.
                let part = if looks == 1 { dice } else { 0.9 + 0.2 * dice };
                let wait = together(self.began.elapsed() + self.every.mul_f64(part));
                session = rest(kept, self.began + wait).await;
            }
            if session.is_none() {
                // Also where a host ends each connection, which must not cause one after the other.
                sleep(backoff(failures, dice)).await;
            }
        }
        if let Some(session) = session {
            session.leave().await;
        }
    }

    async fn look(
        &self,
        handle: &HostHandle,
        session: Option<Session>,
    ) -> Result<(Session, Measured), Failed> {
        let looked = if let Some(mut session) = session {
            let again = Box::pin(handle.status_again(&mut session));
            timeout(ANSWER, again).await.map(|measured| Ok((session, measured?)))
        } else {
            let _permit = self.connecting.acquire().await;
            timeout(self.connect_timeout + ANSWER, Box::pin(handle.begin_status())).await
        };
        looked.map_or_else(
            |_| {
                let error = CliError::new(format!("no answer within {} s", ANSWER.as_secs()));
                Err(Failed { end: End::TimedOut, error })
            },
            |looked: Result<_, AskError>| looked.map_err(Failed::from),
        )
    }
}

/// Keeps a connection until then, and answers the host's pings. `None` if it ends before that.
async fn rest(mut session: Session, until: Instant) -> Option<Session> {
    // This end has no need to ask whether the host is there: the next look does.
    session.link.reader.ping_after(ANSWER);
    loop {
        match timeout_at(until, session.link.next()).await {
            Err(_) => return Some(session),
            // The last frame of the look's answer.
            Ok(Ok(None)) if session.link.reader.take_finished() => {}
            Ok(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_are_looked_at_less_often() {
        let seconds =
            |asked: Option<u64>, hosts| pace(asked.map(Duration::from_secs), hosts).as_secs_f64();
        let found = [seconds(None, 1), seconds(None, 400), seconds(None, 1000)];
        assert!(found.iter().zip([2.0, 2.0, 5.0]).all(|(found, due)| (found - due).abs() < 1e-9));
        assert!((seconds(Some(1), 5000) - 1.0).abs() < 1e-9, "who asks for it gets it");
        assert!(pace(None, usize::MAX) > EVERY);
    }

    #[test]
    fn looks_begin_together() {
        let ms = |ms| together(Duration::from_millis(ms)).as_millis();
        assert_eq!(
            [0, 1, 100, 101, 2999, 86_400_000].map(ms),
            [0, 100, 100, 200, 3000, 86_400_000]
        );
    }

    #[test]
    fn a_host_that_is_away_is_tried_less_and_less_often_and_never_at_once() {
        let most = |failures| backoff(failures, 1.0).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6].map(most), [2050, 4050, 8050, 16_050, 30_050, 30_050]);
        assert_eq!(backoff(u32::MAX, 1.0), backoff(5, 1.0));
        assert!(backoff(1, 0.0) > Duration::ZERO && backoff(9, 0.5) < backoff(9, 0.6));
    }
}
