//! What a verb makes of what came of its hosts.

use std::time::Duration;

use lariat_base::name::HostName;

use super::Ended;
use crate::error::CliError;
use crate::output::printer::Printer;

/// What a verb makes of what came of its hosts.
pub(crate) trait Report {
    /// What comes of one.
    type Outcome: Send + 'static;

    /// A host has ended.
    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended;

    /// Nothing comes of a host: it was not begun or was left, as `error` says. Where objects are told, tells
    /// the one for it.
    fn nothing(&mut self, _: &HostName, _: &CliError) {}

    /// All have. Gives what is wrong although no host failed, which is told instead of a summary.
    fn over(&mut self, _: &Printer) -> Option<CliError> {
        None
    }

    /// What was done in all in this time, for the summary.
    fn sum(&self, _: Duration) -> Option<String> {
        None
    }
}

/// A report that is looked at afterwards.
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
