//! The jobs on a host: which one a person means, and what is to be said of it.

use std::str::FromStr;

use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::name::HostName;
use lariat_common::protocol::Kind;
use lariat_common::protocol::exec::End;
use lariat_common::protocol::failure::Failure;
use lariat_common::protocol::job::{Job, List, Listed, State};

use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::reach::{Fleet, Reach, ReachOptions};
use crate::target::{Chosen, Targets};

/// Most messages of a list: a host that has more jobs than they hold is not right in the head.
const MOST: usize = 100;

/// Hexadecimal digits of an id that people are shown: enough to tell thousands apart.
const SHOWN: usize = 12;

/// A job's id, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

/// A text is no job's id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job's id, nor its beginning (up to 32 hexadecimal digits)")]
pub(crate) struct BadPrefix(String);

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let list = List { prefix: text.to_ascii_lowercase() };
        if text.is_empty() || !list.is_valid() {
            return Err(BadPrefix(text.to_owned()));
        }
        Ok(Self(list.prefix))
    }
}

/// Which job is meant when none is named.
#[derive(Clone, Copy)]
pub(crate) enum Unnamed {
    /// The newest detached one.
    Newest,
    /// The only one that runs: what is done to it can't be taken back.
    Only,
}

/// The host that a target names, which must be one, and without a user.
pub(crate) fn one_host(target: &Targets) -> Result<Chosen, CliError> {
    match target.plain() {
        Some(chosen @ Chosen { user: None, .. }) => Ok(chosen),
        Some(Chosen { host, .. }) => {
            let message = format!("{target}: jobs are their key's, whatever user they run as");
            Err(CliError::new(message).hint(host))
        }
        None => {
            let message =
                format!("{target} names several hosts; jobs are asked for one host at a time");
            Err(CliError::new(message))
        }
    }
}

/// What is needed to reach that host.
pub(crate) fn reach(
    context: &Context,
    target: &Targets,
    options: &ReachOptions,
) -> Result<Reach, CliError> {
    let chosen = one_host(target)?;
    Fleet::load(context, options)?.reach(&chosen)
}

/// Asks a host for its jobs. The connection is good for another request.
pub(crate) async fn list(
    reach: &Reach,
    prefix: Option<&Prefix>,
) -> Result<(Session, Vec<Job>), CliError> {
    let prefix = prefix.map(|prefix| prefix.0.clone()).unwrap_or_default();
    let mut session = reach.connect(&List { prefix }).await?;
    let listed = receive(&mut session).await;
    let jobs = listed
        .map_err(|error| error.during(format!("{} ({})", reach.peer.name, reach.peer.address)))?;
    Ok((session, jobs))
}

