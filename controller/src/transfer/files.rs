//! Transfers files to or from one host, in order over one session, with as many attempts as necessary.
//!
//! A verb implements [`Item`]: the request for a file, and one attempt to transfer it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::future::pending;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use lariat_client::Session;
use lariat_client::transfer::{AttemptError, GaveUp, Moved, Reason, Transfer, Transfers};
use lariat_engine::TransferError;
use lariat_engine::tree::Side;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};

use super::early::{Early, early_end};
use super::{Remarks, Tally, TransferOptions, not_a_directory, shown};
use crate::error::CliError;
use crate::fanout::{End, HostContext, Outlet};
use crate::progress::{ItemProgress, Meter, Single};

/// Appended to the error of a transfer that can be resumed.
const RESUME: &str = "run it again: only what is missing is sent";

/// Appended to the error of one of which nothing is kept.
const AGAIN: &str = "run it again";

/// Appended to the error of an interrupted transfer that writes in place.
const MIXED: &str = "a file that was there before is a mix of old and new until then";

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
        progress: &ItemProgress<'_>,
        moved: &mut Moved,
    ) -> Result<(), AttemptError>;

    /// Words the error of the last attempt, with which existing files were to be overwritten `in_place` or not.
    fn said(&self, error: AttemptError, in_place: bool) -> CliError {
        said(error, in_place)
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

/// An item with its progress.
struct Counted<'a, I> {
    item: &'a mut I,
    progress: &'a ItemProgress<'a>,
}

impl<I: Item> Transfer for Counted<'_, I> {
    type Request = I::Request;

    fn request(&self) -> &I::Request {
        self.item.request()
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        self.item.attempt(session, self.progress, moved).await
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
    outlet: &'a Outlet,
    meter: &'a Meter,
    /// The line of progress of a single host, if it is shown.
    single: Option<Rc<Single<'a>>>,
    /// How many files have begun, and how many there are; `None` if they are a part of something else.
    part: Option<(usize, usize)>,
    /// The operation, as the prefix of errors.
    doing: Option<String>,
    /// The prefix of errors that happened on the host.
    there: String,
    /// Nothing of the file in progress is kept: it comes from a stream, or goes into one.
    is_stream: bool,
    tally: Tally,
}

impl<'a> Files<'a> {
    /// The files of one host, as `user` there. For one of many, a connection that keeps breaking is given up.
    pub(crate) fn new(
        host: &'a HostContext<'_>,
        user: Option<&str>,
        options: &TransferOptions,
    ) -> Self {
        let HostContext { handle, outlet, meter, .. } = host;
        let user = user.map(|user| format!(" as {user}")).unwrap_or_default();
        let there = format!("on {}{user}", handle.name());
        let tally = Tally { dry_run: options.dry_run, ..Tally::default() };
        let in_place = options.in_place();
        let (transfers, single) = match outlet {
            Outlet::Own { outages, .. } => {
                (Transfers::new(handle), Single::new(handle.name(), meter, outages))
            }
            Outlet::Shared { .. } => (Transfers::one_of_many(handle), None),
        };
        let single = single.map(Rc::new);
        let part = (meter.counts().parts == 0).then_some((0, 1));
        let (doing, is_stream) = (None, false);
        Self { transfers, in_place, outlet, meter, single, part, doing, there, is_stream, tally }
    }

    /// Says how many files there are.
    pub(crate) fn are(&mut self, count: usize) {
        if let Some((_, parts)) = &mut self.part {
            *parts = count;
        }
    }

    /// Adds a note for the end.
    pub(crate) fn note(&mut self, note: String) {
        self.tally.note(note);
    }

