//! One host is many hosts of one: a verb's work on a host says what is done there, and as what the outcome
//! counts. [`Verb`](super::Verb) presents the only host, [`Fanout`](super::Fanout) presents many.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;

use super::{Ended, Failed, Outlet, Screen};
use crate::error::CliError;
use crate::target::Chosen;

/// One host, as the work on it sees it.
pub(crate) struct HostContext<'a> {
    /// Which of the verb's hosts it is.
    pub(crate) number: usize,
    /// The host as the target names it.
    pub(crate) chosen: &'a Chosen,
    /// The way to reach it.
    pub(crate) handle: HostHandle,
    /// Where its results go.
    pub(crate) outlet: &'a Outlet,
}

/// A verb's work on any of its hosts.
pub(crate) trait HostWork: Send + Sync + 'static {
    /// The outcome of one host.
    type Outcome: Send + 'static;

    /// The outcomes of all hosts together.
    type Total: Default;

    /// Does the work on a host.
    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed>;

    /// Work of this process that goes on for ever beside that on all hosts.
    async fn beside(&self, _: &[Chosen], _: &Outlet) -> Infallible {
        pending().await
    }

    /// Adds a host's outcome to the total. Returns what goes to stdout, and how the host counts.
    fn report(
        &self,
        total: &mut Self::Total,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended);

    /// The object of a host that was not begun or was left, as `error` says; with `--json` only.
    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError>;

    /// Reports a host that failed: with `json` an object says so.
    fn failed(&self, json: bool, host: &HostName, error: CliError) -> (Vec<u8>, Ended) {
        let line = if json { self.nothing(host, &error) } else { Ok(Vec::new()) };
        // There is nothing in it that could not be written as JSON.
        (line.unwrap_or_default(), Ended::failed(error.end(), error))
    }

    /// A note on stderr about the only host.
    fn note(&self, _: &Self::Total, _: &HostName) -> Option<String> {
        None
    }

    /// All of many hosts have ended: writes what is told of all together. Returns what is wrong although no
    /// host failed, which replaces the summary.
    fn over(&self, _: &mut Self::Total, _: &Screen) -> Option<CliError> {
        None
    }

    /// What was done on many hosts in all in this time, for the summary.
    fn sum(&self, _: &Self::Total, _: Duration) -> Option<String> {
        None
    }
}
