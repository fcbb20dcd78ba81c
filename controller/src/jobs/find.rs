//! The one host that a verb for one host is about: it is named, or it is the one of several that has
//! the job.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::job::Job;

use super::{Prefix, Whom, Wish, list};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, HostContext, HostWork};
use crate::fleet::Fleet;
use crate::output::json::{self, JobResult};
use crate::target::Chosen;

/// Where a job is.
pub(crate) struct Found {
    /// On this host.
    pub(crate) chosen: Chosen,
    /// The way to reach it, if it is enrolled.
    pub(crate) handle: Result<HostHandle, CliError>,
    /// Which of the host's jobs it is.
    pub(crate) wish: Wish,
    /// The exit status of the search among several hosts.
    pub(crate) status: u8,
}

/// Finds the host; none if no host is left to be tried again. Needs a runtime around it.
pub(crate) async fn find(
    whom: &Whom,
    wish: Wish,
    context: &Context,
    verb: &'static str,
) -> Result<Option<Found>, CliError> {
    let Whom { target, connect, fanout, .. } = whom;
    if let Some(chosen) = target.plain() {
        whom.check(std::slice::from_ref(&chosen))?;
        let handle = fanout.one(connect, [target], &chosen, context).transpose();
        return Ok(handle.map(|handle| Found { chosen, handle, wish, status: 0 }));
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
    let (host, job) = wish.host(target, &found).map_err(|e| e.during(verb))?;
    let chosen = Chosen { host: host.clone(), user: None };
    let (handle, prefix) = (fleet.host(&chosen), Some(Prefix::from(job)));
    Ok(Some(Found { chosen, handle, wish: Wish { prefix, ..wish }, status }))
}

/// Asks hosts for the jobs that may be meant.
struct Search {
    wish: Wish,
    limit: Option<Duration>,
    verb: &'static str,
}

impl HostWork for Search {
    type Outcome = Vec<Job>;
    type Total = Vec<(HostName, Vec<Job>)>;

    async fn on(&self, host: HostContext<'_>) -> Result<Vec<Job>, Failed> {
        let (session, jobs) = list(&host.handle, self.wish.prefix.as_ref(), self.limit).await?;
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
