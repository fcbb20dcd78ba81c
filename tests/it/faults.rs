//! The n-th file operation of a push fails, or is the agent's last, for every n: the destination has the old
//! file or the complete new one, the controller reports correctly which, and the next push succeeds.

use std::path::{Path, PathBuf};
use std::process::Output;

use lariat_testing::agent::Agent;
use lariat_testing::files::{names, random_file};
use lariat_testing::fleet::TestFleet;
use lariat_testing::strace::{self, Injection};
use lariat_testing::wait;

const MIB: u64 = 1 << 20;

/// Every system call by which the receiver changes or inspects the destination's directory and files.
const CALLS: [&str; 18] = [
    "openat",
    "pwrite64",
    "pread64",
    "write",
    "read",
    "ftruncate",
    "fsync",
    "fdatasync",
    "fchmod",
    "fchown",
    "utimensat",
    "renameat",
    "renameat2",
    "unlinkat",
    "flock",
    "statx",
    "newfstatat",
    "fstatfs",
];

const NO_ROOM: &str = "error=ENOSPC";
const BAD_DISK: &str = "error=EIO";
const KILL: &str = "signal=KILL";

/// More calls of one kind than any transfer here makes on one thread.
const MOST: u32 = 200;

/// A directory with an old file, and a new file to replace it.
struct Case {
    fleet: TestFleet,
    source: PathBuf,
    dest: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
    /// The paths whose calls fail: everything at the destination.
    paths: Vec<PathBuf>,
}

impl Case {
    /// `similar`: the new file is the old one with a few bytes in front.
    fn new(size: u64, similar: bool) -> Self {
        let fleet = TestFleet::new();
        fleet.enroll("web1", "127.0.0.1:1");
        let directory = fleet.path("dest");
        std::fs::create_dir(&directory).unwrap();
        let (source, dest) = (fleet.path("source"), directory.join("file"));
        random_file(&source, size, 1);
        let mut old = std::fs::read(&source).unwrap();
        if similar {
            old.drain(..5);
        } else {
            old.truncate(1000);
        }
        let new = std::fs::read(&source).unwrap();
        let mut case = Self { fleet, source, dest, old, new, paths: Vec::new() };
        case.paths = vec![directory, case.dest.clone()];
        for part in case.partials() {
            case.paths.extend([part.with_extension("journal"), part]);
        }
        case
    }

    /// The paths of the partial, and of the file that stands in for it during the rename. An agent that dies
    /// before the rename leaves them.
    fn partials(&self) -> Vec<PathBuf> {
        std::fs::write(&self.dest, &self.old).unwrap();
        let injection = self.injection("renameat", KILL, 1);
        let (_, output, _) = self.push(&injection);
        assert!(!output.status.success(), "{output:?}");
        let paths = names(self.directory()).into_iter().map(|name| self.directory().join(name));
        let parts: Vec<_> =
            paths.filter(|path| path.extension() == Some("part".as_ref())).collect();
        assert_eq!(parts.len(), 2);
        parts
    }

    fn directory(&self) -> &Path {
        self.dest.parent().unwrap()
    }

