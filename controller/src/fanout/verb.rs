//! A verb and its hosts: a single named host is presented plainly, several through the fan-out.

use std::process::ExitCode;
use std::sync::Arc;

use super::{Fanout, FanoutOptions, HostContext, HostWork, Outlet, Plan};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::progress::Meter;
use crate::runtime::block_on;
use crate::target::{Chosen, Targets};
use crate::{output, status};
use lariat_base::name::JobId;
use lariat_client::HostHandle;

/// A verb, with its targets.
pub(crate) struct Verb<'a> {
    pub(crate) context: &'a Context,
    pub(crate) connect: &'a ReachOptions,
    pub(crate) fanout: &'a FanoutOptions,
    /// Most verbs have one target; each source of a transfer may have its own.
    pub(crate) targets: Vec<&'a Targets>,
    pub(crate) json: bool,
    /// What the ledger says of it; a verb that only queries hosts is not recorded.
    pub(crate) recorded: Option<Recorded>,
}

/// What the ledger says of a verb.
pub(crate) struct Recorded {
    verb: &'static str,
    /// The command, or the paths that are transferred.
    what: String,
    /// The id of its detached jobs.
    job: Option<JobId>,
}

impl Recorded {
    /// A verb and its description.
    pub(crate) fn new(verb: &'static str, what: String) -> Self {
        Self { verb, what, job: None }
    }

    /// Adds the id of its detached jobs, if there is one.
    pub(crate) fn with_job(self, job: Option<JobId>) -> Self {
        Self { job, ..self }
    }
}

/// The hosts of a verb, in the order in which they were first named.
pub(crate) struct Hosts {
    pub(crate) chosen: Vec<Chosen>,
    /// For each host, the indexes of the targets that name it.
    pub(crate) named_by: Vec<Vec<usize>>,
    /// The targets can match several hosts, however many they do match.
    pub(crate) are_several: bool,
}

impl<'a> Verb<'a> {
    /// Does the work that `prepare` creates for these hosts on each of them.
    pub(crate) fn run<W: HostWork>(
        self,
        prepare: impl AsyncFnOnce(&Hosts) -> Result<W, CliError>,
    ) -> Result<ExitCode, CliError> {
        let Some(chosen) = self.one_host() else { return block_on(self.many(prepare)) };
        let named_by = vec![(0..self.targets.len()).collect()];
        let hosts = Hosts { chosen: vec![chosen.clone()], named_by, are_several: false };
        block_on(async {
            // First, for on the way to a host it does what is pending there from earlier.
            let targets = self.targets.iter().copied();
            let handle = self.fanout.one(self.connect, targets, &chosen, self.context);
            let Some(handle) = handle.transpose() else { return Ok(ExitCode::SUCCESS) };
            let work = prepare(&hosts).await?;
            let (status, _) = one(self.context, &chosen, handle, &work, self.json).await?;
            Ok(ExitCode::from(status))
        })
    }

    /// The host, if there is only one and it is named.
    fn one_host(&self) -> Option<Chosen> {
        let first = self.targets.first()?.plain()?;
        let same = |targets: &&Targets| targets.plain().is_some_and(|chosen| chosen == first);
        self.targets.iter().all(same).then_some(first)
    }

    async fn many<W: HostWork>(
        self,
        prepare: impl AsyncFnOnce(&Hosts) -> Result<W, CliError>,
    ) -> Result<ExitCode, CliError> {
        let (fleet, hosts) = self.hosts()?;
        if hosts.chosen.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let work = Arc::new(prepare(&hosts).await?);
        let (status, _) = self.over(hosts.chosen)?.run(Arc::new(fleet), work).await?;
        Ok(ExitCode::from(status))
    }

    /// All hosts that the targets name.
    fn hosts(&self) -> Result<(Fleet, Hosts), CliError> {
        let fleet = Fleet::load(self.context, self.connect)?;
        let mut hosts = Hosts { chosen: Vec::new(), named_by: Vec::new(), are_several: true };
        for (number, target) in self.targets.iter().enumerate() {
            for chosen in self.fanout.hosts(target, &fleet, self.context)? {
                if let Some(at) = hosts.chosen.iter().position(|host| *host == chosen) {
                    hosts.named_by[at].push(number);
                } else {
                    hosts.chosen.push(chosen);
                    hosts.named_by.push(vec![number]);
                }
            }
        }
        Ok((fleet, hosts))
    }

    /// The fan-out over these hosts, recorded if the verb is.
    fn over(self, hosts: Vec<Chosen>) -> Result<Fanout<'a>, CliError> {
        let Self { context, fanout, targets, json, recorded, .. } = self;
        let limits = fanout.limits();
        let Some(Recorded { verb, what, job }) = recorded else {
            return Fanout::look(context, hosts, limits, json);
        };
        let mut targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        targets.dedup();
        let names = hosts.iter().map(|chosen| chosen.host.clone());
        let plan = Plan::now(verb, what, targets.join(","), names);
        let plan = Plan { job: job.map(|job| job.to_string()), ..plan };
        Fanout::new(context, &plan, hosts, limits, json)
    }
}

impl Hosts {
    /// Refuses a host with two different users, in a target and as `user`.
    pub(crate) fn check_users(&self, user: Option<&str>) -> Result<(), CliError> {
        self.chosen.iter().try_for_each(|chosen| chosen.user(user).map(drop))
    }

    /// Refuses a target with a user, for a verb about `what` each host has one of, such as `a certificate`.
    pub(crate) fn refuse_users(&self, verb: &str, what: &str) -> Result<(), CliError> {
        match self.chosen.iter().find(|chosen| chosen.user.is_some()) {
            None => Ok(()),
            Some(chosen) => {
                let error = CliError::new(format!("{verb}: {what} is its host's, and no user's"));
                Err(error.hint(&chosen.host))
            }
        }
    }
}

/// Does the work on one host and presents it plainly: results on stdout, errors on stderr unless they are in
/// the results. Returns the exit status and the total.
async fn one<W: HostWork>(
    context: &Context,
    chosen: &Chosen,
    handle: Result<HostHandle, CliError>,
    work: &W,
    json: bool,
) -> Result<(u8, W::Total), CliError> {
    let (host, mut total) = (&chosen.host, W::Total::default());
    let outlet = &Outlet::Own { verbose: context.verbose, outages: context.outages.clone() };
    let outcome = match handle {
        // Boxed, because the large future would be part of the callers'.
        Ok(handle) => {
            let meter = &Meter::default();
            Box::pin(work.on(HostContext { number: 0, chosen, handle, outlet, meter })).await
        }
        Err(error) => Err(error.into()),
    };
    let (result, ended) = work.report(&mut total, host, outcome);
    output::bytes(&result)?;
    if !json {
        for error in &ended.errors {
            error.report(context.verbose);
        }
    }
    ended.notes.iter().for_each(|note| output::note(note));
    work.note(&total, host).iter().for_each(|note| output::notes::colored(note));
    Ok((ended.status.unwrap_or(status::of_one(ended.end)), total))
}
