//! How a verb reports the outcomes of its hosts.

use std::time::Duration;

use lariat_base::name::HostName;

use super::Ended;
use crate::error::CliError;
use crate::output::printer::Printer;

/// How a verb reports the outcomes of its hosts.
pub(crate) trait Report {
    /// The outcome of one host.
    type Outcome: Send + 'static;

    /// Reports a host that has ended.
    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended;

    /// Reports a host without an outcome: it was not begun or was left, as `error` says. With `--json`, writes its
    /// object.
    fn nothing(&mut self, _: &HostName, _: &CliError) {}

    /// All hosts have ended. Returns what is wrong although no host failed, which replaces the summary.
    fn over(&mut self, _: &Printer) -> Option<CliError> {
        None
    }

    /// What was done in all in this time, for the summary.
    fn sum(&self, _: Duration) -> Option<String> {
        None
    }
}

/// A report that the caller inspects afterwards.
impl<R: Report> Report for &mut R {
    type Outcome = R::Outcome;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        (**self).ended(host, came)
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        (**self).nothing(host, error);
    }

    fn over(&mut self, stdout: &Printer) -> Option<CliError> {
        (**self).over(stdout)
    }

    fn sum(&self, took: Duration) -> Option<String> {
        (**self).sum(took)
    }
}
