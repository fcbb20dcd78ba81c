//! All processes of a job: the descendants of the supervisor, which is subreaper, so a double fork stays in its
//! tree; and the processes of the job's control group, if it has one.
//!
//! The kernel lists a process's children, so only the job's own processes are looked at; where it does not, all of `/proc`
//! is searched, which takes milliseconds.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process;

use rustix::process::{Pid, getpgid};

use crate::jobs::cgroup::Group;
use crate::jobs::raw;

/// Sent when a terminal is closed.
pub(super) const SIGHUP: u8 = 1;
/// Asks a process to end.
pub(super) const SIGTERM: u8 = 15;
/// Kills a process.
pub(super) const SIGKILL: u8 = 9;

/// Sends a signal to every process of the job once: to the command's process group in one system call, then to
/// processes outside it.
pub(super) fn signal(group: Option<i32>, control: Option<&Group>, number: u8) {
    if let Some(group) = group {
        let _ = raw::kill(-group, number);
    }
    let own = own();
    let mut others = if let Some(children) = listed(own) {
        descendants(children, |pid| listed(pid).unwrap_or_default())
    } else {
        let table = table();
        let children = |parent| {
            table.iter().filter(|entry| entry.parent == parent).map(|entry| entry.pid).collect()
        };
        descendants(children(own), children)
    };
    // The kernel may leave a child out of the list while another one ends.
    others.extend(control.map(Group::processes).unwrap_or_default());
    others.remove(&own);
    let is_told = |pid| group.is_some() && group_of(pid) == group;
    for pid in others.into_iter().filter(|pid| !is_told(*pid)) {
        // The process may have ended meanwhile.
        let _ = raw::kill(pid, number);
    }
}

fn own() -> i32 {
    i32::try_from(process::id()).unwrap_or(i32::MAX)
}

/// All processes below the one that has these children.
fn descendants(children: Vec<i32>, children_of: impl Fn(i32) -> Vec<i32>) -> BTreeSet<i32> {
    let (mut found, mut next) = (BTreeSet::new(), children);
    while let Some(pid) = next.pop() {
        if found.insert(pid) {
            next.extend(children_of(pid));
        }
    }
    found
}

/// The children of all threads of a process as the kernel lists them (proc_tid_children(5)), or `None` if this kernel
/// does not.
fn listed(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let list = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(children)
}

/// The process group of a process.
fn group_of(pid: i32) -> Option<i32> {
    getpgid(Pid::from_raw(pid)).ok().map(Pid::as_raw_pid)
}

/// A process and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
}

/// All processes of the host.
fn table() -> Vec<Entry> {
    let Ok(directory) = fs::read_dir("/proc") else { return Vec::new() };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    };
    directory.filter_map(entry).collect()
}

/// Parses `PID (NAME) STATE PARENT ...`; a name may contain any character, including parentheses.
fn parse(pid: i32, stat: &[u8]) -> Option<Entry> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Entry { pid, parent })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_can_not_forge_a_parent() {
        let entry = parse(5, b"5 (a) S 1 1 (b c) R 7 8 9").unwrap();
        assert_eq!(entry, Entry { pid: 5, parent: 7 });
        assert_eq!(parse(5, b"5 (a"), None);
    }

    #[test]
    fn grandchildren_are_found_and_unrelated_processes_are_not() {
        let parents = [(9, 4), (4, 2), (2, 1), (3, 1), (5, 2), (6, 6)];
        let children = |parent: i32| {
            parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid).collect::<Vec<_>>()
        };
        let found = |root| descendants(children(root), children).into_iter().collect::<Vec<_>>();
        assert_eq!(found(2), [4, 5, 9]);
        assert!(found(9).is_empty());
        assert_eq!(found(6), [6], "a circle ends");
    }

    #[test]
    fn a_child_is_in_the_table_and_in_the_list() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(table().contains(&Entry { pid, parent: own() }));
        // Kernels without the list are served by the table.
        if let Some(children) = listed(own()) {
            assert!(children.contains(&pid), "{children:?}");
            assert_eq!(listed(pid), Some(Vec::new()));
        }
        assert_eq!(group_of(pid), group_of(own()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(group_of(pid), None);
    }
}
