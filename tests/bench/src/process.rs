//! What the kernel reports about processes: descent, CPU time, peak memory.

use std::fs;

use rustix::process::Pid;

use crate::stats::as_f64;

/// A process and its descendants, as far as they exist.
pub(crate) fn tree(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// Each thread of a process has the children that it started.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return Vec::new();
    };
    let lists =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = |list: String| {
        let pids = list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        pids.collect::<Vec<_>>()
    };
    lists.flat_map(pids).collect()
}

/// CPU seconds of a process and of the children that it has waited for.
pub(crate) fn cpu(pid: Pid) -> f64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else {
        return 0.0;
    };
    // The name, in brackets, may itself contain spaces and brackets. After it come the third and further
    // fields; user and system time, and those of the children, are fields 14 to 17.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    ticks(fields.split_whitespace().skip(11).take(4))
}

/// CPU seconds that the whole machine has used, without interrupts and idling.
pub(crate) fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user nice system idle iowait irq softirq steal
    let first = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).enumerate();
    ticks(first.filter(|(i, _)| matches!(i, 0..=2 | 7)).map(|(_, ticks)| ticks))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> f64 {
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    as_f64(ticks) / as_f64(rustix::param::clock_ticks_per_second())
}

/// The peak memory of a process in bytes, since [`forget_peak`].
pub(crate) fn peak(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Resets a process's peak to its present memory.
pub(crate) fn forget_peak(pid: Pid) {
    // Fails for a process that is gone or of another user; its peak is then that of its whole life.
    let _ = fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_and_its_figures_are_read() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pid) = (rustix::process::getpid(), Pid::from_child(&child));
        assert!(tree(own).contains(&pid));
        // The child may not have touched a page yet.
        assert!(peak(own).unwrap() > 64 * 1024);
        assert!(cpu(own) <= machine_cpu());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree(own).contains(&pid));
    }
}
