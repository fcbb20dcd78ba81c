//! The options of every verb that works on many hosts, and the selection of those hosts.

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{End, HostCount, Limits, Plan, Record};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::{Fleet, ReachOptions};
use crate::output;
use crate::settle::settle;
use crate::target::{Chosen, Targets, fold};

/// Descriptors that are reserved for this process itself.
const OWN_DESCRIPTORS: u64 = 64;

/// Most descriptors that a host needs: its connection, two outputs, and one to spare.
const HOST_DESCRIPTORS: u64 = 4;

// Options of every verb that works on several hosts.
#[derive(clap::Args)]
#[command(
    after_help = "More options, for many hosts (--parallel, --batch, ...) and global: --help"
)]
pub(crate) struct FanoutOptions {
    /// How many hosts at a time
    #[arg(help_heading = "Many hosts", long, value_name = "N", default_value = "64", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    parallel: u32,

    /// Run N hosts, or P%, at a time, and wait for each batch to finish
    #[arg(help_heading = "Many hosts", long, value_name = "N|P%", hide_short_help = true, value_parser = parse_batch)]
    batch: Option<HostCount>,

    /// Stop starting hosts after more than N failures, or P%
    #[arg(help_heading = "Many hosts", long, value_name = "N|P%", hide_short_help = true)]
    max_fail: Option<HostCount>,

    /// Only hosts of TARGET that did not succeed last time
    ///
    /// These are the hosts that failed, were unreachable, refused, not started or unfinished in the last command over
    /// several hosts.
    #[arg(help_heading = "Many hosts", long, hide_short_help = true)]
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
    /// The selected hosts; `None` if none of them is left to be retried.
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
        settle(context, fleet, &hosts)?;
        Ok(hosts)
    }

    /// Whether the one host of a target is to be tried, with `--retry-failed` or without.
    pub(crate) fn includes(
        &self,
        targets: &Targets,
        fleet: &Fleet,
        context: &Context,
    ) -> Result<bool, CliError> {
        Ok(!self.retry_failed || !self.hosts(targets, fleet, context)?.is_empty())
    }

    /// The one host that a verb names in all of its targets; `None` if it is not left to be retried.
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
        let handle = fleet.host(chosen)?;
        settle(context, &fleet, std::slice::from_ref(chosen))?;
        Ok(Some(handle))
    }

    /// The limits for these hosts, as far as this process has descriptors.
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

/// Warns that work which began on a host may now be done twice.
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

/// How many hosts this process may be connected to at a time.
pub(crate) fn connections() -> usize {
    usize::try_from(descriptors().saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// How many descriptors this process may have, after raising its limit.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}
