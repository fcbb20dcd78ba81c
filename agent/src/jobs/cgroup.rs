//! A control group (version 2) for each job, where the system lets us make one.
//!
//! The supervisor enters it while it waits for its request, so that the command is born in it and
//! nobody waits for that; it goes when the supervisor has ended. What the command starts stays in it whatever becomes of its parents, so that
//! a job is ended whole even when its supervisor was killed. Where there are no such groups, the
//! supervisor's own tree is all that is known of a job.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What our groups' names begin with; the supervisor's process id follows.
const PREFIX: &str = "lariat-";

/// The groups of one agent: they lie in its own.
#[derive(Clone)]
pub(super) struct Groups(PathBuf);

/// One job's group.
pub(super) struct Group(PathBuf);

impl Groups {
    /// Those that lie in this process's own group, if there are such things here.
    pub(super) fn find() -> Option<Self> {
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        own_folder(&own, &mounts).map(Self)
    }

    /// The group of the supervisor with this process id.
    pub(super) fn of(&self, supervisor: u32) -> Group {
        Group(self.0.join(format!("{PREFIX}{supervisor}")))
    }

    /// Moves this process, a supervisor, into a new group of its own, if that is permitted.
    pub(super) fn enter(&self) -> Option<Group> {
        let group = self.of(std::process::id());
        // An earlier process may have had our id. What is left in its group was left behind on purpose,
        // and is no part of our job.
        group.remove();
        fs::create_dir(&group.0).ok()?;
        if move_here(&group.0).is_ok() {
            return Some(group);
        }
        group.remove();
        None
    }

    /// Removes the groups that are empty by now.
    pub(super) fn sweep(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                Group(entry.path()).remove();
            }
        }
    }
}

impl Group {
    /// The processes in it and in the groups below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
            let below = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
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

    /// Removes it, unless somebody is in it.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `0` stands for whoever writes it.
fn move_here(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

/// The folder of a process's own group, of its `cgroup` and `mountinfo` files (proc(5), cgroups(7)).
fn own_folder(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
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
    fn a_groups_folder_is_below_the_mount() {
        let folder = own_folder("0::/system.slice/lariatd.service\n", MOUNTS);
        assert_eq!(folder, Some("/sys/fs/cgroup/system.slice/lariatd.service".into()));
        let mixed = "3:cpu:/a\n0::/\n";
        assert_eq!(own_folder(mixed, MOUNTS), Some("/sys/fs/cgroup/".into()));
        let inside = MOUNTS.replace("0:30 / ", "0:30 /box ");
        assert_eq!(own_folder("0::/box/a", &inside), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(own_folder("0::/other", &inside), None);
        assert_eq!(own_folder("3:cpu:/a\n", MOUNTS), None);
        assert_eq!(own_folder("0::/a", "24 30 0:22 / /proc rw - proc proc rw\n"), None);
        assert_eq!(own_folder("", ""), None);
    }
}
