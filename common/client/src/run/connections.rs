//! Follows commands over consecutive connections, until a command's end is known or nothing more can be done.
//!
//! A connection serves one command after another; when it breaks, the next one continues with the current
//! command.

use std::time::{Duration, Instant};

use lariat_base::clock::since_boot;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::{Attach, End, Exit, Run, Streams};
use lariat_wire::protocol::failure::Cause;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::at_most_once::AtMostOnce;
use super::error::{JobStatus, RunError};
use super::job::Job;
use super::outcome::Outcome;
use super::session;
use crate::backoff::{is_broken_connection, may_come_back};
use crate::broken::Broken;
use crate::connect::{ConnectError, Session};
use crate::host::HostHandle;
use crate::retry::Retry;
use crate::watch::Watched;

/// How long a connection may be silent before another one is tried beside it. Until then the job stays with the
/// first, and acknowledged output is known.
const SECOND_AFTER: Duration = Duration::from_millis(2500);

/// A connection that has lasted this long counts as progress.
const GOOD: Duration = Duration::from_secs(10);

/// How long the agent may take to confirm that a detached job was started.
const ANSWER: Duration = Duration::from_secs(30);

/// The connections to one host.
pub struct Connections<'a> {
    host: &'a HostHandle,
    retry: Retry<'a>,
    /// When the current connection was established.
    made: Option<Instant>,
    /// The notes that the host has for this key, as the newest welcome says.
    unread: u32,
}

/// Why a connection did not deliver the command's end.
enum Failed {
    /// Another connection may deliver it.
    ForNow(RunError),
    /// Another connection exists already.
    Replaced(Box<Session>, RunError),
    /// No other connection can deliver it.
    ForGood(RunError),
}

impl<'a> Connections<'a> {
    /// Starts without a connection.
    pub fn new(host: &'a HostHandle) -> Self {
        Self { host, retry: Retry::new(host), made: None, unread: 0 }
    }

    /// The number of notes on the host that this key has not seen.
    pub fn unread_notes(&self) -> u32 {
        self.unread
    }

    /// Closes the remaining connection in order.
    pub async fn finish(self) {
        self.retry.finish().await;
    }

    /// Ends an outage, because the client no longer waits for a connection.
    pub(super) fn leave(&self) {
        self.host.outage().give_up();
    }

