//! Files to or from one host, one after another over one session, each in as many attempts as it takes.
//!
//! A verb adds an [`Item`]: how it asks for a file, and one attempt at it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use lariat_client::transfer::{AttemptError, GaveUp, Moved, Reason, Transfer, Transfers};
use lariat_client::{HostHandle, Session};
use lariat_engine::TransferError;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};

use super::early::{Early, early_end};
use super::{Bar, Remarks, Tally, TransferOptions, not_a_directory, shown};
use crate::error::CliError;
use crate::fanout::{End, Outlet};
use crate::outages::Outages;
use crate::output::style;

/// What is left to say when a transfer is given up that can go on.
const AGAIN: &str = "run it again: only what is missing is sent";

/// What is left to say when a transfer broke off that had begun to write into the file that is there.
const MIXED: &str = "the file there is a mix of old and new until it is run again";

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
    ) -> Result<(), AttemptError>;

    /// Puts why it was given up in words.
    fn said(&self, error: AttemptError) -> CliError {
        said(error)
    }

    /// Whether another attempt can follow one that broke after this much.
    fn can_go_on(&self, moved: &Moved) -> bool;

    /// Whether an attempt can be left in its middle, and another one follow.
    fn can_be_left(&self) -> bool;

    /// What did not arrive though the rest did, and what was passed over, to be told at the end.
    fn remarks(&mut self) -> Remarks {
        Remarks::default()
    }
}

/// An item as an attempt sees it: with its bar.
struct WithBar<'a, I> {
    item: &'a mut I,
    bar: &'a Bar,
}

impl<I: Item> Transfer for WithBar<'_, I> {
    type Request = I::Request;

    fn request(&self) -> &I::Request {
        self.item.request()
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        self.item.attempt(session, self.bar, moved).await
    }

    fn can_go_on(&self, moved: &Moved) -> bool {
        self.item.can_go_on(moved)
    }

    fn can_be_left(&self) -> bool {
        self.item.can_be_left()
    }
}

/// The files of one host.
pub(crate) struct Files<'a> {
    transfers: Transfers<'a>,
    /// Files that are there are written into.
    in_place: bool,
    /// The only host's outages are shown, and its files have bars.
    outlet: &'a Outlet,
    /// What is being done, as errors begin.
    doing: Option<String>,
    tally: Tally,
}

impl<'a> Files<'a> {
    /// The files of one host. One of many gives up a link that always breaks.
    pub(crate) fn new(host: &'a HostHandle, options: &TransferOptions, outlet: &'a Outlet) -> Self {
        let tally = Tally { dry_run: options.dry_run, ..Tally::default() };
        let in_place = options.in_place();
        let transfers = match outlet {
            Outlet::Own { .. } => Transfers::new(host),
            Outlet::Shared { .. } => Transfers::one_of_many(host),
        };
        Self { transfers, in_place, outlet, doing: None, tally }
    }

