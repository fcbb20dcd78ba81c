//! What the zygote knows of the supervisors that it has forked, so that it can clear away behind one that
//! was killed: its control group, its command, and whether the command is over.
//!
//! Supervisors write it into one pipe that all of them share. The zygote reads it only when it forks or when
//! a supervisor has ended, so nobody is woken for it; there are fewer reports than the pipe has room for.
//!
//! Invariant: a process id stands for a supervisor only until that one has been waited for, and cannot be
//! anybody else's before.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use crate::jobs::cgroup::GroupName;

/// Bytes of a report: the supervisor's id, the command's, the group's name.
const REPORT: usize = 4 + 4 + 16;

/// A command's id when there is none.
const NONE: u32 = 0;

/// A command's id once it is over.
const OVER: u32 = u32::MAX;

/// Where supervisors report.
pub(super) struct Roster {
    reports: PipeReader,
    members: HashMap<u32, Member>,
}

/// A supervisor, with its job or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// What its job's control group is called, if there is one.
    pub(super) group: GroupName,
    /// The command's process, which leads a group of its own, while it runs.
    pub(super) command: Option<u32>,
    /// The command is over: what is left of it was left behind on purpose.
    pub(super) over: bool,
}

/// A supervisor's end.
pub(super) struct Reporter {
    pipe: PipeWriter,
    group: GroupName,
}

/// Both ends, of which a supervisor keeps the second.
pub(super) fn roster() -> io::Result<(Roster, PipeWriter)> {
    let (reports, pipe) = io::pipe()?;
    rustix::io::ioctl_fionbio(reports.as_fd(), true)?;
    Ok((Roster { reports, members: HashMap::new() }, pipe))
}

impl Roster {
    /// Takes in what was reported.
    pub(super) fn update(&mut self) {
        let mut report = [0; REPORT];
        // A report is written at one stroke, and so is there whole or not at all.
        while self.reports.read_exact(&mut report).is_ok() {
            self.note(report);
        }
    }

    /// What is known of a supervisor that has ended; it is forgotten.
    pub(super) fn ended(&mut self, supervisor: u32) -> Option<Member> {
        self.members.remove(&supervisor)
    }

    fn note(&mut self, report: [u8; REPORT]) {
        let (ids, group) = report.split_at(8);
        let id = |bytes: &[u8]| bytes.try_into().map_or(NONE, u32::from_le_bytes);
        let (pid, command) = (id(&ids[..4]), id(&ids[4..]));
        let Ok(group) = group.try_into().map(GroupName) else { return };
        let running = Some(command).filter(|&id| id != NONE && id != OVER);
        let member = Member { group, command: running, over: command == OVER };
        self.members.insert(pid, member);
    }
}

impl Reporter {
    /// Reports that this process is about to make this group.
    pub(super) fn new(pipe: PipeWriter, group: GroupName) -> Self {
        let mut reporter = Self { pipe, group };
        reporter.report(NONE);
        reporter
    }

    /// The command runs.
    pub(super) fn started(&mut self, command: u32) {
        self.report(command);
    }

    /// The command was reaped, and what it has started is being ended.
    pub(super) fn reaped(&mut self) {
        self.report(NONE);
    }

    /// The command is over.
    pub(super) fn over(&mut self) {
        self.report(OVER);
    }

    fn report(&mut self, command: u32) {
        let mut report = [0; REPORT];
        report[..4].copy_from_slice(&std::process::id().to_le_bytes());
        report[4..8].copy_from_slice(&command.to_le_bytes());
        report[8..].copy_from_slice(&self.group.0);
        // A zygote that was killed clears nothing away.
        let _ = self.pipe.write_all(&report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_report_counts_until_the_end() {
        let (mut roster, pipe) = roster().unwrap();
        let (own, group) = (std::process::id(), GroupName([7; 16]));
        roster.update();
        assert_eq!(roster.ended(own), None, "one that has not reported yet");
        let mut reporter = Reporter::new(pipe, group);
        roster.update();
        reporter.started(5);
        roster.update();
        let running = Member { group, command: Some(5), over: false };
        assert_eq!(roster.members.get(&own), Some(&running));
        reporter.reaped();
        roster.update();
        assert_eq!(roster.members.get(&own), Some(&Member { command: None, ..running }));
        reporter.over();
        roster.update();
        assert_eq!(roster.ended(own), Some(Member { group, command: None, over: true }));
        assert_eq!(roster.ended(own), None, "its id may be another's now");
    }
}
