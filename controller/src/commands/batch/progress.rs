//! How far each host has come with a plan, for `--resume`: the plan's text, and a line for each step that
//! a host begins, with the job that it is, and has done. In the fleet's directory, where only its owner reads.
//!
//! Invariant: what is asked of a host is written down before, so that the next controller asks first what has
//! become of it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::lock::lock;
use lariat_base::name::{HostName, JobId};
use lariat_base::os_error::io_error;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::home::Home;

const FILE: &str = "batch.jsonl";

/// Most bytes that are read of it.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// How far hosts have come.
pub(super) type Done = BTreeMap<HostName, Stand>;

/// How far a host has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// Steps that it has done.
    pub(super) done: usize,
    /// What it was at with the next one.
    pub(super) begun: Option<Begun>,
}

/// Something that was begun, and whose end nobody has written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Which of the step's commands.
    #[serde(default)]
    pub(super) command: usize,
    /// The job that it is; none of a transfer.
    pub(super) job: Option<String>,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// One of the step's commands before it has failed.
    #[serde(default)]
    pub(super) has_failed: bool,
}

impl Begun {
    /// From now on.
    pub(super) fn now(command: usize, job: Option<JobId>, has_failed: bool) -> Self {
        Self { command, job: job.map(|job| job.to_string()), at_ms: now_ms(), has_failed }
    }

    /// How long ago that was; nothing if the clock was set back since.
    pub(super) fn ago(&self) -> Option<Duration> {
        now_ms().checked_sub(self.at_ms).map(Duration::from_millis)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A plan under way is written down here.
pub(super) struct Progress {
    path: PathBuf,
    file: Mutex<File>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    text: String,
}

/// A host has done so many steps, and perhaps begun the next one.
#[derive(Serialize, Deserialize)]
struct Line {
    host: HostName,
    done: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Begun>,
}

impl Progress {
    /// Begins a plan in the place of the one before.
    pub(super) fn begin(home: &Home, text: &str) -> Result<Self, CliError> {
        let path = home.path().join(FILE);
        let begin = || {
            let mut file = tempfile::NamedTempFile::new_in(home.path())?;
            write(file.as_file_mut(), &Head { text: text.to_owned() })?;
            Ok(file.persist(&path)?)
        };
        let _lock = home.lock()?;
        let file = begin().map_err(|error| failed("write", &path, &error))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Goes on with the newest plan, which must be this one.
    pub(super) fn resume(home: &Home, text: &str) -> Result<(Self, Done), CliError> {
        let path = home.path().join(FILE);
        let other = || {
            CliError::new("the plan that was begun last is another one, or was changed since")
                .hint("the same without --resume, which begins it anew")
        };
        let _lock = home.lock()?;
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(other()),
            file => file.map_err(|error| failed("open", &path, &error))?,
        };
        let done = read(BufReader::new((&file).take(MAX_LEN)), text);
        let done = done.map_err(|error| failed("read", &path, &error))?.ok_or_else(other)?;
        Ok((Self { path, file: Mutex::new(file) }, done))
    }

    /// A host has done this many steps, and nothing else is under way there.
    pub(super) fn done(&self, host: &HostName, done: usize) -> Result<(), CliError> {
        self.line(host, done, None)
    }

    /// A host has done this many steps, and is about to be asked for this.
    pub(super) fn begins(
        &self,
        host: &HostName,
        done: usize,
        begun: Begun,
    ) -> Result<(), CliError> {
        self.line(host, done, Some(begun))
    }

    /// Each is written at once, whole.
    fn line(&self, host: &HostName, done: usize, begun: Option<Begun>) -> Result<(), CliError> {
        let mut file = lock(&self.file);
        let line = Line { host: host.clone(), done, begun };
        write(&mut file, &line).map_err(|error| failed("write", &self.path, &error))
    }
}

/// None if it is another plan.
fn read(mut lines: impl BufRead, text: &str) -> io::Result<Option<Done>> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    if serde_json::from_str::<Head>(&line).ok().is_none_or(|head| head.text != text) {
        return Ok(None);
    }
    let mut all = Done::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(Some(all));
        }
        // A crash may have cut a line: then that step counts as not done.
        if let Ok(Line { host, done, begun }) = serde_json::from_str(&line) {
            all.insert(host, Stand { done, begun });
        }
    }
}

fn write(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    file.write_all(&text)
}

fn failed(action: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::new(format!("{action} {}: {}", path.display(), io_error(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_plan_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        assert!(Progress::resume(&home, "a").is_err());
        let [web1, web2] = ["web1", "web2"].map(|host| host.parse().unwrap());
        let progress = Progress::begin(&home, "a").unwrap();
        progress.done(&web1, 1).unwrap();
        progress.done(&web2, 1).unwrap();
        assert!(Progress::resume(&home, "b").is_err());
        let (progress, done) = Progress::resume(&home, "a").unwrap();
        let one = Stand { done: 1, begun: None };
        assert_eq!(done, Done::from([(web1.clone(), one.clone()), (web2.clone(), one)]));
        let begun = Begun::now(2, Some(JobId([7; 16])), true);
        progress.begins(&web1, 1, begun.clone()).unwrap();
        progress.done(&web2, 2).unwrap();
        let (progress, done) = Progress::resume(&home, "a").unwrap();
        assert_eq!(done[&web1], Stand { done: 1, begun: Some(begun) });
        progress.done(&web1, 2).unwrap();
        let two = Stand { done: 2, begun: None };
        assert_eq!(Progress::resume(&home, "a").unwrap().1[&web1], two);
        drop(Progress::begin(&home, "a").unwrap());
        assert!(Progress::resume(&home, "a").unwrap().1.is_empty());
    }
}
