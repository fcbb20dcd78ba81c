//! Files to or from one host, one after another over one session, each in as many attempts as it takes.
//!
//! What a verb adds is an [`Item`]: how it asks for a file, and one attempt at it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use lariat_common::protocol::Message;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::transfer::TransferError;
use tokio::time::timeout;

use super::{Bar, Moved, Remarks, Tally, TransferOptions, shown};
use crate::connect::{ConnectError, Session};
use crate::error::CliError;
use crate::fanout::End;
use crate::patience::{Flapping, Patience, is_broken_connection, may_come_back};
use crate::reach::Reach;

/// What is left to say when a transfer is given up that can go on.
const AGAIN: &str = "run it again: only what is missing is sent";

/// Bytes that may be under way when a connection breaks, and never arrive.
const UNDER_WAY: u64 = 16 * 1024 * 1024;

/// One file that is to be moved.
pub(crate) trait Item {
    /// What asks the agent for it.
    type Request: Message;

    /// What asks the agent for it.
    fn request(&self) -> &Self::Request;

    /// How it is called while it moves.
    fn name(&self) -> &[u8];

    /// Tries to move it over a session on which it was asked for. Counts also when that fails.
    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken>;

    /// Whether another attempt can follow one that broke after this much.
    fn can_go_on(&self, moved: &Moved) -> bool;

    /// What did not arrive though the rest did, and what was passed over, to be told at the end.
    fn remarks(&mut self) -> Remarks {
        Remarks::default()
    }
}

/// Why an attempt did not come to its end.
pub(crate) enum Broken {
    /// The host was not reached.
    Connect(ConnectError),
    /// The agent refused, and is ready for the next request.
    Refused(Failure),
    /// What was being written is here, and that failed.
    Here(Failure),
    /// What was asked for can't be had that way.
    Misused(CliError),
    /// One file of a tree ended the connection, and is avoided from now on.
    Spoiled,
    /// Anything else. What is under way on the session is not known.
    Transfer(TransferError),
}

/// The files of one host.
pub(crate) struct Files<'a> {
    reach: &'a Reach,
    reconnect: Duration,
    /// A connection that is ready for the next file.
    session: Option<Session>,
    /// It is one host of many: its files have no bars, and a link that always breaks is given up.
    of_many: bool,
    /// What is being done, as errors begin.
    doing: Option<String>,
    tally: Tally,
}

impl<'a> Files<'a> {
    /// Goes on trying a file on which nothing has moved for the time that `options` say.
    pub(crate) fn new(reach: &'a Reach, options: &TransferOptions) -> Self {
        let tally = Tally { dry_run: options.dry_run, ..Tally::new() };
        let reconnect = options.reconnect;
        Self { reach, reconnect, session: None, of_many: false, doing: None, tally }
    }

    /// The same for one host of many.
    pub(crate) fn one_of_many(reach: &'a Reach, options: &TransferOptions) -> Self {
        Self { of_many: true, ..Self::new(reach, options) }
    }

