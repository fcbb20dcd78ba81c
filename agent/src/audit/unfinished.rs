//! Finds requests that have a line of their beginning and none of their end, because the agent was killed. No I/O.

use std::collections::BTreeMap;

use lariat_base::name::{JobId, KeyId};
use serde::Deserialize;

use super::line::Kept;

/// A request whose end the audit does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The fields of its line, with that line's number.
    pub kept: Kept,
    /// The job that it started, with the key that the job belongs to.
    pub job: Option<(KeyId, JobId)>,
    /// Whether the job's end stands for its own.
    pub detached: bool,
}

/// What is looked at in a line.
#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    event: &'a str,
    began: Option<u64>,
    request: Option<&'a str>,
    key: Option<&'a str>,
    owner: Option<&'a str>,
    job: Option<&'a str>,
    #[serde(default)]
    detached: bool,
}

/// Looks for them in the lines of files, oldest first: keeps the lines of beginnings until those of their ends.
#[derive(Default)]
pub(super) struct Search(BTreeMap<u64, Vec<u8>>);

impl Search {
    /// Reads whole lines.
    pub(super) fn lines(&mut self, bytes: &[u8]) {
        for bytes in bytes.split(|&byte| byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Line<'_>>(bytes) else { continue };
            match (line.event, line.began) {
                ("began", None) => _ = self.0.insert(line.seq, bytes.to_vec()),
                (_, Some(began)) => _ = self.0.remove(&began),
                _ => {}
            }
        }
    }

    /// Those that were found, oldest first.
    pub(super) fn found(self) -> Vec<Unfinished> {
        self.0.values().filter_map(|line| unfinished(line)).collect()
    }
}

fn unfinished(bytes: &[u8]) -> Option<Unfinished> {
    let line = serde_json::from_slice::<Line<'_>>(bytes).ok()?;
    let (kept, job) = (kept(bytes, line.seq)?, line.job());
    Some(Unfinished { kept, job, detached: line.detached })
}

impl Line<'_> {
    fn job(&self) -> Option<(KeyId, JobId)> {
        self.request.filter(|request| *request == "run")?;
        // Jobs belong to the first id of their key.
        Some((self.owner.or(self.key)?.parse().ok()?, self.job?.parse().ok()?))
    }
}

/// The fields behind the event of a line that has this number.
fn kept(line: &[u8], seq: u64) -> Option<Kept> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, fields) = line.split_once("\"event\":\"began\",")?;
    let (fields, _) = fields.rsplit_once(",\"hash\":\"")?;
    Kept::read(format!("{{{fields},\"began\":{seq}}}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_and_has_not_ended_is_found() {
        let key = "01".repeat(16);
        let [one, two] = ["0a".repeat(16), "0b".repeat(16)];
        let text = format!(
            "{{\"seq\":1,\"event\":\"started\",\"hash\":\"0\"}}\n\
             {{\"seq\":2,\"event\":\"began\",\"key\":\"{key}\",\"request\":\"run\",\"job\":\"{one}\",\"hash\":\"0\"}}\n\
             {{\"seq\":3,\"event\":\"began\",\"key\":\"x\",\"owner\":\"{key}\",\"request\":\"run\",\"job\":\"{two}\",\"argv\":[\"\\\"hash\\\":\"],\"detached\":true,\"hash\":\"0\"}}\n\
             {{\"seq\":4,\"event\":\"ended\",\"key\":\"{key}\",\"began\":2,\"hash\":\"0\"}}\n\
             {{\"seq\":5,\"event\":\"began\",\"key\":\"local:0\",\"request\":\"push\",\"hash\":\"0\"}}\n\
             no line\n{{\"seq\":6,\"event\":\"beg"
        );
        let mut search = Search::default();
        let (first, second) = text.split_at(text.find("{\"seq\":4").unwrap());
        search.lines(first.as_bytes());
        search.lines(second.as_bytes());
        let found = search.found();
        let [job, push] = &found[..] else { panic!("{found:?}") };
        let id = |text: &str| (key.parse().unwrap(), text.parse().unwrap());
        assert_eq!((job.job, job.detached), (Some(id(&two)), true));
        let kept = String::from_utf8(job.kept.to_bytes()).unwrap();
        assert!(
            kept.starts_with("{\"key\":\"x\",") && kept.ends_with("\"detached\":true,\"began\":3}")
        );
        assert_eq!((push.job, push.detached), (None, false));
        assert_eq!(push.kept.to_bytes(), b"{\"key\":\"local:0\",\"request\":\"push\",\"began\":5}");
    }
}