async fn receive(Session { link, .. }: &mut Session) -> Result<Vec<Job>, CliError> {
    let mut all = Vec::new();
    for _ in 0..MOST {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Kind::Listed => {
                let Listed { jobs, more } = link.reader.message()?;
                all.extend(jobs);
                if !more {
                    return Ok(all);
                }
            }
            Kind::Failed => return Err(link.reader.message::<Failure>()?.into()),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
    Err(LinkError::Misbehaved("its list of jobs has no end").into())
}

/// The job that is meant, of those that a host has listed for this prefix.
pub(crate) fn choose(
    host: &HostName,
    jobs: &[Job],
    prefix: Option<&Prefix>,
    unnamed: Unnamed,
) -> Result<Job, CliError> {
    let list = format!("lariat jobs {host}");
    let several = |which: &[&Job], what: &str| {
        let shown: Vec<String> = which.iter().take(3).map(|job| short(job)).collect();
        let dots = if which.len() > 3 { ", ..." } else { "" };
        let message = format!("{} jobs {what}: {}{dots}", which.len(), shown.join(", "));
        CliError::new(message).hint(&list)
    };
    let candidates: Vec<&Job> = match (prefix, unnamed) {
        (Some(_), _) => jobs.iter().collect(),
        (None, Unnamed::Newest) => jobs.iter().rfind(|job| job.kept).into_iter().collect(),
        (None, Unnamed::Only) => {
            jobs.iter().filter(|job| job.kept && job.state == State::Running).collect()
        }
    };
    match (candidates.as_slice(), prefix) {
        ([job], _) => Ok((*job).clone()),
        ([], Some(Prefix(prefix))) => {
            Err(CliError::new(format!("this key has no job {prefix} on this host")).hint(list))
        }
        ([], None) => Err(CliError::new("this key has no detached job on this host")
            .hint(format!("lariat run --detach {host} -- COMMAND"))),
        (several_, Some(Prefix(prefix))) => Err(several(several_, &format!("begin with {prefix}"))),
        (several_, None) => Err(several(several_, "run there")),
    }
}

/// A job's id, as people are shown it.
pub(crate) fn short(job: &Job) -> String {
    let mut id = job.job.to_string();
    id.truncate(SHOWN);
    id
}

/// What has become of a job, in a word or two.
pub(crate) fn state(state: State) -> String {
    match state {
        State::Running => "running".to_owned(),
        State::Ended(End::Exited(status)) => format!("exit {status}"),
        State::Ended(End::Signaled(signal)) => format!("signal {signal}"),
        State::Ended(End::TimedOut) => "timed out".to_owned(),
        State::Ended(End::NotRun(_)) => "not run".to_owned(),
        State::Died { with_host: true } => "died with the host".to_owned(),
        State::Died { with_host: false } => "died".to_owned(),
    }
}

/// A command in one line, made harmless; of several lines the first.
pub(crate) fn command(job: &Job) -> String {
    let mut lines = job.command.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first = escape(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} ...") } else { first }
}

#[cfg(test)]
mod tests {
    use lariat_common::name::JobId;

    use super::*;

    fn job(id: u8, kept: bool, state: State) -> Job {
        Job {
            job: JobId([id; 16]),
            kept,
            began_ms: 0,
            ended_ms: None,
            user: None,
            command: b"make\ttea\n\nsoon".to_vec(),
            state,
        }
    }

    #[test]
    fn an_id_is_chosen_by_its_beginning_or_by_what_there_is() {
        let ended = State::Ended(End::Exited(0));
        let jobs = [
            job(0x11, true, ended),
            job(0x22, true, State::Running),
            job(0x33, true, ended),
            job(0x44, false, State::Running),
        ];
        let host: HostName = "web1".parse().unwrap();
        let prefix = |text: &str| -> Prefix { text.parse().unwrap() };
        let choose = |jobs: &[Job], prefix: Option<Prefix>, unnamed| {
            choose(&host, jobs, prefix.as_ref(), unnamed)
                .map(|job| job.job.0[0])
                .map_err(|e| e.line())
        };
        assert_eq!(choose(&jobs[..1], Some(prefix("1")), Unnamed::Only), Ok(0x11));
        assert_eq!(choose(&jobs, None, Unnamed::Newest), Ok(0x33));
        assert_eq!(choose(&jobs, None, Unnamed::Only), Ok(0x22));
        insta::assert_snapshot!(choose(&jobs, Some(prefix("AB")), Unnamed::Only).unwrap_err(), @"4 jobs begin with ab: 111111111111, 222222222222, 333333333333, ...; try: lariat jobs web1");
        insta::assert_snapshot!(choose(&[], Some(prefix("ab")), Unnamed::Only).unwrap_err(), @"this key has no job ab on this host; try: lariat jobs web1");
        insta::assert_snapshot!(choose(&jobs[..1], None, Unnamed::Only).unwrap_err(), @"this key has no detached job on this host; try: lariat run --detach web1 -- COMMAND");
        for bad in ["", "x", "-", &"a".repeat(33)] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_is_shown_in_one_harmless_line() {
        assert_eq!(command(&job(1, true, State::Running)), "make\\x09tea ...");
    }
}
