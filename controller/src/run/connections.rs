//! One connection after another, until a command's end is known or nothing more can be done.
//!
//! The same connection serves one command after another; when it breaks, the next one goes on with the
//! command where it was.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_common::clock::since_boot;
use lariat_common::protocol::exec::{Attach, End, Exit, Run, Streams};
use lariat_common::protocol::failure::Cause;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::error::{Fate, RunError};
use super::session::{self, Broken};
use super::standing::Standing;
use super::{Job, Outcome};
use crate::connect::{ConnectError, Session, Stage};
use crate::patience::{Patience, is_broken_connection, may_come_back};
use crate::reach::Reach;

/// How long the agent may take to hear that we are done.
const GOODBYE: Duration = Duration::from_secs(1);

/// The connections to one host.
pub(crate) struct Connections<'a> {
    reach: &'a Reach,
    reconnect: Duration,
    /// One that is ready for the next request.
    ready: Option<Session>,
}

/// Why an attempt did not see the command's end.
enum Failed {
    /// Another connection may.
    ForNow(RunError),
    /// Nothing will.
    ForGood(RunError),
}

impl<'a> Connections<'a> {
    /// None yet. A connection may stay broken for `reconnect`.
    pub(crate) fn new(reach: &'a Reach, reconnect: Duration) -> Self {
        Self { reach, reconnect, ready: None }
    }

    /// Ends the one that is left, in order. Whether the agent sees it changes nothing.
    pub(crate) async fn finish(mut self) {
        if let Some(session) = &mut self.ready {
            let _ = timeout(GOODBYE, session.link.writer.finish()).await;
        }
    }

    /// Runs a command to its end, over as many connections as that takes.
    pub(super) async fn run<O, E>(&mut self, request: &Run, job: &Job<O, E>) -> Outcome
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let mut standing = Standing::default();
        let mut patience = Patience::new(self.reconnect);
        loop {
            let before = job.progress();
            let error = match self.attempt(request, job, &mut standing).await {
                Ok(outcome) => return outcome,
                Err(Failed::ForGood(error)) => error,
                Err(Failed::ForNow(error)) => {
                    let moved = job.progress() != before;
                    if let Some(wait) = patience.broke(moved, Instant::now()) {
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    error
                }
            };
            // What did come is the command's, and is written.
            tokio::join!(job.stdout.drained(), job.stderr.drained());
            return Outcome::Failed(error);
        }
    }

    async fn attempt<O, E>(
        &mut self,
        request: &Run,
        job: &Job<O, E>,
        standing: &mut Standing,
    ) -> Result<Outcome, Failed>
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let fate = |standing: &Standing| match (job.has_started(), standing.may_be_there()) {
            (true, _) => Fate::Started,
            (false, true) => Fate::Unknown,
            (false, false) => Fate::NotAsked,
        };
        let mut session = if standing.may_be_there() {
            let attach = Attach { job: request.job, received: job.received() };
            self.reach.connect(&attach).await.map_err(|error| {
                let again = may_come_back(&error);
                Failed::when(again, RunError::Connect(error, fate(standing)))
            })?
        } else {
            let sent = since_boot();
            let asked = self.ask(request, &job.asking).await;
            if asked.as_ref().err().is_none_or(ConnectError::may_have_asked) {
                standing.asked(sent);
            }
            asked.map_err(|error| {
                // A host that was never reached may not be there at all.
                let again = error.may_have_asked() && may_come_back(&error);
                Failed::when(again, RunError::Connect(error, fate(standing)))
            })?
        };
        let boot = session.welcome.boot;
        standing.welcomed(boot);
        job.reconnected();
        loop {
            let asked = match request.streams {
                Streams::Followed { .. } | Streams::Terminal { .. } => {
                    let exit = session::follow(&mut session.link, job).await;
                    exit.map(|exit| Outcome::Ended(exit.end))
                }
                Streams::Kept => session::answer(&mut session.link).await.map(detached),
            };
            let failure = match asked {
                Ok(outcome) => {
                    self.ready = Some(session);
                    return Ok(outcome);
                }
                Err(Broken::Failed(failure)) => failure,
                Err(Broken::Link(error)) => {
                    let again = is_broken_connection(&error);
                    let error = RunError::Broken(error.into(), fate(standing));
                    return Err(Failed::when(again, error));
                }
            };
            let same_boot = |up| standing.is_same_boot(boot, up, since_boot());
            return Err(match failure.cause {
                Cause::NoSuchJob { up_ms } if !same_boot(Duration::from_millis(up_ms)) => {
                    Failed::ForGood(RunError::Restarted(fate(standing)))
                }
                Cause::NoSuchJob { .. } if job.has_started() => {
                    Failed::ForGood(RunError::Lost(Fate::Started))
                }
                Cause::NoSuchJob { .. } => {
                    let posted = session.link.outbox().post(request);
                    let lost = |error| Failed::ForGood(RunError::Broken(error, Fate::Unknown));
                    posted.map_err(|error| lost(error.into()))?;
                    continue;
                }
                Cause::Unwatched if !same_boot(Duration::MAX) => {
                    Failed::ForGood(RunError::Restarted(fate(standing)))
                }
                // A request of ours that was under way all the time may have come after this one.
                Cause::Superseded => {
                    Failed::ForNow(RunError::Broken(Broken::Failed(failure), fate(standing)))
                }
                _ => {
                    self.ready = Some(session);
                    Failed::ForGood(RunError::Failed(failure))
                }
            });
        }
    }

    /// A connection on which this was asked.
    async fn ask(&mut self, request: &Run, stage: &Cell<Stage>) -> Result<Session, ConnectError> {
        match self.ready.take() {
            Some(session) if session.link.outbox().post(request).is_ok() => {
                stage.set(Stage::Answer);
                Ok(session)
            }
            _ => self.reach.connect_seen(request, stage).await,
        }
    }
}

/// One that has ended by now has been started, unless it could not be.
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
