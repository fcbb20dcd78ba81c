//! The work of `push` and `pull` on a host.

use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::request::Request;

use super::{Files, Listing, Tally, TransferOptions};
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork};
use crate::output::style::Paint;
use crate::status;
use crate::target::Chosen;

/// The files that a verb transfers.
pub(crate) trait TransferJob: Send + Sync + 'static {
    /// The transfer options.
    fn options(&self) -> &TransferOptions;

    /// What is done with the bytes: `sent` or `received`.
    fn word(&self) -> &'static str;

    /// The requests that are put to a host's rules before anything is moved, as `user`.
    fn asked(&self, host: &HostName, user: Option<String>) -> Result<Vec<Request>, CliError>;

    /// Transfers all of them to or from one host, as `user`.
    async fn transfer(
        &self,
        files: &mut Files<'_>,
        host: &HostContext<'_>,
        user: Option<&str>,
        listing: &Listing,
    );
}

/// The work of transferring them.
pub(crate) struct TransferWork<J> {
    pub(crate) job: J,
    /// The time limit per host.
    pub(crate) timeout: Option<Duration>,
    pub(crate) json: bool,
}

impl<J: TransferJob> TransferWork<J> {
    /// What a dry run of a plan asks a host.
    pub(crate) fn asked(&self, chosen: &Chosen) -> Result<Vec<Request>, CliError> {
        self.job.asked(&chosen.host, chosen.user(self.job.options().user.as_deref())?)
    }
}

impl<J: TransferJob> HostWork for TransferWork<J> {
    type Outcome = Tally;
    type Total = Tally;

    async fn on(&self, host: HostContext<'_>) -> Result<Tally, Failed> {
        let options = self.job.options();
        let user = host.chosen.user(options.user.as_deref())?;
        let listing = Listing::new(host.outlet, &host.chosen.host, self.json);
        let work = async |files: &mut Files<'_>| {
            self.job.transfer(files, &host, user.as_deref(), &listing).await;
        };
        let files = Files::new(&host, user.as_deref(), options);
        let mut tally = files.within(self.timeout, work).await;
        if let Err(error) = listing.finish() {
            tally.failed(End::Errored, error);
        }
        Ok(tally)
    }

    fn report(
        &self,
        total: &mut Tally,
        host: &HostName,
        outcome: Result<Tally, Failed>,
    ) -> (Vec<u8>, Ended) {
        let mut tally = outcome.unwrap_or_else(|Failed { end, error }| Tally::only(end, error));
        tally.word = self.job.word();
        total.add(&tally);
        let object = if self.json { tally.object(host) } else { Ok(Vec::new()) };
        let mut ended = tally.into_ended();
        let line = object.unwrap_or_else(|error| {
            ended.errors.push(error);
            Vec::new()
        });
        (line, ended)
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        Tally::only(error.end(), error.clone()).object(host)
    }

    fn note(&self, total: &Tally, host: &HostName) -> Option<String> {
        (total.end() == End::Ok || total.has_files()).then(|| total.summary(host, Paint::stderr()))
    }

    fn sum(&self, total: &Tally, took: Duration) -> Option<String> {
        total.has_files().then(|| total.moved_in(took, Paint::stderr()))
    }
}

impl Tally {
    /// The result without the counts.
    pub(crate) fn into_ended(self) -> Ended {
        let status = match self.interrupted {
            Some(number) => status::signal(number),
            None if self.errors.is_empty() => 0,
            None if self.no_reader => status::NO_READER,
            None if self.timed_out => status::TIMEOUT,
            None => status::FAILURE,
        };
        let (end, errors, notes) = (self.end(), self.errors, self.notes);
        Ended { end, errors, notes, status: Some(status), ..Ended::ok() }
    }
}
