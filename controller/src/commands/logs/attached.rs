//! Reading a job to its end, which is the result of `attach`.

use lariat_base::name::HostName;
use lariat_wire::protocol::exec;
use lariat_wire::protocol::job::State;

use super::reading::{Reading, Total};
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, Screen};
use crate::jobs;

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
        let (object, ended) = self.0.report(total, host, outcome);
        (object, state.map_or(ended, |state| as_the_job(host, state)))
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        self.0.nothing(host, error)
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        self.0.over(total, screen)
    }
}

/// The result on a host is the job's.
fn as_the_job(host: &HostName, state: State) -> Ended {
    let unknown = |why: &str| {
        let error = CliError::new(format!("{why}: how the command ended is not known"));
        Ended::failed(End::Errored, error.during(format!("attach on {host}")))
    };
    match state {
        State::Ended(exec::End::Exited(0)) => Ended::ok(),
        State::Ended(end) => Ended {
            end: if end == exec::End::TimedOut { End::TimedOut } else { End::Failed },
            exit: Some(end.status()),
            said: Some(jobs::state(state)),
            status: Some(end.status()),
            ..Ended::ok()
        },
        State::Died { with_host: true } => unknown("the job died when its host was restarted"),
        State::Died { with_host: false } => unknown("the process that watched over the job died"),
        State::Running => unknown("the agent says that the job still runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_as_the_job_does() {
        let ended = |state| {
            let Ended { end, exit, said, status, errors, .. } =
                as_the_job(&"web1".parse().unwrap(), state);
            (end, exit, said.unwrap_or_default(), status, errors.len())
        };
        let of = |end| ended(State::Ended(end));
        assert_eq!(of(exec::End::Exited(0)), (End::Ok, None, String::new(), None, 0));
        assert_eq!(of(exec::End::Exited(3)), (End::Failed, Some(3), "exit 3".into(), Some(3), 0));
        let signaled = (End::Failed, Some(130), "SIGINT".into(), Some(130), 0);
        assert_eq!(of(exec::End::Signaled(2)), signaled);
        let timed_out = (End::TimedOut, Some(124), "timed out".into(), Some(124), 0);
        assert_eq!(of(exec::End::TimedOut), timed_out);
        for unknown in [State::Died { with_host: true }, State::Running] {
            assert_eq!(ended(unknown), (End::Errored, None, String::new(), None, 1));
        }
    }
}
