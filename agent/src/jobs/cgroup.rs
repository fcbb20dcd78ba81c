//! A control group (version 2) for each job, where the system lets us make one.
//!
//! A supervisor makes its group while it waits for its job, so that nobody waits for that. The group's name is
//! random, so that it can never be taken for another job's. The command is born in it and its supervisor stays
//! outside: whatever the command starts remains in the group whatever becomes of its parents, so a job is ended
//! whole even when its supervisor was killed, and a limit on the group's processes is the command's alone. Where
//! there are no such groups, the supervisor's own tree is all that is known of a job.
//!
//! A supervisor holds a lock on its group's directory. An empty group without one has been left, and whoever
//! finds it removes it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lariat_base::secret::{NoRandomness, random};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// What the groups' names begin with; [`GroupName`] follows.
const PREFIX: &str = "lariat-";

/// The group of the supervisors, where the jobs' groups may have limits: a group that limits others must
/// have no processes of its own.
const SUPERVISORS: &str = "supervisors";

/// How often a group is made that another agent in the same place removes before it is locked.
const TRIES: u32 = 3;

/// What a group is called: random bytes, so that no name is given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupName(pub(super) [u8; 16]);

/// The jobs' groups of one agent: they lie in the group that its supervisors are born in.
#[derive(Clone)]
pub(super) struct Groups(PathBuf);

/// One job's group.
pub(super) struct Group(PathBuf);

/// A supervisor's own group, which nobody else removes while this is held.
pub(super) struct OwnGroup {
    group: Group,
    /// Its directory, locked. A process can be born by it.
    directory: OwnedFd,
    /// Its limit of processes and threads, where they can be counted.
    limit: Option<File>,
    tasks_max: Option<u32>,
}

impl GroupName {
    /// A new name.
    pub(super) fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl Groups {
    /// Those that lie in this process's own group, if there are such things here.
    pub(super) fn find() -> Option<Self> {
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        own_directory(&own, &mounts).map(Self)
    }

    /// Moves this process aside, so that the jobs' groups can have limits. Only where this process's group
    /// is its own alone.
    pub(super) fn step_aside(&self) -> io::Result<()> {
        let aside = self.0.join(SUPERVISORS);
        match fs::create_dir(&aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // `0` stands for whoever writes it.
        fs::write(aside.join("cgroup.procs"), "0")?;
        fs::write(self.0.join("cgroup.subtree_control"), "+pids")
    }

    /// The group of this name, made or not.
    pub(super) fn of(&self, name: GroupName) -> Group {
        Group(self.0.join(name.to_string()))
    }

    /// Makes a group for the supervisor that this process is.
    pub(super) fn make(&self, name: GroupName) -> Option<OwnGroup> {
        (0..TRIES).find_map(|_| OwnGroup::make(self.of(name)).ok())
    }

    /// Removes the groups that are empty by now and that no supervisor holds. Whether somebody is in others.
    pub(super) fn sweep(&self) -> bool {
        let mut left = false;
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                let group = Group(entry.path());
                left |= match group.open().and_then(lock) {
                    Ok(_locked) => !group.remove(),
                    // One that is held and empty is of a supervisor that waits for its job.
                    Err(_) => !group.processes().is_empty(),
                };
            }
        }
        left
    }
}

impl OwnGroup {
    fn make(group: Group) -> io::Result<Self> {
        match fs::create_dir(&group.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let directory = lock(group.open()?)?;
        // Where tasks can't be counted, there is no such file.
        let limit = OpenOptions::new().write(true).open(group.0.join("pids.max")).ok();
        Ok(Self { group, directory, limit, tasks_max: None })
    }

    /// Makes it again, for somebody has removed it.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let tasks_max = self.tasks_max;
        *self = Self::make(Group(self.group.0.clone()))?;
        tasks_max.into_iter().for_each(|most| self.limit(most));
        Ok(())
    }

