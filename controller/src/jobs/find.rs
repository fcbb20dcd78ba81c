//! Finds, of several hosts, those that have a job which is named by its id, before anything is done on one of them.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::job::Job;

use super::{Prefix, Whom, Wish, list};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, Fanout, HostContext, HostWork};
use crate::fleet::Fleet;
use crate::output;
use crate::output::json::{self, JobResult};
use crate::target::Chosen;

/// What a search of several hosts found.
pub(crate) enum Searched {
    /// The job.
    Found(Found),
    /// Nothing is to be done: this is the exit status.
    Over(u8),
}

/// The hosts that have a job.
pub(crate) struct Found {
    pub(crate) fleet: Arc<Fleet>,
    /// The hosts, and the job there.
    pub(crate) hosts: Vec<(Chosen, Job)>,
    /// The job, by its whole id.
    pub(crate) wish: Wish,
    /// The hosts that answered and do not have it.
    pub(crate) without: Vec<HostName>,
    /// The hosts that did not answer, and have been reported. They may have it too.
    pub(crate) failed: Vec<(HostName, End)>,
}

/// Finds the hosts of several that have the job which is named by its id or the beginning. With `json`, every host
/// that is none of them gets its object, except those of [`Found::without`]. Requires a runtime.
pub(crate) async fn find(
    whom: &Whom,
    wish: &Wish,
    context: &Context,
    verb: &'static str,
    json: bool,
) -> Result<Searched, CliError> {
    let Whom { target, connect, fanout, .. } = whom;
    let fleet = Arc::new(Fleet::load(context, connect)?);
    let hosts = fanout.hosts(target, &fleet, context)?;
    whom.check(&hosts)?;
    if hosts.is_empty() {
        return Ok(Searched::Over(0));
    }
    let count = hosts.len();
    let fanout = Fanout::search(context, hosts, fanout.limits(), json)?;
    let search = Arc::new(Search { wish: wish.clone(), limit: whom.timeout, verb, json });
    let (status, Answers { listed, failed }) = fanout.run(Arc::clone(&fleet), search).await?;
    if listed.len() + failed.len() < count {
        // It was interrupted, and whatever comes of it would be of some hosts only.
        return Ok(Searched::Over(status));
    }
    if listed.is_empty() {
        let message = format!("{verb}: no host of {target} answered");
        return Err(CliError::new(message).hint(format!("lariat ping {}", target.quoted())));
    }
    let (id, jobs) = match wish.shared(target, &listed) {
        Ok(shared) => shared,
        Err(error) => {
            let error = error.during(verb);
            put_without(listed.iter().map(|(host, _)| host), Some(&error), json)?;
            return Err(error);
        }
    };
    let without = listed.iter().map(|(host, _)| host);
    let without = without.filter(|host| !jobs.iter().any(|(holder, _)| holder == host)).cloned();
    let without = without.collect();
    let chosen = |host: &HostName| Chosen { host: host.clone(), user: None };
    let hosts = jobs.iter().map(|(host, job)| (chosen(host), (*job).clone())).collect();
    let wish = Wish { prefix: Some(Prefix::from(id)), ..wish.clone() };
    Ok(Searched::Found(Found { fleet, hosts, wish, without, failed }))
}

/// The object of a host that answered and does not have the job: that is a failure only where no other host has it.
pub(crate) fn without(host: &HostName, error: Option<&CliError>) -> Result<Vec<u8>, CliError> {
    json::line(&match error {
        Some(error) => JobResult::failed(host, error),
        None => JobResult::none(host),
    })
}

/// With `json`, writes the objects of hosts where nothing is done.
pub(crate) fn put_without<'a>(
    hosts: impl IntoIterator<Item = &'a HostName>,
    error: Option<&CliError>,
    json: bool,
) -> Result<(), CliError> {
    let objects = hosts.into_iter().filter(|_| json).map(|host| without(host, error));
    output::bytes(&objects.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Lists the candidate jobs of each host.
struct Search {
    wish: Wish,
    limit: Option<Duration>,
    verb: &'static str,
    json: bool,
}

/// What the hosts answered.
#[derive(Default)]
struct Answers {
    /// The candidates of each host.
    listed: Vec<(HostName, Vec<Job>)>,
    failed: Vec<(HostName, End)>,
}

impl HostWork for Search {
    type Outcome = Vec<Job>;
    type Total = Answers;

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
                total.listed.push((host.clone(), jobs));
                (Vec::new(), Ended::ok())
            }
            Err(failed) => {
                total.failed.push((host.clone(), failed.end));
                self.failed(self.json, host, failed.before(&format!("{} on", self.verb)).into())
            }
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }
}
