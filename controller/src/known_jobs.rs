//! `known-jobs.jsonl`: detached jobs that this machine has started or seen, which a shell can complete. It is only a help:
//! where it can't be read or written, nothing else fails.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use lariat_base::escape::{escape, shortened};
use lariat_base::name::{HostName, JobId};
use lariat_base::private;
use serde::{Deserialize, Serialize};

use crate::home::Home;

const FILE: &str = "known-jobs.jsonl";

/// A longer file is cut, so that completion stays quick.
const MAX_LEN: usize = 256 * 1024;

/// Jobs that are kept when it is cut.
const KEPT: usize = 200;

/// Most characters of a command.
const LONGEST_COMMAND: usize = 60;

/// A detached job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownJob {
    /// Where it runs.
    pub(crate) host: HostName,
    /// Its id.
    pub(crate) job: String,
    /// What it runs.
    pub(crate) command: String,
}

impl KnownJob {
    pub(crate) fn new(host: &HostName, job: JobId, command: &[u8]) -> Self {
        let line = command.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let command = shortened(&escape(line), LONGEST_COMMAND);
        Self { host: host.clone(), job: job.to_string(), command }
    }
}

/// Adds jobs.
pub(crate) fn note(home: &Home, jobs: &[KnownJob]) {
    let line = |job| serde_json::to_string(job).map(|line| line + "\n").unwrap_or_default();
    let text: String = jobs.iter().map(line).collect();
    let path = home.path().join(FILE);
    let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    // In one write, since several processes may append.
    let _ = open.and_then(|mut file| file.write_all(text.as_bytes()));
    if fs::metadata(&path).is_ok_and(|file| file.len() > MAX_LEN as u64)
        && let Ok(_lock) = home.lock()
    {
        let newest: String = read(home).iter().take(KEPT).rev().map(line).collect();
        let _ = private::replace(&path, newest.as_bytes());
    }
}

/// The jobs, each once, the newest first.
pub(crate) fn read(home: &Home) -> Vec<KnownJob> {
    let text = fs::read(home.path().join(FILE)).unwrap_or_default();
    let mut jobs: Vec<KnownJob> = Vec::new();
    // What is not a job's line is passed over.
    for job in
        text.rsplit(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    {
        let job: KnownJob = job;
        if !jobs.iter().any(|known| known.job == job.job && known.host == job.host) {
            jobs.push(job);
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_known_once_and_the_newest_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        assert_eq!(read(&home), []);
        let job = |n: usize| KnownJob {
            host: "web1".parse().unwrap(),
            job: format!("{n:032x}"),
            command: "x".repeat(600),
        };
        note(&home, &[job(1), job(2)]);
        note(&home, &[job(1)]);
        assert_eq!(read(&home), [job(1), job(2)]);
        fs::write(directory.path().join(FILE), b"no JSON\n{}\n\xff").unwrap();
        assert_eq!(read(&home), []);
        let many: Vec<_> = (0..1000).map(job).collect();
        note(&home, &many);
        let left = read(&home);
        assert_eq!(
            (left.len(), &left[0], left[199].job.as_str()),
            (200, &job(999), job(800).job.as_str())
        );
    }
}
