//! A verb's work on a host: what is done there, and how the outcome is classified. It is the same for a single
//! host, which [`Verb`](super::Verb) presents, and for many, which [`Fanout`](super::Fanout) presents.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;

use super::{Ended, Failed, Outlet, Screen};
use crate::error::CliError;
use crate::progress::Meter;
use crate::target::Chosen;

/// One host, as passed to the work on it.
pub(crate) struct HostContext<'a> {
    /// The index of the host.
    pub(crate) number: usize,
    /// The host as the target names it.
    pub(crate) chosen: &'a Chosen,
    /// Connects to it.
    pub(crate) handle: HostHandle,
    /// The destination of its results.
    pub(crate) outlet: &'a Outlet,
    /// Counts how far it has come.
    pub(crate) meter: &'a Meter,
}

/// A verb's work on each of its hosts.
pub(crate) trait HostWork: Send + Sync + 'static {
    /// The outcome of one host.
    type Outcome;

    /// The accumulated outcomes of all hosts.
    type Total: Default + Send + 'static;

    /// Does the work on a host.
    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed>;

    /// A local task that runs while hosts work, and never returns.
    async fn beside(&self, _: &[Chosen], _: &Outlet) -> Infallible {
        pending().await
    }

    /// Adds a host's outcome to the total. Returns the text for stdout, and the result.
    fn report(
        &self,
        total: &mut Self::Total,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended);

    /// The object of a host that did not begin or was abandoned, as `error` says; with `--json` only.
    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError>;

    /// Reports a host that failed; with `json`, by an object.
    fn failed(&self, json: bool, host: &HostName, error: CliError) -> (Vec<u8>, Ended) {
        let line = if json { self.nothing(host, &error) } else { Ok(Vec::new()) };
        // Such an object can always be encoded as JSON.
        (line.unwrap_or_default(), Ended::failed(error.end(), error))
    }

    /// A note on stderr about a single host.
    fn note(&self, _: &Self::Total, _: &HostName) -> Option<String> {
        None
    }

    /// After the last of many hosts has ended: writes what concerns all of them. An error that it returns
    /// replaces the summary, although no host failed.
    fn over(&self, _: &mut Self::Total, _: &Screen) -> Option<CliError> {
        None
    }

    /// What was done on many hosts in total in this time, for the summary.
    fn sum(&self, _: &Self::Total, _: Duration) -> Option<String> {
        None
    }
}
