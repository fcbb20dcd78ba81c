//! The default limits, from what this host has.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::budget::Limits;

const MIB: u64 = 1024 * 1024;

/// Limits that fit the memory which this process may use.
pub fn limits() -> Limits {
    for_memory(memory())
}

/// Bytes of output that all jobs may keep in this directory.
pub fn output(state: &Path) -> u64 {
    const LEAST: u64 = 1024 * MIB;
    let disk =
        rustix::fs::statvfs(state).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    (disk / 10).max(LEAST)
}

/// A quarter is for what requests keep; the rest is for sessions, jobs and workers.
fn for_memory(bytes: u64) -> Limits {
    let count = |share: u64, least: u64, most: u64| {
        usize::try_from((bytes / share).clamp(least, most)).unwrap_or(usize::MAX)
    };
    Limits {
        sessions: count(MIB, 64, 1024),
        jobs: count(16 * MIB, 16, 512),
        memory: count(4, 32 * MIB, 1024 * MIB),
    }
}

/// Most bytes of memory of one job: what remains is for the host's own processes.
pub fn job_memory() -> u64 {
    memory() / 10 * 9
}

/// Bytes of memory that this process may use: the host's, or less if a cgroup or a resource limit says so.
fn memory() -> u64 {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths = cgroup.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        match rest.split_once(':')? {
            ("", path) => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            (kind, path) if kind.split(',').any(|kind| kind == "memory") => {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    // In a container the process's own group can be mounted as the root.
    let roots = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let groups = paths
        .chain(roots.map(str::to_owned))
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let own = [Resource::As, Resource::Data].into_iter().filter_map(|kind| getrlimit(kind).current);
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    groups.chain(own).chain(host).min().unwrap_or(512 * MIB)
}

/// The host's memory, from the text of /proc/meminfo.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_the_memory_between_bounds() {
        let small = for_memory(256 * MIB);
        assert_eq!((small.sessions, small.jobs, small.memory as u64), (256, 16, 64 * MIB));
        let large = for_memory(64 * 1024 * MIB);
        assert_eq!((large.sessions, large.jobs, large.memory as u64), (1024, 512, 1024 * MIB));
        let none = for_memory(0);
        assert_eq!((none.sessions, none.jobs, none.memory as u64), (64, 16, 32 * MIB));
        assert!(memory() > 0);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  24 kB\n"), Some(24 * 1024));
    }
}