    /// Does `work`, and gives what came of it all. What it is at after `limit` is given up.
    pub(crate) async fn within(
        mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Self),
    ) -> Tally {
        let all = Box::pin(async {
            work(&mut self).await;
            self.close().await;
        });
        let Some(limit) = limit else {
            all.await;
            return self.tally;
        };
        let done = timeout(limit, all).await.is_ok();
        if let (false, Some(what)) = (done, self.doing) {
            let error = CliError::new(format!("not done within {} s", limit.as_secs_f32()));
            self.tally.timed_out(error.during(what).next(AGAIN));
        }
        self.tally
    }

    /// Moves one file; `what` says it in an error. The others go on whatever comes of it.
    pub(crate) async fn one<I: Item>(&mut self, item: Result<I, CliError>, what: impl Display) {
        self.doing = Some(what.to_string());
        let done = match item {
            Ok(mut item) => self.all_of(&mut item).await,
            Err(error) => Err((End::Failed, error)),
        };
        if let Err((end, error)) = done {
            self.tally.failed(end, error.during(what));
        }
        self.doing = None;
    }

    /// Ends the session.
    async fn close(&mut self) {
        if let Some(Session { mut link, .. }) = self.session.take() {
            // Everything is done; the agent sees the end either way.
            let _ = link.writer.finish().await;
        }
    }

    /// Moves one file, over as many connections as it takes.
    async fn all_of<I: Item>(&mut self, item: &mut I) -> Result<(), (End, CliError)> {
        let name = shown(OsStr::from_bytes(item.name())).to_string();
        let bar = if self.of_many { Bar::hidden() } else { Bar::new(&name) };
        let (mut patience, mut flapping) = (Patience::new(self.reconnect), Flapping::default());
        let (mut bytes, mut sent) = (0, 0);
        let mut had = None;
        let mut first = true;
        loop {
            let mut now = Moved::default();
            let broken = match self.attempt(item, &bar, &mut now).await {
                Ok(()) => {
                    self.tally.arrived(now.files, now.size, bytes + now.bytes, sent + now.sent);
                    self.tally.remark(item.remarks());
                    return Ok(());
                }
                Err(broken) => broken,
            };
            if !matches!(broken, Broken::Refused(_)) {
                self.session = None;
            }
            if !broken.may_pass(first) || !item.can_go_on(&now) {
                return Err((broken.end(), broken.into()));
            }
            first = false;
            bytes += now.bytes;
            sent += now.sent;
            if matches!(broken, Broken::Spoiled) {
                continue;
            }
            let has = bar.had();
            let got_on = got_on(had, has, now.bytes);
            let brought = has.zip(had).map(|(has, had)| has.saturating_sub(had));
            if let Some(times) = brought.filter(|_| self.of_many).and_then(|b| flapping.broke(b)) {
                let often =
                    format!("the connection broke {times} times in a row after less than 512 KiB");
                return Err((broken.end(), CliError::new(often).next(AGAIN)));
            }
            had = has;
            let Some(wait) = patience.broke(got_on, Instant::now()) else {
                return Err((broken.end(), CliError::from(broken).next(AGAIN)));
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<I: Item>(
        &mut self,
        item: &mut I,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let session = match &mut self.session {
            Some(session) => {
                let posted = session.link.outbox().post(item.request());
                posted.map_err(|e| Broken::Transfer(e.into()))?;
                session
            }
            none => none.insert(self.reach.connect(item.request()).await.map_err(Broken::Connect)?),
        };
        item.attempt(session, bar, moved).await
    }
}

/// Whether an attempt that broke, or the one before, brought the receiver anything that it keeps. What was
/// sent alone does not say: a connection that always breaks before a whole chunk is there gets nowhere.
fn got_on(had: Option<u64>, has: Option<u64>, bytes: u64) -> bool {
    match has {
        Some(has) => had.is_some_and(|had| has > had) || bytes > UNDER_WAY,
        None => bytes > 0,
    }
}

impl Broken {
    /// What the agent said before anything moved. One that is stopping takes no further request.
    pub(crate) fn refused(failure: Failure) -> Self {
        match failure.cause {
            Cause::Stopping => Self::Transfer(TransferError::Remote(failure)),
            _ => Self::Refused(failure),
        }
    }

    /// What it is among the ends of many hosts.
    fn end(&self) -> End {
        match self {
            Self::Connect(error) => error.into(),
            Self::Refused(failure) | Self::Transfer(TransferError::Remote(failure)) => {
                failure.into()
            }
            Self::Transfer(TransferError::Link(_)) => End::Unreachable,
            _ => End::Failed,
        }
    }

    /// Whether it may be different in a while. A host that was never reached may not be there at all.
    fn may_pass(&self, first: bool) -> bool {
        match self {
            Self::Connect(error) => !first && may_come_back(error),
            Self::Spoiled => true,
            Self::Transfer(TransferError::Link(error)) => is_broken_connection(error),
            Self::Transfer(TransferError::Remote(failure)) => failure.cause == Cause::Stopping,
            Self::Transfer(TransferError::Local(_) | TransferError::Missed(_))
            | Self::Refused(_)
            | Self::Here(_)
            | Self::Misused(_) => false,
        }
    }
}

impl From<Broken> for CliError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Connect(error) => error.into(),
            Broken::Refused(failure) => failure.into(),
            Broken::Here(failure) => Self::from(failure).during("here"),
            Broken::Misused(error) => error,
            Broken::Spoiled => Self::new("one file of it failed"),
            Broken::Transfer(error) => error.into(),
        }
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
