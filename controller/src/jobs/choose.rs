//! Chooses a job by the beginning of its id, or by default. No I/O.

use std::str::FromStr;

use lariat_base::name::{HostName, JobId};
use lariat_wire::protocol::job::{Job, List, State};

use super::short;
use crate::error::CliError;
use crate::target::{Targets, fold, natural};

/// The number of jobs that an error names.
const NAMED: usize = 3;

/// A job's id, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(pub(super) String);

/// A text is not a job's id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job's id, nor its beginning (up to 32 hexadecimal digits)")]
pub(crate) struct BadPrefix(String);

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let list = List { prefix: text.to_ascii_lowercase(), all_keys: false };
        if text.is_empty() || list.check().is_err() {
            return Err(BadPrefix(text.to_owned()));
        }
        Ok(Self(list.prefix))
    }
}

impl From<JobId> for Prefix {
    fn from(job: JobId) -> Self {
        Self(job.to_string())
    }
}

/// The default choice if no id is given.
#[derive(Clone, Copy)]
pub(crate) enum Unnamed {
    /// The newest detached one.
    Newest,
    /// The only running one, for verbs that can't be undone.
    Only,
}

/// An id, and its job on each host that has it.
pub(crate) type Shared<'a> = (JobId, Vec<(&'a HostName, &'a Job)>);

/// The requested job.
#[derive(Clone)]
pub(crate) struct Wish {
    /// The beginning of its id, if given.
    pub(crate) prefix: Option<Prefix>,
    /// The choice if no id is given.
    pub(crate) unnamed: Unnamed,
    /// Whether it may be another key's.
    pub(crate) all_keys: bool,
}

impl Wish {
    /// The jobs that match, out of the jobs that a host listed for the prefix.
    pub(crate) fn candidates(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        match (&self.prefix, self.unnamed) {
            (Some(_), _) => {}
            (None, Unnamed::Newest) => {
                jobs = jobs.into_iter().rfind(|job| job.detached).into_iter().collect();
            }
            (None, Unnamed::Only) => jobs.retain(|job| job.detached && job.state == State::Running),
        }
        jobs
    }

    /// The only match, out of the jobs that a host listed for the prefix.
    pub(crate) fn one_of(&self, host: &HostName, listed: Vec<Job>) -> Result<Job, CliError> {
        let had = self.prefix.is_none() && listed.iter().any(|job| job.detached);
        let candidates = self.candidates(listed);
        if had && candidates.is_empty() {
            let message = "every detached job of this key on this host has ended";
            return Err(CliError::new(message).hint(format!("lariat jobs {host}")));
        }
        self.one(host, candidates)
    }

    /// The only match, out of a host's candidates.
    pub(crate) fn one(&self, host: &HostName, candidates: Vec<Job>) -> Result<Job, CliError> {
        match <[Job; 1]>::try_from(candidates) {
            Ok([job]) => Ok(job),
            Err(none) if none.is_empty() => Err(self.none_on(host)),
            Err(several) => {
                let shown = several.iter().map(short);
                Err(self.several(shown, &format!("lariat jobs {host}")))
            }
        }
    }

