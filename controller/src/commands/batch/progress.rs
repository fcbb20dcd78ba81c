//! How far each host has come with a plan, for `--resume`: the plan's text, and a line for each step that
//! a host begins, with the job that it is, and has done. In the fleet's directory, where only its owner reads.
//!
//! Invariant: what is asked of a host is written down before, so that the next controller asks first what has
//! become of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::lock::lock;
use lariat_base::name::{HostName, JobId};
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::home::Home;
use crate::json_lines::{JsonLines, Lines};

const FILE: &str = "batch.jsonl";

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
pub(super) struct Progress(Mutex<JsonLines>);

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
        let file = JsonLines::create(home, FILE, &Head { text: text.to_owned() })?;
        Ok(Self(Mutex::new(file)))
    }

    /// Goes on with the newest plan, which must be this one.
    pub(super) fn resume(home: &Home, text: &str) -> Result<(Self, Done), CliError> {
        if let Some(file) = JsonLines::open(home, FILE)?
            && let Some(done) = read(file.lines()?, text)?
        {
            return Ok((Self(Mutex::new(file)), done));
        }
        let why = "the plan that was begun last is another one, or was changed since";
        Err(CliError::new(why).hint("the same without --resume, which begins it anew"))
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
        lock(&self.0).append(&Line { host: host.clone(), done, begun })
    }
}

/// None if it is another plan.
fn read(mut lines: Lines<'_>, text: &str) -> Result<Option<Done>, CliError> {
    if lines.first::<Head>()?.is_none_or(|head| head.text != text) {
        return Ok(None);
    }
    let mut all = Done::new();
    // A step whose line was cut counts as not done.
    while let Some(Line { host, done, begun }) = lines.next()? {
        all.insert(host, Stand { done, begun });
    }
    Ok(Some(all))
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

    /// The bytes of version 1, which later versions write and read too.
    #[test]
    fn the_format_is_what_earlier_versions_wrote() {
        const GOLDEN: &str = r#"{"text":"[[step]]\nrun = \"x\"\n"}
{"host":"web1","done":0,"begun":{"command":1,"job":"07070707070707070707070707070707","at_ms":5,"has_failed":true}}
{"host":"web2","done":1}
"#;
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let [web1, web2] = ["web1", "web2"].map(|host| host.parse::<HostName>().unwrap());
        let text = "[[step]]\nrun = \"x\"\n";
        let progress = Progress::begin(&home, text).unwrap();
        let begun = Begun { at_ms: 5, ..Begun::now(1, Some(JobId([7; 16])), true) };
        progress.begins(&web1, 0, begun.clone()).unwrap();
        progress.done(&web2, 1).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), GOLDEN);
        // Before steps had several commands, and with what a later version may say.
        let old = GOLDEN.replace("\"command\":1,", "").replace(",\"has_failed\":true", "");
        std::fs::write(&path, old.replace("\"done\":1", "\"done\":1,\"more\":2")).unwrap();
        let (_, done) = Progress::resume(&home, text).unwrap();
        let begun = Some(Begun { command: 0, has_failed: false, ..begun });
        assert_eq!(done[&web1], Stand { done: 0, begun });
        assert_eq!(done[&web2], Stand { done: 1, begun: None });
    }
}
