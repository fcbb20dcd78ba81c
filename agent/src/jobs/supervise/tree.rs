//! All the processes of a job: whoever descends from the supervisor, which is subreaper, so that a
//! double fork stays in its tree; and whoever is in the job's control group, if it has one.
//!
//! Looking through `/proc` costs milliseconds; it is done only when a job is signalled or ended.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process;

use crate::jobs::cgroup::Group;
use crate::jobs::raw;

/// Tells a process that its terminal is gone.
pub(super) const SIGHUP: u8 = 1;
/// Asks a process to end.
pub(super) const SIGTERM: u8 = 15;
/// Ends a process.
pub(super) const SIGKILL: u8 = 9;

/// What is needed to know of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
    group: i32,
}

/// Sends a signal to every process of the job once: to the command's process group at one stroke, then
/// to those that have left it.
pub(super) fn signal(group: Option<i32>, control: Option<&Group>, number: u8) {
    if let Some(group) = group {
        let _ = raw::kill(-group, number);
    }
    let (table, own) = (table(), own());
    let mut others: BTreeSet<i32> = descendants(&table, own).iter().map(|e| e.pid).collect();
    others.extend(control.map(Group::processes).unwrap_or_default());
    others.remove(&own);
    let at_once = table.iter().filter(|entry| Some(entry.group) == group).map(|entry| entry.pid);
    at_once.for_each(|pid| {
        others.remove(&pid);
    });
    for pid in others {
        // It may have ended meanwhile.
        let _ = raw::kill(pid, number);
    }
}

fn own() -> i32 {
    i32::try_from(process::id()).unwrap_or(i32::MAX)
}

/// Every process that `root` has started, directly or not.
fn descendants(table: &[Entry], root: i32) -> Vec<Entry> {
    let mut found: Vec<Entry> = table.iter().copied().filter(|e| e.parent == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|entry| entry.pid) {
        next += 1;
        found.extend(table.iter().filter(|e| e.parent == parent && e.pid != parent));
    }
    found
}

fn table() -> Vec<Entry> {
    let Ok(directory) = fs::read_dir("/proc") else { return Vec::new() };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    };
    directory.filter_map(entry).collect()
}

/// Reads `PID (NAME) STATE PARENT GROUP ...`; a name may contain anything, parentheses too.
fn parse(pid: i32, stat: &[u8]) -> Option<Entry> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_forge_a_parent() {
        let entry = parse(5, b"5 (a) S 1 1 (b c) R 7 8 9").unwrap();
        assert_eq!(entry, Entry { pid: 5, parent: 7, group: 8 });
        assert_eq!(parse(5, b"5 (a"), None);
    }

    #[test]
    fn grandchildren_are_found_and_strangers_are_not() {
        let entry = |pid, parent| Entry { pid, parent, group: pid };
        let table = [entry(9, 4), entry(4, 2), entry(2, 1), entry(3, 1), entry(5, 2)];
        let mut pids: Vec<i32> = descendants(&table, 2).iter().map(|e| e.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [4, 5, 9]);
    }

    #[test]
    fn this_process_has_itself_in_the_table() {
        assert!(table().iter().any(|entry| entry.pid == own()));
    }
}