    fn outages(&self) -> Option<&'a Outages> {
        match self.outlet {
            Outlet::Own { outages, .. } => Some(outages),
            Outlet::Shared { .. } => None,
        }
    }

    /// Runs `work` to its end and returns the tally. What is still in progress after `limit` is cancelled.
    pub(crate) async fn within(
        mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Self),
    ) -> Tally {
        let early = early_end(limit, self.outlet);
        let all = Box::pin(async {
            work(&mut self).await;
            self.transfers.close().await;
        });
        // What is dropped before its end clears up behind it.
        let ended = tokio::select! {
            () = all => return self.tally,
            ended = early => ended,
        };
        self.transfers.host().outage().give_up();
        let error = match ended {
            Early::TimeOver(limit) => {
                CliError::new(format!("not done within {} s", limit.as_secs_f32()))
            }
            Early::Signal(_) => CliError::new("interrupted"),
        };
        let error = if self.in_place { error.and(MIXED) } else { error }.next(AGAIN);
        let error = self.doing.iter().fold(error, CliError::during);
        match ended {
            Early::TimeOver(_) => self.tally.timed_out(error),
            Early::Signal(number) => self.tally.interrupted(number, error),
        }
        self.tally
    }

    /// Moves one file; `what` says it in an error. The others go on whatever comes of it.
    pub(crate) async fn one<I: Item>(&mut self, item: Result<I, CliError>, what: impl Display) {
        self.doing = Some(what.to_string());
        let done = match item {
            Ok(mut item) => self.all_of(&mut item).await,
            Err(error) => Err((End::Errored, error)),
        };
        if let Err((end, error)) = done {
            self.tally.failed(end, error.during(what));
        }
        self.doing = None;
    }

    /// Moves one file, over as many connections as it takes.
    async fn all_of<I: Item>(&mut self, item: &mut I) -> Result<(), (End, CliError)> {
        let name = shown(OsStr::from_bytes(item.name())).to_string();
        let hides = self.outages().is_none() || !style::has_progress();
        let bar = if hides { Bar::hidden() } else { Bar::new(&name) };
        if let Some(outages) = self.outages() {
            outages.bar(bar.stalling(&name));
        }
        let moved = self.transfers.run(&mut WithBar { item: &mut *item, bar: &bar }).await;
        if let Some(outages) = self.outages() {
            outages.no_bar();
        }
        let GaveUp { error, reason, begun } = match moved {
            Ok(moved) => {
                self.tally.arrived(moved);
                self.tally.remark(item.remarks());
                return Ok(());
            }
            Err(gave_up) => gave_up,
        };
        self.tally.no_reader |= matches!(error, AttemptError::NoReader);
        let end = end(&error);
        let error = match reason {
            Reason::Flapping(times) => CliError::new(format!(
                "the connection broke {times} times in a row after less than 512 KiB"
            )),
            Reason::Final | Reason::Outage => item.said(error),
        };
        let error = if self.in_place && begun { error.and(MIXED) } else { error };
        Err((end, if reason == Reason::Final { error } else { error.next(AGAIN) }))
    }
}

/// As what it counts among the ends of many hosts.
fn end(error: &AttemptError) -> End {
    match error {
        AttemptError::Connect(error) => error.into(),
        AttemptError::Refused(failure) | AttemptError::Transfer(TransferError::Remote(failure)) => {
            failure.into()
        }
        AttemptError::Transfer(TransferError::Link(_)) | AttemptError::Replaced(_) => {
            End::Unreachable
        }
        _ => End::Errored,
    }
}

/// Puts why an attempt did not finish in words.
pub(crate) fn said(error: AttemptError) -> CliError {
    match error {
        AttemptError::Connect(error) => error.into(),
        AttemptError::Here(failure) => advised(failure).during("here"),
        AttemptError::NoReader => CliError::new("nobody reads it any more").quiet(),
        AttemptError::NotADirectory => not_a_directory(),
        AttemptError::Replaced(_) => LinkError::Silent.into(),
        AttemptError::Refused(failure)
        | AttemptError::Transfer(
            TransferError::Remote(failure)
            | TransferError::Local(failure)
            | TransferError::Missed(failure),
        ) => advised(failure),
        AttemptError::Transfer(error) => error.into(),
        error @ (AttemptError::Stopped | AttemptError::AbortedByFile) => error.into(),
    }
}

/// A failure, with what to do about a file that can't be replaced but perhaps written into.
pub(crate) fn advised(failure: Failure) -> CliError {
    use rustix::io::Errno;
    let Cause::Os(errno) = failure.cause else { return failure.into() };
    let is_one_of = |all: &[Errno]| all.iter().any(|one| one.raw_os_error() == errno);
    let cant_be_replaced = match failure.action {
        Action::Rename => is_one_of(&[Errno::BUSY, Errno::ACCESS, Errno::PERM]),
        Action::Create => is_one_of(&[Errno::ACCESS, Errno::PERM, Errno::ROFS]),
        _ => false,
    };
    let error = CliError::from(failure);
    if cant_be_replaced {
        return error.next("--inplace writes into a file that is there instead of replacing it");
    }
    error
}
