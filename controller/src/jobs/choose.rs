//! Which job a person means: by the beginning of its id, or by what there is. No I/O.

use std::str::FromStr;

use lariat_base::name::HostName;
use lariat_wire::protocol::job::{Job, List, State};

use super::short;
use crate::error::CliError;
use crate::target::{Targets, natural};

/// How many of several jobs an error names.
const NAMED: usize = 3;

/// A job's id, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(pub(super) String);

/// A text is no job's id.
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

impl From<&Job> for Prefix {
    fn from(job: &Job) -> Self {
        Self(job.job.to_string())
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

/// The job that is meant.
#[derive(Clone)]
pub(crate) struct Wish {
    /// The beginning of its id, if it is named.
    pub(crate) prefix: Option<Prefix>,
    /// The choice if no id is given.
    pub(crate) unnamed: Unnamed,
}

impl Wish {
    /// The jobs that may be meant, out of the jobs that a host has listed for the prefix.
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

    /// The one that is meant, of what a host has listed for the prefix.
    pub(crate) fn one_of(&self, host: &HostName, listed: Vec<Job>) -> Result<Job, CliError> {
        let had = self.prefix.is_none() && listed.iter().any(|job| job.detached);
        let candidates = self.candidates(listed);
        if had && candidates.is_empty() {
            let message = "every detached job of this key on this host has ended";
            return Err(CliError::new(message).hint(format!("lariat jobs {host}")));
        }
        self.one(host, candidates)
    }

    /// The one that is meant, of a host's candidates.
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

    /// The host of the one that is meant, of several hosts with their candidates.
    pub(crate) fn host<'a>(
        &self,
        targets: &Targets,
        told: &'a [(HostName, Vec<Job>)],
    ) -> Result<(&'a HostName, &'a Job), CliError> {
        let all = told.iter().flat_map(|(host, jobs)| jobs.iter().map(move |job| (host, job)));
        let mut all: Vec<_> = all.collect();
        match all.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.none_of(targets)),
            _ => {
                all.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
                let shown = all.iter().map(|(host, job)| format!("{} on {host}", short(job)));
                Err(self.several(shown, &format!("lariat jobs {}", targets.quoted())))
            }
        }
    }

    /// This host does not have it.
    pub(crate) fn none_on(&self, host: &HostName) -> CliError {
        self.none("on this host", host)
    }

    /// None of these hosts has it, as far as they answered.
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
            None => match self.unnamed {
                Unnamed::Newest => "are each their host's newest".to_owned(),
                Unnamed::Only => "run there".to_owned(),
            },
        };
        let dots = if which.len() > NAMED { ", ..." } else { "" };
        let count = which.len();
        let named = which.take(NAMED).collect::<Vec<_>>().join(", ");
        CliError::new(format!("{count} jobs {what}: {named}{dots}")).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{JobId, KeyId};
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
        Wish { prefix, unnamed }
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
    fn one_host_of_several_has_it_or_all_that_have_are_named() {
        let targets: Targets = "web*".parse().unwrap();
        let told = |hosts: &[(&str, &[u8])]| -> Vec<(HostName, Vec<Job>)> {
            let jobs = |ids: &[u8]| ids.iter().map(|&id| job(id, true, ENDED)).collect();
            hosts.iter().map(|(host, ids)| (host.parse().unwrap(), jobs(ids))).collect()
        };
        let choose = |prefix: &str, hosts: &[(&str, &[u8])]| {
            let told = told(hosts);
            let host = wish(prefix, Unnamed::Newest).host(&targets, &told);
            host.map(|(host, job)| format!("{host} {}", short(job))).map_err(|e| e.line())
        };
        let one = choose("1", &[("web10", &[]), ("web2", &[0x11])]);
        assert_eq!(one.unwrap(), "web2 111111111111");
        let two = choose("1", &[("web10", &[0x11]), ("web2", &[0x12])]);
        insta::assert_snapshot!(two.unwrap_err(), @"2 jobs begin with 1: 121212121212 on web2, 111111111111 on web10; try: lariat jobs 'web*'");
        let two = choose("", &[("web10", &[0x11]), ("web2", &[0x12])]);
        insta::assert_snapshot!(two.unwrap_err(), @"2 jobs are each their host's newest: 121212121212 on web2, 111111111111 on web10; try: lariat jobs 'web*'");
        insta::assert_snapshot!(choose("1", &[("web1", &[])]).unwrap_err(), @"this key has no job 1 on any host of web* that answered; try: lariat jobs 'web*'");
        insta::assert_snapshot!(choose("", &[("web1", &[])]).unwrap_err(), @"this key has no detached job on any host of web* that answered; try: lariat run --detach 'web*' -- COMMAND");
    }
}
