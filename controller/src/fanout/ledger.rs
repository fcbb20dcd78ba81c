//! The ledger records the newest fan-out: its plan, and how far each host came. It is a file in the fleet's
//! directory with a line of JSON for each host before it begins and one as it ends, so that the ledger also
//! covers a fan-out that was interrupted or killed. Those of the fan-outs before it are kept, for `lariat last`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_base::name::HostName;
use serde::{Deserialize, Serialize};

use super::End;
use crate::error::CliError;
use crate::home::Home;
use crate::json_lines::{self, JsonLines, Lines};

const FILE: &str = "last.jsonl";

/// The directory of the ledgers before it.
const OLDER: &str = "last";

/// The number of fan-outs that are kept.
pub(crate) const KEPT: usize = 20;

/// What a fan-out will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// `run`, `push` and so on.
    pub(crate) verb: String,
    /// The command, or the paths that are transferred.
    pub(crate) what: String,
    /// The target as the user wrote it.
    pub(crate) target: String,
    /// When it began, in seconds since 1970.
    pub(crate) began: u64,
    /// The id of its detached jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// The hosts, in order.
    pub(crate) hosts: Vec<HostName>,
}

/// The result on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The host.
    pub(crate) host: HostName,
    /// How it ended.
    pub(crate) end: End,
    /// The command's exit status, if it has one.
    pub(crate) exit: Option<u8>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// Recorded before work begins on a host.
#[derive(Serialize, Deserialize)]
struct Begun {
    begun: HostName,
}

/// A line after the plan.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Begun(Begun),
    Ended(Entry),
}

/// Records a fan-out in progress.
pub(crate) struct Ledger(JsonLines);

/// The contents of a ledger.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    /// What was to be done.
    pub(crate) plan: Plan,
    /// The hosts that have begun.
    pub(crate) begun: BTreeSet<HostName>,
    /// The hosts that have ended.
    pub(crate) entries: BTreeMap<HostName, Entry>,
}

impl Plan {
    /// A plan that begins now.
    pub(crate) fn now(
        verb: &str,
        what: String,
        target: String,
        hosts: impl IntoIterator<Item = HostName>,
    ) -> Self {
        let hosts = hosts.into_iter().collect();
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { verb: verb.to_owned(), what, target, began, job: None, hosts }
    }
}

impl Ledger {
    /// Begins a new ledger and replaces the previous one. An older fan-out keeps writing to its own, which is
    /// no longer the newest.
    pub(crate) fn begin(home: &Home, plan: &Plan) -> Result<Self, CliError> {
        JsonLines::create_and_keep(home, FILE, plan, (OLDER, KEPT - 1)).map(Self)
    }

    /// Records that a host is about to begin.
    pub(crate) fn begun(&mut self, host: &HostName) -> Result<(), CliError> {
        self.0.append(&Begun { begun: host.clone() })
    }

    /// Records that a host has ended.
    pub(crate) fn ended(&mut self, entry: &Entry) -> Result<(), CliError> {
        self.0.append(entry)
    }
}

impl Record {
    /// Reads the newest fan-out, if there was any.
    pub(crate) fn read(home: &Home) -> Result<Option<Self>, CliError> {
        json_lines::read(home, FILE, Self::parse)
    }

    /// Reads the newest fan-outs, at most this many, the newest first. Damaged ones but the newest are skipped.
    pub(crate) fn read_newest(home: &Home, most: usize) -> Result<Vec<Self>, CliError> {
        let older = (1..KEPT).map(|number| format!("{OLDER}/{}", json_lines::older_name(number)));
        let older = older.filter_map(|name| json_lines::read(home, &name, Self::parse).ok()?);
        Ok(Self::read(home)?.into_iter().chain(older).take(most).collect())
    }

    fn parse(mut lines: Lines<'_>) -> Result<Self, CliError> {
        let plan = lines.first()?.ok_or_else(|| {
            let why = "it is damaged; the next command over several hosts replaces it";
            CliError::new(format!("read {}: {why}", lines.path().display()))
        })?;
        let (mut begun, mut entries) = (BTreeSet::new(), BTreeMap::new());
        // If a host's line was truncated, its outcome is not known.
        while let Some(line) = lines.next()? {
            match line {
                Line::Begun(host) => drop(begun.insert(host.begun)),
                Line::Ended(entry) => drop(entries.insert(entry.host.clone(), entry)),
            }
        }
        Ok(Self { plan, begun, entries })
    }

    /// How far a host came.
    pub(crate) fn end(&self, host: &HostName) -> End {
        match self.entries.get(host) {
            Some(entry) => entry.end,
            None if self.begun.contains(host) => End::Unfinished,
            None => End::NotStarted,
        }
    }

    /// Whether to retry this host: it failed, or its outcome is not known.
    pub(crate) fn is_to_retry(&self, host: &HostName) -> bool {
        self.plan.hosts.contains(host) && self.end(host) != End::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let hosts = ["web1", "web2", "web3", "web4"].map(|host| host.parse().unwrap());
        Plan::now("run", "uptime".into(), "web*".into(), hosts.to_vec())
    }

    fn entry(host: &str, end: End) -> Entry {
        Entry { host: host.parse().unwrap(), end, exit: None, seconds: 0.5, error: None }
    }