    fn injection<'a>(&'a self, call: &'a str, what: &'a str, when: u32) -> Injection<'a> {
        Injection { call, what, when, paths: &self.paths }
    }

    fn args(&self) -> [String; 5] {
        let dest = format!("web1:{}", self.dest.display());
        let source = self.source.to_str().unwrap().to_owned();
        ["push", "--json", "--reconnect=0", &source, &dest].map(str::to_owned)
    }

    /// Pushes to an agent with this injection. Returns whether it happened.
    fn push(&self, injection: &Injection<'_>) -> (Agent, Output, bool) {
        let log = self.fleet.path("strace");
        let agent = strace::start(&self.fleet, "web1", injection, &log);
        let output = self.fleet.run(self.args());
        (agent, output, strace::happened(&log))
    }

    /// Pushes over the old file while the n-th call fails. Returns whether there was such a call.
    fn goes_wrong(&self, injection: &Injection<'_>) -> bool {
        std::fs::write(&self.dest, &self.old).unwrap();
        let (mut agent, output, mut happened) = self.push(injection);
        let killed = injection.what == KILL;
        if killed && !output.status.success() {
            wait::until("the agent to die", || agent.has_ended().then_some(()));
            happened = true;
        }
        let told = format!("{injection:?}: {output:?}, {:?}", agent.log());
        let is = std::fs::read(&self.dest).unwrap();
        if output.status.success() {
            assert!(is == self.new, "success without the new file: {told}");
        } else {
            assert!(happened, "{told}");
            // Only the directory's own sync comes after the rename.
            let synced = killed || injection.call == "fsync";
            assert!(is == self.old || synced && is == self.new, "another file: {told}");
            self.is_told(&output, injection, &told);
        }
        assert!(!told.contains("panicked"), "{told}");
        assert_eq!(agent.has_ended(), killed && happened, "{told}");
        drop(agent);
        self.retry(&told);
        happened
    }

    /// Checks that a failure is one line that names host, path and cause.
    fn is_told(&self, output: &Output, injection: &Injection<'_>, told: &str) {
        assert_eq!(output.status.code(), Some(255), "{told}");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect(told);
        let error = object["error"].as_str().expect(told);
        assert_eq!((&object["host"], &object["ok"]), (&"web1".into(), &false.into()), "{told}");
        let path = self.directory().to_str().unwrap();
        let cause = match injection.what {
            NO_ROOM => "no space left",
            BAD_DISK => "input/output",
            _ => "connection",
        };
        let says = |word| error.contains(word);
        let all = says("web1") && says(cause) && (says(path) || injection.what == KILL);
        assert!(all && !error.contains('\n'), "{told}");
    }

    /// Without faults the push succeeds, and nothing of the failed attempt is left.
    fn retry(&self, told: &str) -> u64 {
        let agent = self.fleet.start("web1");
        self.fleet.set_address("web1", agent.address);
        let json = self.fleet.ok(self.args());
        assert!(std::fs::read(&self.dest).unwrap() == self.new, "{told}");
        assert_eq!(names(self.directory()), ["file"], "{told}");
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        object["sent"].as_u64().unwrap()
    }

    /// Injects the fault into every call, one after the other. Returns into how many.
    fn goes_wrong_everywhere(&self, what: &str) -> u32 {
        let until_none = |call| {
            let times =
                (1..MOST).take_while(|&when| self.goes_wrong(&self.injection(call, what, when)));
            u32::try_from(times.count()).unwrap()
        };
        CALLS.into_iter().map(until_none).sum()
    }
}

fn old_or_new_whatever_happens(what: &str) {
    if strace::is_here() {
        for similar in [false, true] {
            let times = Case::new(2 * MIB, similar).goes_wrong_everywhere(what);
            assert!(times > 20, "only {times} operations went wrong");
        }
    }
}

#[test]
fn any_operation_may_find_no_room() {
    old_or_new_whatever_happens(NO_ROOM);
}

#[test]
fn any_operation_may_find_a_bad_disk() {
    old_or_new_whatever_happens(BAD_DISK);
}

#[test]
fn any_operation_may_be_the_agents_last() {
    old_or_new_whatever_happens(KILL);
}

#[test]
fn writes_that_write_nothing_are_failures() {
    if strace::is_here() {
        let case = Case::new(2 * MIB, false);
        for when in 1..=4 {
            std::fs::write(&case.dest, &case.old).unwrap();
            let (agent, output, happened) =
                case.push(&case.injection("pwrite64", "retval=0", when));
            assert!(happened && output.status.code() == Some(255), "{output:?}");
            assert!(std::fs::read(&case.dest).unwrap() == case.old);
            drop(agent);
            case.retry("after a write of nothing");
        }
    }
}

#[test]
fn an_agent_killed_while_it_forces_a_large_file_to_disk_takes_all_of_it_up() {
    if strace::is_here() {
        let case = Case::new(16 * MIB, false);
        std::fs::write(&case.dest, &case.old).unwrap();
        let (mut agent, output, _) = case.push(&case.injection("fdatasync", KILL, 1));
        wait::until("the agent to die", || agent.has_ended().then_some(()));
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(std::fs::read(&case.dest).unwrap() == case.old);
        assert_eq!(case.retry("after a kill"), 0, "nothing is sent twice");
    }
}