    /// Sets how many processes and threads there may be in it, where that can be limited.
    pub(super) fn limit(&mut self, tasks_max: u32) {
        self.tasks_max = Some(tasks_max);
        if let Some(file) = &mut self.limit {
            // Without a limit the command runs all the same.
            let _ = file.write_all(tasks_max.to_string().as_bytes());
        }
    }

    /// The file that moves whoever writes `0` to it into the group.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.group.0.join("cgroup.procs"), flags, Mode::empty())?)
    }

    /// The group, as it is to everybody.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }
}

impl AsFd for OwnGroup {
    /// What a process can be born by.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Group {
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.0, flags, Mode::empty())?)
    }

    /// The processes in it and in the groups below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut directories = vec![self.0.clone()];
        while let Some(directory) = directories.pop() {
            let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
            let below = fs::read_dir(&directory).into_iter().flatten().flatten();
            directories.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        found
    }

    /// Ends everything in it.
    pub(super) fn kill(&self) {
        // Linux 5.14 and newer; nothing can be born meanwhile.
        if fs::write(self.0.join("cgroup.kill"), "1").is_err() {
            for pid in self.processes() {
                // It may have ended by itself.
                let _ = super::raw::kill(pid, nix::libc::SIGKILL.unsigned_abs().to_le_bytes()[0]);
            }
        }
    }

    /// Removes it, unless somebody is in it. Whether it is gone.
    pub(super) fn remove(&self) -> bool {
        match fs::remove_dir(&self.0) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        }
    }
}

/// Locks a group's directory, unless somebody else holds it.
fn lock(directory: OwnedFd) -> io::Result<OwnedFd> {
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The directory of a process's own group, of its `cgroup` and `mountinfo` files (proc(5), cgroups(7)).
fn own_directory(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mount) = mountinfo.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let found = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some(found)
    })?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    // Spaces and the like are written as octal numbers there; no system mounts it at such a place.
    (!mount.contains('\\')).then(|| Path::new(mount).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 30 0:22 / /proc rw,nosuid - proc proc rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate
36 24 0:31 /sub /mnt rw - ext4 /dev/sda rw
";

    #[test]
    fn a_groups_directory_is_below_the_mount() {
        let directory = own_directory("0::/system.slice/lariatd.service\n", MOUNTS);
        assert_eq!(directory, Some("/sys/fs/cgroup/system.slice/lariatd.service".into()));
        let mixed = "3:cpu:/a\n0::/\n";
        assert_eq!(own_directory(mixed, MOUNTS), Some("/sys/fs/cgroup/".into()));
        let inside = MOUNTS.replace("0:30 / ", "0:30 /box ");
        assert_eq!(own_directory("0::/box/a", &inside), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(own_directory("0::/other", &inside), None);
        assert_eq!(own_directory("3:cpu:/a\n", MOUNTS), None);
        assert_eq!(own_directory("0::/a", "24 30 0:22 / /proc rw - proc proc rw\n"), None);
        assert_eq!(own_directory("", ""), None);
    }

    #[test]
    fn a_sweep_removes_what_nobody_holds_and_nobody_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups(dir.path().to_owned());
        let [held, left, lived_in] = [1, 2, 3].map(|name| GroupName([name; 16]));
        let mut own = groups.make(held).unwrap();
        assert!(groups.make(held).is_none(), "another supervisor holds it");
        for name in [left, lived_in] {
            drop(groups.make(name).unwrap());
        }
        // A directory that is not empty can't be removed either.
        fs::create_dir(groups.of(lived_in).0.join("in it")).unwrap();
        assert!(groups.sweep());
        assert_eq!(
            [held, left, lived_in].map(|name| groups.of(name).0.exists()),
            [true, false, true]
        );
        assert!(groups.of(left).remove(), "one that is gone needs no removing");
        fs::remove_dir(groups.of(lived_in).0.join("in it")).unwrap();
        assert!(!groups.sweep(), "one that waits for its job is not left over");
        assert!(groups.of(held).remove());
        own.renew().unwrap();
        assert!(!groups.sweep() && groups.of(held).0.exists());
        drop(own);
        assert!(!groups.sweep() && !groups.of(held).0.exists());
    }
}
