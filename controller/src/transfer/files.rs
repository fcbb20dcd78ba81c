//! Files to or from one host, one after another over one session, each in as many attempts as it takes.
//!
//! What a verb adds is an [`Item`]: how it asks for a file, and one attempt at it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use lariat_client::{
    ConnectError, Flapping, HostHandle, Retry, Session, Watched, is_broken_connection,
};
use lariat_engine::TransferError;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};

use super::early::{Early, early_end};
use super::{Bar, Moved, Remarks, Tally, TransferOptions, shown};
use crate::error::CliError;
use crate::fanout::End;
use crate::outages::Outages;
use crate::output::style;

/// What is left to say when a transfer is given up that can go on.
const AGAIN: &str = "run it again: only what is missing is sent";

/// What is left to say when a transfer broke off that had begun to write into the file that is there.
const MIXED: &str = "the file there is a mix of old and new until it is run again";

/// Bytes that may be under way when a connection breaks, and never arrive.
const UNDER_WAY: u64 = 16 * 1024 * 1024;

/// How long a connection may be silent before another one is tried beside it. What is under way on the first
/// is lost with it, so that it is given a little longer than a command's.
const SECOND_AFTER: Duration = Duration::from_secs(4);

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

    /// What to say beside an error of it.
    fn explained(&self, error: CliError) -> CliError {
        error
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

/// Why an attempt did not come to its end.
pub(crate) enum Broken {
    /// The host was not reached.
    Connect(ConnectError),
    /// The agent refused, and is ready for the next request.
    Refused(Failure),
    /// What was being written is here, and that failed.
    Here(Failure),
    /// Whoever read what is being written has gone, and has seen enough.
    NoReader,
    /// What was asked for can't be had that way.
    Misused(CliError),
    /// One file of a tree ended the connection, and is avoided from now on.
    Spoiled,
    /// The connection was silent, and another one is there in its place.
    Replaced(Box<Session>),
    /// Anything else. What is under way on the session is not known.
    Transfer(TransferError),
}

/// The files of one host.
pub(crate) struct Files<'a> {
    host: &'a HostHandle,
    retry: Retry<'a>,
    /// Files that are there are written into.
    in_place: bool,
    /// Where outages are shown, unless it is one host of many: then its files have no bars, and a link that always
    /// breaks is given up.
    outages: Option<Outages>,
    /// What is being done, as errors begin.
    doing: Option<String>,
    tally: Tally,
}

impl<'a> Files<'a> {
    /// The files of one host alone, whose outages are shown.
    pub(crate) fn new(host: &'a HostHandle, options: &TransferOptions, outages: &Outages) -> Self {
        Self { outages: Some(outages.clone()), ..Self::one_of_many(host, options) }
    }

    /// The files of one host of many.
    pub(crate) fn one_of_many(host: &'a HostHandle, options: &TransferOptions) -> Self {
        let tally = Tally { dry_run: options.dry_run, ..Tally::new() };
        let in_place = options.in_place();
        Self { host, retry: Retry::new(host), in_place, outages: None, doing: None, tally }
    }

