//! The options of every verb that goes to many hosts, and which hosts those are.

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{End, HostCount, Limits, Plan, Record};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::output;
use crate::target::{Chosen, Targets, fold};

/// Descriptors that are kept for everything that is no host's.
const OWN_DESCRIPTORS: u64 = 64;

/// Most descriptors that a host needs: its connection, two outputs, and one to spare.
const HOST_DESCRIPTORS: u64 = 4;

// Options of every verb that works on several hosts.
#[derive(clap::Args)]
#[command(next_help_heading = "Many hosts")]
pub(crate) struct FanoutOptions {
    /// Hosts at once
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..))]
    parallel: u32,

    /// Go over the hosts in batches of this size: the next one begins when all of one have ended
    #[arg(long, value_name = "N|P%", value_parser = parse_batch)]
    batch: Option<HostCount>,

    /// Begin with no more hosts once more than this have failed
    #[arg(long, value_name = "N|P%")]
    max_fail: Option<HostCount>,

    /// Only hosts of TARGET that did not succeed in the last command over several hosts (failed, unreachable,
    /// refused, not started, unfinished)
    #[arg(long)]
    retry_failed: bool,
}

fn parse_batch(text: &str) -> Result<HostCount, String> {
    match text.parse::<HostCount>() {
        Ok(share) if share.is_none() => Err("a batch has at least one host".to_owned()),
        Ok(share) => Ok(share),
        Err(bad) => Err(bad.to_string()),
    }
}

impl FanoutOptions {
    /// The hosts that are meant; none if none of them is left to be tried again.
    pub(crate) fn hosts(
        &self,
        targets: &Targets,
        fleet: &Fleet,
        context: &Context,
    ) -> Result<Vec<Chosen>, CliError> {
        if fleet.is_local() {
            let what = format!("--local is for one host, by its name, and not for {targets}");
            return Err(CliError::new(what));
        }
        let mut hosts = targets.select(&fleet.inventory)?;
        if self.retry_failed {
            let Some(record) = Record::read(&context.home()?)? else {
                let error =
                    CliError::new("--retry-failed: no command over several hosts is recorded");
                return Err(error.next("run it without --retry-failed"));
            };
            hosts.retain(|chosen| record.is_to_retry(&chosen.host));
            tell_unfinished(&hosts, &record);
            if hosts.is_empty() {
                output::note(&nothing_to_retry(targets, &record));
            }
        }
        Ok(hosts)
    }

    /// Whether a target's one host is left to be tried again, or is to be tried anyway.
    pub(crate) fn includes(
        &self,
        targets: &Targets,
        fleet: &Fleet,
        context: &Context,
    ) -> Result<bool, CliError> {
        Ok(!self.retry_failed || !self.hosts(targets, fleet, context)?.is_empty())
    }

    /// The one host that a verb names in all of its targets; `None` if it is not left to be tried again.
    pub(crate) fn one<'a>(
        &self,
        connect: &ReachOptions,
        targets: impl IntoIterator<Item = &'a Targets>,
        chosen: &Chosen,
        context: &Context,
    ) -> Result<Option<HostHandle>, CliError> {
        let fleet = Fleet::load(context, connect)?;
        for target in targets {
            if !self.includes(target, &fleet, context)? {
                return Ok(None);
            }
        }
        fleet.host(chosen).map(Some)
    }

    /// How to go over them, as far as the system gives this process descriptors.
    pub(crate) fn limits(&self) -> Limits {
        let most = descriptors().saturating_sub(OWN_DESCRIPTORS) / HOST_DESCRIPTORS;
        let parallel = u64::from(self.parallel).min(most.max(1));
        Limits {
            parallel: usize::try_from(parallel).unwrap_or(usize::MAX),
            batch: self.batch,
            max_fail: self.max_fail,
        }
    }
}

fn nothing_to_retry(targets: &Targets, record: &Record) -> String {
    let Plan { verb, target, .. } = &record.plan;
    format!("nothing to retry: every host of {targets} in the last {verb} on {target} succeeded")
}

/// What was done there may be done twice, which whoever asks for it is to know.
fn tell_unfinished(hosts: &[Chosen], record: &Record) {
    let unfinished = |host: &HostName| record.end(host) == End::Unfinished;
    let hosts = hosts.iter().map(|chosen| &chosen.host).filter(|host| unfinished(host));
    let hosts = fold(hosts.map(HostName::as_str));
    if !hosts.is_empty() {
        output::note(&format!(
            "{hosts}: begun before, and how that ended is not known; tried again"
        ));
    }
}

/// How many files this process may have open, once it has raised that as far as it may.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}
