//! Finds the hosts for a verb that works on one job: the named one, or of several those that have the job.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::job::{Job, State};

use super::{Prefix, Whom, Wish, list};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, HostContext, HostWork};
use crate::fleet::Fleet;
use crate::output::json::{self, JobResult};
use crate::target::Chosen;

/// Where a job may be.
#[expect(clippy::large_enum_variant, reason = "there is one of it at a time")]
pub(crate) enum Found {
    /// On the named host, which was not asked yet; an error if it is not enrolled.
    Host(Chosen, Result<HostHandle, CliError>),
    /// On these of several hosts.
    Several(Holders),
}

/// The hosts that have a job.
pub(crate) struct Holders {
    pub(crate) fleet: Arc<Fleet>,
    /// The hosts, and whether the job was running there.
    pub(crate) hosts: Vec<(Chosen, bool)>,
    /// The job, by its whole id.
    pub(crate) wish: Wish,
    /// The exit status of the search.
    pub(crate) status: u8,
}

/// Finds the hosts; `None` if no host is left to be retried. Requires a runtime.
pub(crate) async fn find(
    whom: &Whom,
    wish: &Wish,
    context: &Context,
    verb: &'static str,
) -> Result<Option<Found>, CliError> {
    let Whom { target, connect, fanout, .. } = whom;
    if let Some(chosen) = target.plain() {
        whom.check(std::slice::from_ref(&chosen))?;
        let handle = fanout.one(connect, [target], &chosen, context).transpose();
        return Ok(handle.map(|handle| Found::Host(chosen, handle)));
    }
    let fleet = Arc::new(Fleet::load(context, connect)?);
    let hosts = fanout.hosts(target, &fleet, context)?;
    whom.check(&hosts)?;
    if hosts.is_empty() {
        return Ok(None);
    }
    let fanout = Fanout::search(context, hosts, fanout.limits())?;
    let search = Arc::new(Search { wish: wish.clone(), limit: whom.timeout, verb });
    let (status, found) = fanout.run(Arc::clone(&fleet), search).await?;
    if found.is_empty() {
        let message = format!("{verb}: no host of {target} answered");
        return Err(CliError::new(message).hint(format!("lariat ping {}", target.quoted())));
    }
    let (id, jobs) = wish.shared(target, &found).map_err(|e| e.during(verb))?;
    let chosen = |host: &HostName| Chosen { host: host.clone(), user: None };
    let hosts = jobs.iter().map(|(host, job)| (chosen(host), job.state == State::Running));
    let (hosts, wish) = (hosts.collect(), Wish { prefix: Some(Prefix::from(id)), ..wish.clone() });
    Ok(Some(Found::Several(Holders { fleet, hosts, wish, status })))
}

/// Lists the candidate jobs of each host.
struct Search {
    wish: Wish,
    limit: Option<Duration>,
    verb: &'static str,
}

impl HostWork for Search {
    type Outcome = Vec<Job>;
    type Total = Vec<(HostName, Vec<Job>)>;

    async fn on(&self, host: HostContext<'_>) -> Result<Vec<Job>, Failed> {
        let (session, jobs) = list(&host.handle, &self.wish, self.limit).await?;
        session.leave().await;
        Ok(self.wish.candidates(jobs))
    }

    fn report(
        &self,
        total: &mut Self::Total,
        host: &HostName,
        outcome: Result<Vec<Job>, Failed>,
    ) -> (Vec<u8>, Ended) {
        match outcome {
            Ok(jobs) => {
                total.push((host.clone(), jobs));
                (Vec::new(), Ended::ok())
            }
            Err(failed) => {
                self.failed(false, host, failed.before(&format!("{} on", self.verb)).into())
            }
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }
}
