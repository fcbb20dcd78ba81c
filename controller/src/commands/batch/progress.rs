//! The progress of a plan on each host, for `--resume`: the plan's text, and a line whenever a host begins a
//! step, with its job id, or completes one. The file is in the fleet's directory, which only its owner can
//! read.
//!
//! Invariant: a step is recorded before its request is sent, so that the next controller first asks the host
//! for its outcome.

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

/// The progress of all hosts.
pub(super) type Done = BTreeMap<HostName, Stand>;

/// A host's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// The number of completed steps.
    pub(super) done: usize,
    /// What is known of an earlier attempt at the next step.
    pub(super) earlier: Option<Earlier>,
}

/// An earlier attempt at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// Its outcome is not recorded.
    Begun(Begun),
    /// It ended, and the step is not complete, for this reason.
    Failed(String),
}

/// A request that was about to be sent, whose outcome is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The index of the command within the step.
    #[serde(default)]
    pub(super) command: usize,
    /// Its job id; `None` for a transfer.
    pub(super) job: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// An earlier command of the step has failed.
    #[serde(default)]
    pub(super) has_failed: bool,
}

impl Begun {
    /// A request that begins now.
    pub(super) fn now(command: usize, job: Option<JobId>, has_failed: bool) -> Self {
        Self { command, job: job.map(|job| job.to_string()), at_ms: now_ms(), has_failed }
    }

    /// How long ago it began; `None` if the clock was set back since.
    pub(super) fn ago(&self) -> Option<Duration> {
        now_ms().checked_sub(self.at_ms).map(Duration::from_millis)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The file that records a plan in progress.
pub(super) struct Progress(Mutex<JsonLines>);

#[derive(Serialize, Deserialize)]
struct Head {
    text: String,
}

/// A host has completed so many steps, and perhaps begun the next one.
#[derive(Serialize, Deserialize)]
struct Line {
    host: HostName,
    done: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Begun>,
    /// Why an attempt at the next one ended without completing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

impl Progress {
    /// Starts recording a plan, and removes the previous one.
    pub(super) fn begin(home: &Home, text: &str) -> Result<Self, CliError> {
        let file = JsonLines::create(home, FILE, &Head { text: text.to_owned() })?;
        Ok(Self(Mutex::new(file)))
    }

    /// Continues the last plan, which must be this one.
    pub(super) fn resume(home: &Home, text: &str) -> Result<(Self, Done), CliError> {
        if let Some(file) = JsonLines::open(home, FILE)?
            && let Some(done) = read(file.lines()?, text)?
        {
            return Ok((Self(Mutex::new(file)), done));
        }
        let why = "the plan that was begun last is another one, or was changed since";
        Err(CliError::new(why).hint("the same without --resume, which begins it anew"))
    }

    /// Records that a host has completed so many steps, and that no request is in progress.
    pub(super) fn done(&self, host: &HostName, done: usize) -> Result<(), CliError> {
        self.line(host, done, None)
    }

    /// Records that a host has completed so many steps, and that an attempt at the next one ended, without
    /// completing it.
    pub(super) fn failed(&self, host: &HostName, done: usize, why: String) -> Result<(), CliError> {
        self.line(host, done, Some(Earlier::Failed(why)))
    }

    /// Records that a host has completed so many steps, and that this request is about to be sent.
    pub(super) fn begins(
        &self,
        host: &HostName,
        done: usize,
        begun: Begun,
    ) -> Result<(), CliError> {
        self.line(host, done, Some(Earlier::Begun(begun)))
    }

    /// Each line is written in one write.
    fn line(&self, host: &HostName, done: usize, earlier: Option<Earlier>) -> Result<(), CliError> {
        let (begun, failed) = match earlier {
            Some(Earlier::Begun(begun)) => (Some(begun), None),
            Some(Earlier::Failed(why)) => (None, Some(why)),
            None => (None, None),
        };
        lock(&self.0).append(&Line { host: host.clone(), done, begun, failed })
    }
}

/// Returns `None` if it is another plan.
fn read(mut lines: Lines<'_>, text: &str) -> Result<Option<Done>, CliError> {
    if lines.first::<Head>()?.is_none_or(|head| head.text != text) {
        return Ok(None);
    }
    let mut all = Done::new();
    // A step whose line was truncated counts as not done.
    while let Some(Line { host, done, begun, failed }) = lines.next()? {
        let earlier = begun.map(Earlier::Begun).or(failed.map(Earlier::Failed));
        all.insert(host, Stand { done, earlier });
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
        let one = Stand { done: 1, earlier: None };
        assert_eq!(done, Done::from([(web1.clone(), one.clone()), (web2.clone(), one)]));
        let begun = Begun::now(2, Some(JobId([7; 16])), true);
        progress.begins(&web1, 1, begun.clone()).unwrap();
        progress.done(&web2, 2).unwrap();
        let (progress, done) = Progress::resume(&home, "a").unwrap();
        assert_eq!(done[&web1], Stand { done: 1, earlier: Some(Earlier::Begun(begun)) });
        progress.done(&web1, 2).unwrap();
        let two = Stand { done: 2, earlier: None };
        assert_eq!(Progress::resume(&home, "a").unwrap().1[&web1], two);
        drop(Progress::begin(&home, "a").unwrap());
        assert!(Progress::resume(&home, "a").unwrap().1.is_empty());
    }

    /// The bytes of version 1, which later versions read and write too.
    #[test]
    fn the_format_is_what_earlier_versions_wrote() {
        const GOLDEN: &str = r#"{"text":"[[step]]\nrun = \"x\"\n"}
{"host":"web1","done":0,"begun":{"command":1,"job":"07070707070707070707070707070707","at_ms":5,"has_failed":true}}
{"host":"web2","done":1}
{"host":"web3","done":2,"failed":"exit 1"}
"#;
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let [web1, web2, web3] = ["web1", "web2", "web3"].map(|host| host.parse().unwrap());
        let text = "[[step]]\nrun = \"x\"\n";
        let progress = Progress::begin(&home, text).unwrap();
        let begun = Begun { at_ms: 5, ..Begun::now(1, Some(JobId([7; 16])), true) };
        progress.begins(&web1, 0, begun.clone()).unwrap();
        progress.done(&web2, 1).unwrap();
        progress.failed(&web3, 2, "exit 1".to_owned()).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), GOLDEN);
        // A file without the index of the command, and one with a field of a later version.
        let old = GOLDEN.replace("\"command\":1,", "").replace(",\"has_failed\":true", "");
        std::fs::write(&path, old.replace("\"done\":1", "\"done\":1,\"more\":2")).unwrap();
        let (_, done) = Progress::resume(&home, text).unwrap();
        let begun = Earlier::Begun(Begun { command: 0, has_failed: false, ..begun });
        assert_eq!(done[&web1], Stand { done: 0, earlier: Some(begun) });
        assert_eq!(done[&web2], Stand { done: 1, earlier: None });
        let failed = Earlier::Failed("exit 1".to_owned());
        assert_eq!(done[&web3], Stand { done: 2, earlier: Some(failed) });
    }
}