    /// Does `work`, and gives what came of it all. What it is at after `limit` is given up.
    pub(crate) async fn within(
        mut self,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Self),
    ) -> Tally {
        let early = early_end(limit, self.outages.is_some());
        let all = Box::pin(async {
            work(&mut self).await;
            self.close().await;
        });
        // What is dropped before its end clears up behind it.
        let ended = tokio::select! {
            () = all => return self.tally,
            ended = early => ended,
        };
        self.host.outage().give_up();
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
            Ok(mut item) => {
                let done = self.all_of(&mut item).await;
                done.map_err(|(end, error)| (end, item.explained(error)))
            }
            Err(error) => Err((End::Errored, error)),
        };
        if let Err((end, error)) = done {
            self.tally.failed(end, error.during(what));
        }
        self.doing = None;
    }

    /// Ends the session.
    async fn close(&mut self) {
        std::mem::replace(&mut self.retry, Retry::new(self.host)).finish().await;
    }

    /// Moves one file, over as many connections as it takes.
    async fn all_of<I: Item>(&mut self, item: &mut I) -> Result<(), (End, CliError)> {
        let name = shown(OsStr::from_bytes(item.name())).to_string();
        let hides = self.outages.is_none() || !style::has_progress();
        let bar = if hides { Bar::hidden() } else { Bar::new(&name) };
        if let Some(outages) = &self.outages {
            outages.bar(bar.stalling(&name));
        }
        let moved = self.moved(item, &bar).await;
        if let Some(outages) = &self.outages {
            outages.no_bar();
        }
        moved
    }

    async fn moved<I: Item>(&mut self, item: &mut I, bar: &Bar) -> Result<(), (End, CliError)> {
        let mut flapping = Flapping::default();
        let (mut bytes, mut sent) = (0, 0);
        let mut had = None;
        self.retry.anew();
        loop {
            let mut now = Moved::default();
            let broken = match self.attempt(item, bar, &mut now).await {
                Ok(()) => {
                    let (bytes, sent) = (bytes + now.bytes, sent + now.sent);
                    self.tally.arrived(now.files, now.size, bytes, sent, now.done);
                    self.tally.remark(item.remarks());
                    return Ok(());
                }
                Err(broken) => broken,
            };
            self.tally.no_reader |= matches!(broken, Broken::NoReader);
            bytes += now.bytes;
            sent += now.sent;
            let mixed = self.in_place && (bar.had().is_some() || bytes > 0);
            let told = |error: CliError| if mixed { error.and(MIXED) } else { error };
            if !broken.may_pass() || !item.can_go_on(&now) {
                return Err((broken.end(), told(broken.into())));
            }
            if matches!(broken, Broken::Spoiled) {
                continue;
            }
            let has = bar.had();
            let got_on = got_on(had, has, now.bytes);
            let brought = has.zip(had).map(|(has, had)| has.saturating_sub(had));
            if let Some(times) =
                brought.filter(|_| self.outages.is_none()).and_then(|b| flapping.broke(b))
            {
                let often =
                    format!("the connection broke {times} times in a row after less than 512 KiB");
                return Err((broken.end(), told(CliError::new(often)).next(AGAIN)));
            }
            had = has;
            let broken = match broken {
                Broken::Replaced(session) => {
                    if self.retry.replaced(session, got_on) {
                        continue;
                    }
                    Broken::silent()
                }
                broken => {
                    if self.retry.broke(got_on).await {
                        continue;
                    }
                    broken
                }
            };
            return Err((broken.end(), told(broken.into()).next(AGAIN)));
        }
    }

    async fn attempt<I: Item>(
        &mut self,
        item: &mut I,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        // A transfer that is asked for twice goes on with what the first has brought.
        let asked = self.retry.ask_again(item.request()).await;
        let mut session = asked.map_err(Broken::Connect)?;
        let pulse = session.link.reader.pulse().clone();
        let second = item.can_be_left().then_some(SECOND_AFTER);
        let attempt = item.attempt(&mut session, bar, moved);
        let done = match self.host.watch(&pulse, second, attempt).await {
            Watched::Done(done) => done,
            Watched::Silent => return Err(Broken::silent()),
            Watched::Replaced(other) => return Err(Broken::Replaced(other)),
        };
        if matches!(done, Ok(()) | Err(Broken::Refused(_))) {
            self.retry.keep(session);
        }
        done
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
    /// Nothing came any more.
    fn silent() -> Self {
        Self::Transfer(LinkError::Silent.into())
    }

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
            Self::Transfer(TransferError::Link(_)) | Self::Replaced(_) => End::Unreachable,
            _ => End::Errored,
        }
    }

    /// Whether it may be different in a while. To reach the host was tried as long as it may be.
    fn may_pass(&self) -> bool {
        match self {
            Self::Spoiled | Self::Replaced(_) => true,
            Self::Transfer(TransferError::Link(error)) => is_broken_connection(error),
            Self::Transfer(TransferError::Remote(failure)) => failure.cause == Cause::Stopping,
            Self::Transfer(TransferError::Local(_) | TransferError::Missed(_))
            | Self::Connect(_)
            | Self::Refused(_)
            | Self::Here(_)
            | Self::NoReader
            | Self::Misused(_) => false,
        }
    }
}

impl From<Broken> for CliError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Connect(error) => error.into(),
            Broken::Here(failure) => advised(failure).during("here"),
            Broken::NoReader => Self::new("nobody reads it any more").quiet(),
            Broken::Misused(error) => error,
            Broken::Spoiled => Self::new("one file of it failed"),
            Broken::Replaced(_) => LinkError::Silent.into(),
            Broken::Refused(failure)
            | Broken::Transfer(
                TransferError::Remote(failure)
                | TransferError::Local(failure)
                | TransferError::Missed(failure),
            ) => advised(failure),
            Broken::Transfer(error) => error.into(),
        }
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
