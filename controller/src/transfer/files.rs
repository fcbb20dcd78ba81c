//! Transfers files to or from one host, in order over one session, with as many attempts as necessary.
//!
//! A verb implements [`Item`]: the request for a file, and one attempt to transfer it.

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

/// Appended to the error of a transfer that can be resumed.
const AGAIN: &str = "run it again: only what is missing is sent";

/// Appended to the error of an interrupted transfer that writes in place.
const MIXED: &str = "the file there is a mix of old and new until it is run again";

/// One file to transfer.
pub(crate) trait Item {
    /// The request to the agent.
    type Request: Message;

    /// The request to the agent.
    fn request(&self) -> &Self::Request;

    /// Its name in progress messages.
    fn name(&self) -> &[u8];

    /// Attempts the transfer over a session on which the request was sent. Adds to the counts also when it
    /// fails.
    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), AttemptError>;

    /// Words the error of the last attempt.
    fn said(&self, error: AttemptError) -> CliError {
        said(error)
    }

    /// Whether another attempt can follow one that broke after this much.
    fn can_go_on(&self, moved: &Moved) -> bool;

    /// Whether an attempt can be cancelled and retried.
    fn can_be_left(&self) -> bool;

    /// Partial failures and skipped names, to be reported at the end.
    fn remarks(&mut self) -> Remarks {
        Remarks::default()
    }
}

/// An item with its progress bar.
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
    /// Existing files are overwritten in place.
    in_place: bool,
    /// For a single host, outages and bars are shown.
    outlet: &'a Outlet,
    /// The operation, as the prefix of errors.
    doing: Option<String>,
    tally: Tally,
}

impl<'a> Files<'a> {
    /// The files of one host. For one of many, a connection that keeps breaking is given up.
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
        // Dropping the future cleans up.
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

    /// Transfers one file; `what` describes it in an error. Later files are transferred even if it fails.
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

    /// Transfers one file, over as many connections as necessary.
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
        let end = failed_end(&error);
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

/// The classification among many hosts.
pub(crate) fn failed_end(error: &AttemptError) -> End {
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

/// Words the error of an attempt.
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

/// Words a failure, with advice if a file can't be replaced but perhaps overwritten in place.
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