    /// Runs a command to its end, over as many connections as necessary.
    pub(super) async fn run<O, E>(
        &mut self,
        request: &Run,
        mut known: AtMostOnce,
        job: &Job<O, E>,
    ) -> Outcome
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        self.retry.anew();
        loop {
            let before = job.progress();
            self.made = None;
            let attempt = self.attempt(request, job, &mut known).await;
            // A connection to a command without output may be good all the same.
            let was_good = self.made.is_some_and(|made| made.elapsed() >= GOOD);
            let moved = was_good || job.progress() != before;
            let error = match attempt {
                Ok(outcome) => return outcome,
                Err(Failed::ForGood(error)) => error,
                Err(Failed::ForNow(error)) => {
                    if self.retry.broke(moved).await {
                        continue;
                    }
                    error
                }
                Err(Failed::Replaced(session, error)) => {
                    if self.retry.replaced(session, moved) {
                        continue;
                    }
                    error
                }
            };
            // Output that has arrived is written.
            tokio::join!(job.stdout.drained(), job.stderr.drained());
            return Outcome::Failed(error);
        }
    }

    /// Returns a connection on which the command, or its state, was requested.
    async fn connect<O, E>(
        &mut self,
        request: &Run,
        job: &Job<O, E>,
        known: &mut AtMostOnce,
    ) -> Result<Session, ConnectError>
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        if known.may_be_there() {
            let received = job.is_known().then(|| job.received());
            return self.retry.ask(&Attach { job: request.job, received }, &job.asking).await;
        }
        let sent = since_boot();
        let asked = self.retry.ask(request, &job.asking).await;
        if asked.as_ref().err().is_none_or(ConnectError::may_have_asked) {
            known.asked(sent);
            job.known();
        }
        asked
    }

    async fn attempt<O, E>(
        &mut self,
        request: &Run,
        job: &Job<O, E>,
        known: &mut AtMostOnce,
    ) -> Result<Outcome, Failed>
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let status = |known: &AtMostOnce| match (job.has_started(), known.may_be_there()) {
            (true, _) => JobStatus::Started,
            (false, true) => JobStatus::Unknown,
            (false, false) => JobStatus::NotAsked,
        };
        let mut session = self.connect(request, job, known).await.map_err(|error| {
            // Requests that were not sent have been retried as long as allowed.
            let again = error.may_have_asked() && may_come_back(&error);
            Failed::when(again, RunError::Connect(error, status(known)))
        })?;
        self.made = Some(Instant::now());
        let boot = session.welcome.boot;
        self.unread = session.welcome.notes.count;
        known.welcomed(boot);
        let pulse = session.link.reader.pulse().clone();
        job.reconnected(&pulse);
        loop {
            let link = &mut session.link;
            let asked = async {
                match request.streams {
                    Streams::Followed { .. } | Streams::Terminal { .. } => {
                        let exit = session::follow(link, job).await;
                        exit.map(|exit| Outcome::Ended(exit.end))
                    }
                    Streams::Detached => {
                        let answer = timeout(ANSWER, session::answer(link)).await;
                        answer.unwrap_or(Err(LinkError::Silent.into())).map(detached)
                    }
                }
            };
            let silent =
                |known: &AtMostOnce| RunError::Broken(LinkError::Silent.into(), status(known));
            let asked = match self.host.watch(&pulse, Some(SECOND_AFTER), asked).await {
                Watched::Done(asked) => asked,
                Watched::Replaced(other) => {
                    return Err(Failed::Replaced(other, silent(known)));
                }
                Watched::Silent => return Err(Failed::ForNow(silent(known))),
            };
            let failure = match asked {
                Ok(outcome) => {
                    self.retry.keep(session);
                    return Ok(outcome);
                }
                Err(Broken::Failed(failure)) => failure,
                Err(Broken::Link(error)) => {
                    let again = is_broken_connection(&error);
                    let error = RunError::Broken(error.into(), status(known));
                    return Err(Failed::when(again, error));
                }
            };
            let same_boot = |up| known.is_same_boot(boot, up, since_boot());
            return Err(match failure.cause {
                Cause::NoSuchJob { .. } if known.is_only_looked_for() => {
                    Failed::ForGood(RunError::Failed(failure))
                }
                Cause::NoSuchJob { up_ms } if !same_boot(Duration::from_millis(up_ms)) => {
                    Failed::ForGood(RunError::Restarted(status(known)))
                }
                Cause::NoSuchJob { .. } if job.has_started() => {
                    Failed::ForGood(RunError::Lost(JobStatus::Started))
                }
                Cause::NoSuchJob { .. } => {
                    let posted = session.link.outbox().begin(request);
                    let lost = |error| Failed::ForGood(RunError::Broken(error, JobStatus::Unknown));
                    posted.map_err(|error| lost(error.into()))?;
                    job.known();
                    continue;
                }
                Cause::Unwatched if !same_boot(Duration::MAX) => {
                    Failed::ForGood(RunError::Restarted(status(known)))
                }
                // An earlier request of this client may have been delayed, and have arrived after this one.
                Cause::Superseded => {
                    Failed::ForNow(RunError::Broken(Broken::Failed(failure), status(known)))
                }
                _ => {
                    self.retry.keep(session);
                    Failed::ForGood(RunError::Failed(failure))
                }
            });
        }
    }
}

/// A job that has ended was started, unless its program could not be executed.
fn detached(exit: Option<Exit>) -> Outcome {
    match exit {
        Some(Exit { end: end @ End::NotRun(_), .. }) => Outcome::Ended(end),
        _ => Outcome::Detached,
    }
}

impl Failed {
    fn when(again: bool, error: RunError) -> Self {
        if again { Self::ForNow(error) } else { Self::ForGood(error) }
    }
}
