//! How far each host has come with a plan, for `--resume`: the plan's text, and a line for each step that
//! a host has done. In the fleet's folder, where only its owner reads.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lariat_common::name::HostName;
use lariat_common::protocol::failure::io_error;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::home::Home;

const FILE: &str = "batch.jsonl";

/// Most bytes that are read of it.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// Steps that hosts have done.
pub(super) type Done = BTreeMap<HostName, usize>;

/// A plan under way is written down here.
pub(super) struct Progress {
    path: PathBuf,
    file: Mutex<File>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    text: String,
}

/// A host has done so many steps.
#[derive(Serialize, Deserialize)]
struct Line {
    host: HostName,
    done: usize,
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

    /// A host has done this many steps. Each is written at once, whole.
    pub(super) fn done(&self, host: &HostName, done: usize) -> Result<(), CliError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line { host: host.clone(), done };
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
        if let Ok(Line { host, done }) = serde_json::from_str(&line) {
            all.insert(host, done);
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
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        assert!(Progress::resume(&home, "a").is_err());
        let [web1, web2] = ["web1", "web2"].map(|host| host.parse().unwrap());
        let progress = Progress::begin(&home, "a").unwrap();
        progress.done(&web1, 1).unwrap();
        progress.done(&web2, 1).unwrap();
        assert!(Progress::resume(&home, "b").is_err());
        let (progress, done) = Progress::resume(&home, "a").unwrap();
        assert_eq!(done, Done::from([(web1.clone(), 1), (web2, 1)]));
        progress.done(&web1, 2).unwrap();
        assert_eq!(Progress::resume(&home, "a").unwrap().1[&web1], 2);
        drop(Progress::begin(&home, "a").unwrap());
        assert!(Progress::resume(&home, "a").unwrap().1.is_empty());
    }
}