    /// The only matching id out of several hosts' candidates, and its job on each host that has it: those of a
    /// fan-out share their id.
    pub(crate) fn shared<'a>(
        &self,
        targets: &Targets,
        told: &'a [(HostName, Vec<Job>)],
    ) -> Result<Shared<'a>, CliError> {
        let mut by_id: Vec<Shared<'a>> = Vec::new();
        for (host, job) in
            told.iter().flat_map(|(host, jobs)| jobs.iter().map(move |job| (host, job)))
        {
            match by_id.iter_mut().find(|(id, _)| *id == job.job) {
                Some((_, jobs)) => jobs.push((host, job)),
                None => by_id.push((job.job, vec![(host, job)])),
            }
        }
        match <[_; 1]>::try_from(by_id) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Err(self.none_of(targets)),
            Err(mut several) => {
                let first = |jobs: &[(&'a HostName, &Job)]| {
                    let names = jobs.iter().map(|(host, _)| host.as_str());
                    names.min_by(|a, b| natural(a, b)).unwrap_or_default()
                };
                several.sort_by(|(_, a), (_, b)| natural(first(a), first(b)));
                let shown = several.iter().map(|(_, jobs)| {
                    let hosts = fold(jobs.iter().map(|(host, _)| host.as_str()));
                    format!("{} on {hosts}", short(jobs[0].1))
                });
                Err(self.several(shown, &format!("lariat jobs {}", targets.quoted())))
            }
        }
    }

    /// The error if this host does not have the job.
    pub(crate) fn none_on(&self, host: &HostName) -> CliError {
        self.none("on this host", host)
    }

    /// The error if none of these hosts that answered has the job.
    pub(crate) fn none_of(&self, targets: &Targets) -> CliError {
        self.none(&format!("on any host of {targets} that answered"), targets.quoted())
    }

    fn none(&self, on: &str, target: impl std::fmt::Display) -> CliError {
        match &self.prefix {
            Some(Prefix(prefix)) => CliError::new(format!("this key has no job {prefix} {on}"))
                .hint(format!("lariat jobs {target}")),
            None => CliError::new(format!("this key has no detached job {on}"))
                .hint(format!("lariat run --detach {target} -- COMMAND")),
        }
    }

    fn several(&self, which: impl ExactSizeIterator<Item = String>, hint: &str) -> CliError {
        let what = match &self.prefix {
            Some(Prefix(prefix)) => format!("begin with {prefix}"),
            // A newest one there is only one of.
            None => "run there".to_owned(),
        };
        let dots = if which.len() > NAMED { ", ..." } else { "" };
        let count = which.len();
        let named = which.take(NAMED).collect::<Vec<_>>().join(", ");
        CliError::new(format!("{count} jobs {what}: {named}{dots}")).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::name::KeyId;
    use lariat_wire::protocol::exec::End;

    use super::*;

    const ENDED: State = State::Ended(End::Exited(0));

    fn job(id: u8, detached: bool, state: State) -> Job {
        let (began_ms, ended_ms, user, command) = (0, None, None, Vec::new());
        Job {
            job: JobId([id; 16]),
            key: KeyId([1; 16]),
            detached,
            began_ms,
            ended_ms,
            user,
            command,
            state,
        }
    }

    fn wish(prefix: &str, unnamed: Unnamed) -> Wish {
        let prefix = (!prefix.is_empty()).then(|| prefix.parse().unwrap());
        Wish { prefix, unnamed, all_keys: false }
    }

    #[test]
    fn an_id_is_chosen_by_its_beginning_or_by_what_there_is() {
        let jobs = [
            job(0x11, true, ENDED),
            job(0x22, true, State::Running),
            job(0x33, true, ENDED),
            job(0x44, false, State::Running),
        ];
        let host: HostName = "web1".parse().unwrap();
        let choose = |jobs: &[Job], prefix: &str, unnamed| {
            let wish = wish(prefix, unnamed);
            let one = wish.one_of(&host, jobs.to_vec());
            one.map(|job| job.job.0[0]).map_err(|e| e.line())
        };
        assert_eq!(choose(&jobs[..1], "1", Unnamed::Only), Ok(0x11));
        assert_eq!(choose(&jobs, "", Unnamed::Newest), Ok(0x33));
        assert_eq!(choose(&jobs, "", Unnamed::Only), Ok(0x22));
        insta::assert_snapshot!(choose(&jobs, "AB", Unnamed::Only).unwrap_err(), @"4 jobs begin with ab: 111111111111, 222222222222, 333333333333, ...; try: lariat jobs web1");
        insta::assert_snapshot!(choose(&[], "ab", Unnamed::Only).unwrap_err(), @"this key has no job ab on this host; try: lariat jobs web1");
        insta::assert_snapshot!(choose(&jobs[..1], "", Unnamed::Only).unwrap_err(), @"every detached job of this key on this host has ended; try: lariat jobs web1");
        insta::assert_snapshot!(choose(&jobs[3..], "", Unnamed::Only).unwrap_err(), @"this key has no detached job on this host; try: lariat run --detach web1 -- COMMAND");
        for bad in ["", "x", "-", &"a".repeat(33)] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_id_is_that_of_all_hosts_or_those_that_match_are_named() {
        let targets: Targets = "web*".parse().unwrap();
        let told = |hosts: &[(&str, &[u8])]| -> Vec<(HostName, Vec<Job>)> {
            let jobs = |ids: &[u8]| ids.iter().map(|&id| job(id, true, ENDED)).collect();
            hosts.iter().map(|(host, ids)| (host.parse().unwrap(), jobs(ids))).collect()
        };
        let choose = |prefix: &str, hosts: &[(&str, &[u8])]| {
            let told = told(hosts);
            let found = wish(prefix, Unnamed::Newest).shared(&targets, &told);
            let hosts = |all: &[(&HostName, &Job)]| fold(all.iter().map(|(host, _)| host.as_str()));
            let found = found.map(|(id, all)| format!("{} {}", hosts(&all), &id.to_string()[..4]));
            found.map_err(|e| e.line())
        };
        let one = choose("1", &[("web10", &[]), ("web2", &[0x11])]);
        assert_eq!(one.unwrap(), "web2 1111");
        let all = choose("1", &[("web10", &[0x11]), ("web2", &[0x11]), ("web3", &[])]);
        assert_eq!(all.unwrap(), "web[2,10] 1111");
        let two = choose("1", &[("web10", &[0x11]), ("web9", &[0x11]), ("web2", &[0x12])]);
        insta::assert_snapshot!(two.unwrap_err(), @"2 jobs begin with 1: 121212121212 on web2, 111111111111 on web[9-10]; try: lariat jobs 'web*'");
        insta::assert_snapshot!(choose("1", &[("web1", &[])]).unwrap_err(), @"this key has no job 1 on any host of web* that answered; try: lariat jobs 'web*'");
    }
}
