//! A control group (version 2) for each job, where the system allows us to create one.
//!
//! A supervisor creates its group while it waits for its job, so no command waits for that. The group's name is
//! random, so it never collides with another job's. The command is born in the group and its supervisor stays
//! outside: the command's descendants remain in the group even when their parents die, so a job can be killed
//! completely even if its supervisor was killed, and limits on the group's tasks and memory apply to the command
//! alone. Where memory runs out, the kernel kills processes of that job and no others. Without control groups, only
//! the supervisor's process tree is known of a job.
//!
//! A supervisor holds a lock on its group's directory. An empty group without a lock is abandoned, and any
//! sweep removes it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lariat_base::secret::{NoRandomness, random};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// Prefix of the groups' names; [`GroupName`] follows.
const PREFIX: &str = "lariat-";

/// The group of the supervisors, where the jobs' groups may have limits: a group that limits its children must
/// not contain processes itself.
const SUPERVISORS: &str = "supervisors";

/// How often creating a group is tried again after another agent removed it before it was locked.
const TRIES: u32 = 3;

/// A group's name: random bytes, so that no name is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupName(pub(super) [u8; 16]);

/// The groups of one agent's jobs. They are created below the group of its supervisors.
#[derive(Clone)]
pub(super) struct Groups(PathBuf);

/// One job's group.
pub(super) struct Group(PathBuf);

/// A supervisor's own group. Its lock keeps other processes from removing it.
pub(super) struct OwnGroup {
    group: Group,
    /// Its directory, locked. `clone3` takes this descriptor to start a process in the group.
    directory: OwnedFd,
    /// The files that set the limits on tasks and on memory, where the kernel can count them.
    files: [Option<File>; 2],
    limits: Option<Limits>,
}

/// The most that a job may use at a time.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Processes and threads.
    pub(super) tasks: u32,
    /// Bytes of memory.
    pub(super) memory: u64,
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
    /// Groups below this process's own group, if control groups are available.
    pub(super) fn find() -> Option<Self> {
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        own_directory(&own, &mounts).map(Self)
    }

    /// Moves this process into a child group, so that the jobs' groups can have limits. Only for a process that
    /// is alone in its group.
    pub(super) fn step_aside(&self) -> io::Result<()> {
        let aside = self.0.join(SUPERVISORS);
        match fs::create_dir(&aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // `0` stands for the process that writes it.
        fs::write(aside.join("cgroup.procs"), "0")?;
        // One by one: a kernel may lack either.
        let controllers = ["+pids", "+memory"];
        controllers
            .map(|controller| fs::write(self.0.join("cgroup.subtree_control"), controller))
            .into_iter()
            .collect()
    }

    /// The group of this name, which may not exist.
    pub(super) fn of(&self, name: GroupName) -> Group {
        Group(self.0.join(name.to_string()))
    }

    /// Creates the group of the supervisor that runs in this process.
    pub(super) fn make(&self, name: GroupName) -> Option<OwnGroup> {
        (0..TRIES).find_map(|_| OwnGroup::make(self.of(name)).ok())
    }

    /// Removes empty groups that no supervisor holds. Returns whether groups with processes remain.
    pub(super) fn sweep(&self) -> bool {
        let mut left = false;
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                let group = Group(entry.path());
                left |= match group.open().and_then(lock) {
                    Ok(_locked) => !group.remove(),
                    // A locked and empty group belongs to a supervisor that waits for its job.
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
        // A file does not exist where the kernel can't count.
        let open = |name| OpenOptions::new().write(true).open(group.0.join(name)).ok();
        let files = ["pids.max", "memory.max"].map(open);
        Ok(Self { group, directory, files, limits: None })
    }

    /// Creates the group again after another process removed it.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let limits = self.limits;
        *self = Self::make(Group(self.group.0.clone()))?;
        limits.into_iter().for_each(|limits| self.limit(limits));
        Ok(())
    }

    /// Limits what the processes in the group use, where the kernel supports it.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = Some(limits);
        let most = [u64::from(limits.tasks), limits.memory];
        for (file, most) in self.files.iter_mut().zip(most) {
            // The command runs without a limit if this fails.
            let _ = file.as_mut().map(|file| file.write_all(most.to_string().as_bytes()));
        }
    }

    /// The file that moves a process which writes `0` to it into the group.
    pub(super) fn entrance(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.group.0.join("cgroup.procs"), flags, Mode::empty())?)
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }
}

impl AsFd for OwnGroup {
    /// The directory that `clone3` takes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Group {
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.0, flags, Mode::empty())?)
    }

    /// The processes in this group and in the groups below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut directories = vec![self.0.clone()];
        while let Some(directory) = directories.pop() {
            let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
            let below = fs::read_dir(&directory).into_iter().flatten().flatten();
            let groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            directories.extend(groups.map(|entry| entry.path()));
        }
        found
    }

    /// Kills every process in the group.
    pub(super) fn kill(&self) {
        // Linux 5.14 and newer; atomic, so no process can fork meanwhile.
        if fs::write(self.0.join("cgroup.kill"), "1").is_err() {
            for pid in self.processes() {
                // The process may have ended by itself.
                let _ = super::raw::kill(pid, nix::libc::SIGKILL.unsigned_abs().to_le_bytes()[0]);
            }
        }
    }

    /// Removes the group unless it contains processes. Returns whether it is gone.
    pub(super) fn remove(&self) -> bool {
        match fs::remove_dir(&self.0) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        }
    }
}

/// Locks a group's directory, or fails if another process holds the lock.
fn lock(directory: OwnedFd) -> io::Result<OwnedFd> {
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The directory of a process's own group, from its `cgroup` and `mountinfo` files (proc(5), cgroups(7)).
fn own_directory(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mount) = mountinfo.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let found = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some(found)
    })?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    // Special characters are escaped as octal numbers there; no system mounts cgroups at such a path.
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
    fn a_sweep_removes_unlocked_empty_groups() {
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
