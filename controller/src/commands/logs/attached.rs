//! Reading a job to its end, which is the result of `attach`.

use lariat_base::name::HostName;

use super::job_end;
use super::reading::{Reading, Total};
use crate::error::CliError;
use crate::fanout::{Ended, Failed, HostContext, HostWork, Screen};

/// Reads a job's output on each host until the job has ended.
pub(super) struct Attached(pub(super) Reading);

impl HostWork for Attached {
    type Outcome = <Reading as HostWork>::Outcome;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed> {
        self.0.on(host).await
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended) {
        let state = outcome.as_ref().ok().and_then(|read| read.as_ref()?.as_ref().ok().copied());
        let is_alone = self.0.several.is_none();
        let (object, ended) = self.0.report(total, host, outcome);
        (object, state.map_or(ended, |state| job_end::result(host, state, is_alone)))
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        self.0.nothing(host, error)
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        self.0.over(total, screen)
    }
}