    /// Runs `work` to its end and returns the tally. What is still in progress after `limit` is cancelled.
    pub(crate) async fn within(
        mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Self),
    ) -> Tally {
        let early = early_end(limit, self.outlet);
        let single = self.single.clone();
        let drawn = async {
            match &single {
                Some(single) => single.draw().await,
                None => pending().await,
            }
        };
        let all = Box::pin(async {
            work(&mut self).await;
            self.transfers.close().await;
        });
        // Dropping the future cleans up.
        let ended = tokio::select! {
            () = all => return self.tally,
            ended = early => ended,
            never = drawn => match never {},
        };
        self.transfers.host().outage().give_up();
        let error = match ended {
            Early::TimeOver(limit) => CliError::timed_out(limit),
            Early::Signal(_) => CliError::new("interrupted"),
        };
        let error = error.next(self.again(self.in_place));
        let error = self.doing.iter().fold(error, CliError::during);
        match ended {
            Early::TimeOver(_) => self.tally.timed_out(error),
            Early::Signal(number) => self.tally.interrupted(number, error),
        }
        self.tally
    }

    /// What to do after a transfer that was cut. `mixed`: it may have begun to overwrite the file.
    fn again(&self, mixed: bool) -> String {
        let has_begun = self.meter.counts().there > 0;
        let again = if has_begun && !self.is_stream { RESUME } else { AGAIN };
        if has_begun && mixed { format!("{again}; {MIXED}") } else { again.to_owned() }
    }

    /// Transfers one file; `what` describes it in an error. Later files are transferred even if it fails.
    pub(crate) async fn one<I: Item>(&mut self, item: Result<I, CliError>, what: impl Display) {
        self.doing = Some(what.to_string());
        if let Some((part, parts)) = &mut self.part {
            *part += 1;
            self.meter.part(*part, *parts);
        }
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
        if let Some(single) = &self.single {
            single.item(shown(OsStr::from_bytes(item.name())).to_string());
        }
        let live = self.single.as_deref().map(Single::live);
        self.is_stream = !item.can_be_left();
        let progress = ItemProgress::new(self.meter, live);
        let counted = &mut Counted { item: &mut *item, progress: &progress };
        let moved = self.transfers.run(counted).await;
        let GaveUp { error, reason, begun } = match moved {
            Ok(moved) => {
                self.tally.arrived(moved);
                let doing = self.doing.clone().unwrap_or_default();
                let remarks = item.remarks();
                let Self { there, tally, in_place, .. } = self;
                tally.remark(remarks, |(side, failure)| {
                    on(there, side, advised(failure, *in_place)).during(&doing)
                });
                return Ok(());
            }
            Err(gave_up) => gave_up,
        };
        self.tally.no_reader |= matches!(error, AttemptError::NoReader);
        let (end, side) = (failed_end(&error), side(&error));
        let is_lost = matches!(&error, AttemptError::Connect(error) if error.is_loss());
        let error = match reason {
            Reason::Flapping(times) => CliError::new(format!(
                "the connection broke {times} times in a row after less than 512 KiB"
            )),
            Reason::Final | Reason::Outage => {
                let error = item.said(error, self.in_place);
                side.into_iter().fold(error, |error, side| on(&self.there, side, error))
            }
        };
        let mixed = self.in_place && begun;
        let reason = if is_lost { Reason::Outage } else { reason };
        Err((
            end,
            match reason {
                Reason::Final if mixed => error.next(format!("{AGAIN}; {MIXED}")),
                Reason::Final => error,
                Reason::Outage | Reason::Flapping(_) => error.next(self.again(mixed)),
            },
        ))
    }
}

/// The prefix of errors that happened on this machine.
pub(crate) const HERE: &str = "here";

/// Adds to an error on which end it happened.
fn on(there: &str, side: Side, error: CliError) -> CliError {
    error.during(match side {
        Side::Here => HERE,
        Side::There => there,
    })
}

/// The end on which an attempt failed, if it was on one.
fn side(error: &AttemptError) -> Option<Side> {
    match error {
        AttemptError::Here(_) | AttemptError::Transfer(TransferError::Local(_)) => Some(Side::Here),
        AttemptError::Refused(_)
        | AttemptError::Transfer(TransferError::Remote(_) | TransferError::Missed(_)) => {
            Some(Side::There)
        }
        _ => None,
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

/// Words the error of an attempt, with which existing files were to be overwritten `in_place` or not.
pub(crate) fn said(error: AttemptError, in_place: bool) -> CliError {
    match error {
        AttemptError::Connect(error) => error.into(),
        AttemptError::NoReader => CliError::no_reader(),
        AttemptError::NotADirectory => not_a_directory(),
        AttemptError::Replaced(_) => LinkError::Silent.into(),
        AttemptError::Here(failure)
        | AttemptError::Refused(failure)
        | AttemptError::Transfer(
            TransferError::Remote(failure)
            | TransferError::Local(failure)
            | TransferError::Missed(failure),
        ) => advised(failure, in_place),
        AttemptError::Transfer(error) => error.into(),
        error @ (AttemptError::Stopped | AttemptError::AbortedByFile) => error.into(),
    }
}

/// Words a failure, with advice, such as to overwrite a file that can't be replaced.
fn advised(failure: Failure, in_place: bool) -> CliError {
    use rustix::io::Errno;
    let Cause::Os(errno) = failure.cause else { return failure.into() };
    let is_one_of = |all: &[Errno]| all.iter().any(|one| one.raw_os_error() == errno);
    let cant_be_replaced = match failure.action {
        Action::Rename => is_one_of(&[Errno::BUSY, Errno::ACCESS, Errno::PERM]),
        Action::Create => is_one_of(&[Errno::ACCESS, Errno::PERM, Errno::ROFS]),
        _ => false,
    };
    let is_opened = failure.action == Action::Open;
    let error = CliError::from(failure);
    if is_one_of(&[Errno::NOTDIR]) {
        return error.next("a name in this path is a file");
    }
    if is_opened && is_one_of(&[Errno::MLINK]) {
        return error.next(
            "a key that is held to directories is not permitted to read a file with more than one name (hard link)",
        );
    }
    if is_one_of(&[Errno::NOSPC, Errno::DQUOT]) {
        return error.next(format!("make room, and {AGAIN}"));
    }
    if cant_be_replaced && !in_place {
        return error.next("if the file exists, --inplace writes into it instead of replacing it");
    }
    error
}
