//! A control group (version 2) for each job, where the system lets us make one.
//!
//! Its name is the job's id, so that it can never be taken for another job's. The command is born in it
//! and its supervisor stays outside: whatever the command starts remains in the group whatever becomes of
//! its parents, so a job is ended whole even when its supervisor was killed, and a limit on the group's
//! processes is the command's alone. Where there are no such groups, the supervisor's own tree is all that
//! is known of a job.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lariat_base::name::JobId;
use rustix::fs::{Mode, OFlags};

/// What the groups' names begin with; the job's id follows.
const PREFIX: &str = "lariat-";

/// The group of the supervisors, where the jobs' groups may have limits: a group that limits others must
/// have no processes of its own.
const SUPERVISORS: &str = "supervisors";

/// The jobs' groups of one agent: they lie in the group that its supervisors are born in.
#[derive(Clone)]
pub(super) struct Groups(PathBuf);

/// One job's group.
pub(super) struct Group {
    directory: PathBuf,
    /// Most processes and threads in it.
    tasks_max: u32,
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

    /// A job's group, made or not.
    pub(super) fn of(&self, job: JobId) -> Group {
        Group { directory: self.0.join(format!("{PREFIX}{job}")), tasks_max: u32::MAX }
    }

    /// Makes a job's group, in which there may be at most `tasks_max` processes and threads, where that can
    /// be limited.
    pub(super) fn make(&self, job: JobId, tasks_max: u32) -> Option<Group> {
        let group = Group { tasks_max, ..self.of(job) };
        group.make().ok()?;
        Some(group)
    }

    /// Removes the groups that are empty by now. Whether others are left.
    pub(super) fn sweep(&self) -> bool {
        let mut left = false;
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                left |= !Group { directory: entry.path(), tasks_max: u32::MAX }.remove();
            }
        }
        left
    }
}

impl Group {
    /// Makes it. Another agent in the same place may take one that is still empty for a left one, and remove it:
    /// then it is made again.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.directory)?;
        let limit = OpenOptions::new().write(true).open(self.directory.join("pids.max"));
        // Where tasks can't be counted, there is no such file.
        let _ = limit.and_then(|mut file| file.write_all(self.tasks_max.to_string().as_bytes()));
        Ok(())
    }

    /// A descriptor that a process can be born by.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.directory, flags, Mode::empty())?)
    }

    /// The file that moves whoever writes `0` to it into the group.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.directory.join("cgroup.procs"), flags, Mode::empty())?)
    }

    /// The processes in it and in the groups below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut directories = vec![self.directory.clone()];
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
        if fs::write(self.directory.join("cgroup.kill"), "1").is_err() {
            for pid in self.processes() {
                // It may have ended by itself.
                let _ = super::raw::kill(pid, nix::libc::SIGKILL.unsigned_abs().to_le_bytes()[0]);
            }
        }
    }

    /// Removes it, unless somebody is in it. Whether it is gone.
    pub(super) fn remove(&self) -> bool {
        match fs::remove_dir(&self.directory) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        }
    }
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
    fn a_group_has_its_jobs_name_and_none_is_given_to_two() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups(dir.path().to_owned());
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        let group = groups.make(one, 100).unwrap();
        assert!(dir.path().join(format!("lariat-{one}")).is_dir());
        assert!(groups.make(one, 100).is_none(), "somebody was left in it");
        assert!(groups.make(two, 100).is_some());
        // Somebody is in the first: a directory that is not empty can't be removed either.
        assert!(!group.remove() || fs::create_dir_all(group.directory.join("in it")).is_ok());
        fs::create_dir_all(group.directory.join("in it")).unwrap();
        assert!(groups.sweep());
        assert!(group.directory.is_dir() && !groups.of(two).directory.exists());
        assert!(groups.of(two).remove(), "one that is gone needs no removing");
    }
}