    #[test]
    fn a_fan_out_is_recorded_as_far_as_it_came() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        assert_eq!(Record::read(&home).unwrap(), None);
        let mut ledger = Ledger::begin(&home, &plan()).unwrap();
        let host = |host: &str| host.parse().unwrap();
        ["web1", "web2", "web3"].iter().for_each(|name| ledger.begun(&host(name)).unwrap());
        ledger.ended(&entry("web1", End::Ok)).unwrap();
        ledger.ended(&entry("web2", End::Failed)).unwrap();
        let record = Record::read(&home).unwrap().unwrap();
        assert_eq!(record.plan, plan());
        assert_eq!(record.entries.len(), 2);
        let ends = ["web1", "web2", "web3", "web4"].map(|name| record.end(&host(name)));
        assert_eq!(ends, [End::Ok, End::Failed, End::Unfinished, End::NotStarted]);
        let again = |name: &str| record.is_to_retry(&host(name));
        assert!(!again("web1") && again("web2") && again("web3") && again("web4"));
        assert!(!again("db1"), "it was not meant");
    }

    #[test]
    fn the_last_twenty_are_kept_and_an_older_fan_out_writes_to_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        assert!(Record::read_newest(&home, 5).unwrap().is_empty());
        let mut ledgers = Vec::new();
        for number in 0..KEPT + 3 {
            let what = number.to_string();
            ledgers.push(Ledger::begin(&home, &Plan { what, ..plan() }).unwrap());
        }
        ledgers[KEPT].ended(&entry("web1", End::Ok)).unwrap();
        let all = Record::read_newest(&home, 100).unwrap();
        let numbers: Vec<usize> = all.iter().map(|one| one.plan.what.parse().unwrap()).collect();
        assert_eq!(numbers, (3..KEPT + 3).rev().collect::<Vec<_>>());
        let with_entries = all.iter().filter(|one| !one.entries.is_empty());
        assert_eq!(with_entries.map(|one| &one.plan.what).collect::<Vec<_>>(), [&KEPT.to_string()]);
        std::fs::write(directory.path().join("last/1.jsonl"), "damaged").unwrap();
        let two: Vec<_> = Record::read_newest(&home, 2).unwrap();
        let two: Vec<_> = two.iter().map(|one| one.plan.what.as_str()).collect();
        assert_eq!(two, [(KEPT + 2).to_string(), KEPT.to_string()]);
    }

    #[test]
    fn the_newest_ledger_is_not_written_by_older_fan_outs() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let mut old = Ledger::begin(&home, &plan()).unwrap();
        let _new = Ledger::begin(&home, &plan()).unwrap();
        old.ended(&entry("web1", End::Ok)).unwrap();
        assert!(Record::read(&home).unwrap().unwrap().entries.is_empty());
        for damaged in ["nonsense", "", "{}\n"] {
            std::fs::write(directory.path().join(FILE), damaged).unwrap();
            let error = Record::read(&home).unwrap_err().line();
            assert!(error.contains("last.jsonl: it is damaged"), "{error}");
        }
    }

    /// The bytes of version 1, which later versions write and read too.
    #[test]
    fn the_format_is_what_earlier_versions_wrote() {
        const GOLDEN: &str = r#"{"verb":"run","what":"test \"x\"","target":"all","began":1795749400,"hosts":["a","b","c"]}
{"begun":"a"}
{"begun":"b"}
{"host":"b","end":"unreachable","exit":null,"seconds":0.5,"error":"run on b: refused"}
{"host":"a","end":"failed","exit":124,"seconds":1.25,"error":null}
"#;
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|host| host.parse::<HostName>().unwrap());
        let (verb, what, target) = ("run".into(), "test \"x\"".into(), "all".into());
        let hosts = vec![a.clone(), b.clone(), c.clone()];
        let plan = Plan { verb, what, target, began: 1_795_749_400, job: None, hosts };
        let mut ledger = Ledger::begin(&home, &plan).unwrap();
        let error = Some("run on b: refused".into());
        let failed = Entry { exit: Some(124), seconds: 1.25, ..entry("a", End::Failed) };
        ledger.begun(&a).unwrap();
        ledger.begun(&b).unwrap();
        ledger.ended(&Entry { error, ..entry("b", End::Unreachable) }).unwrap();
        ledger.ended(&failed).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), GOLDEN);
        // A later version may have more outcomes, and more fields.
        let more = "{\"host\":\"c\",\"end\":\"paused\",\"exit\":null,\"seconds\":1}\n";
        std::fs::write(path, GOLDEN.replace("null}", "null,\"more\":1}") + more).unwrap();
        let record = Record::read(&home).unwrap().unwrap();
        assert_eq!((&record.plan, record.entries.get(&a)), (&plan, Some(&failed)));
        assert_eq!(record.end(&c), End::NotStarted);
        let words = |end: End| serde_json::to_string(&end).unwrap();
        let all = [
            (End::Ok, "ok"),
            (End::NotStarted, "not-started"),
            (End::Unfinished, "unfinished"),
            (End::Failed, "failed"),
            (End::TimedOut, "timeout"),
            (End::Errored, "error"),
            (End::Unreachable, "unreachable"),
            (End::Refused, "refused"),
        ];
        for (end, word) in all {
            assert_eq!(words(end), format!("\"{word}\""));
        }
    }
}
