//! Reads and sets the metadata of a file or directory by its descriptor.
//!
//! A descriptor opened with `O_PATH` needs no permission on the file itself, so an owner can change the mode of
//! a file that nobody may read. Most calls refuse such a descriptor with `EBADF`. Then they are repeated on
//! the descriptor's link in `/proc/self/fd`, which leads to the same file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// An open file or directory, perhaps opened with `O_PATH`.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a>(BorrowedFd<'a>);

impl<'a> Subject<'a> {
    /// The subject of an open descriptor.
    pub(crate) fn new(fd: &'a impl AsFd) -> Self {
        Self(fd.as_fd())
    }

    /// Its stat.
    pub(crate) fn stat(self) -> Result<Stat, Errno> {
        rustix::fs::fstat(self.0)
    }

    /// Sets the owner and the group, if they are given.
    pub(crate) fn set_owner(self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.reach(
            |fd| rustix::fs::fchown(fd, uid, gid),
            |link| rustix::fs::chownat(CWD, link, uid, gid, AtFlags::empty()),
        )
    }

    /// Sets the permission bits.
    pub(crate) fn set_mode(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        self.reach(|fd| rustix::fs::fchmod(fd, mode), |link| rustix::fs::chmod(link, mode))
    }

    /// Sets the times.
    pub(crate) fn set_times(self, times: &Timestamps) -> Result<(), Errno> {
        self.reach(
            |fd| rustix::fs::futimens(fd, times),
            |link| rustix::fs::utimensat(CWD, link, times, AtFlags::empty()),
        )
    }

    /// The names of its extended attributes.
    pub(crate) fn xattr_names(self) -> Result<Vec<Vec<u8>>, Errno> {
        let len =
            self.reach(rustix::fs::flistxattr_query, |link| rustix::fs::listxattr_query(link))?;
        let mut names = vec![0; len];
        if len > 0 {
            let list = &mut names;
            let len = self.reach_with(
                list,
                |fd, list| rustix::fs::flistxattr(fd, &mut list[..]),
                |link, list| rustix::fs::listxattr(link, &mut list[..]),
            )?;
            names.truncate(len);
        }
        let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// Reads an extended attribute into `value`. Returns its length, or `None` if there is no such attribute.
    pub(crate) fn xattr(self, name: &[u8], value: &mut [u8]) -> Result<Option<usize>, Errno> {
        let read = self.reach_with(
            value,
            |fd, value| rustix::fs::fgetxattr(fd, name, value),
            |link, value| rustix::fs::getxattr(link, name, value),
        );
        match read {
            Ok(len) => Ok(Some(len)),
            Err(Errno::NODATA) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Sets an extended attribute.
    pub(crate) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        self.reach(
            |fd| rustix::fs::fsetxattr(fd, name, value, flags),
            |link| rustix::fs::setxattr(link, name, value, flags),
        )
    }

    /// Whether its file system has free blocks.
    pub(crate) fn has_room(self) -> bool {
        rustix::fs::fstatvfs(self.0).is_ok_and(|disk| disk.f_bavail > 0)
    }

    /// Removes an extended attribute.
    pub(crate) fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        self.reach(
            |fd| rustix::fs::fremovexattr(fd, name),
            |link| rustix::fs::removexattr(link, name),
        )
    }

    fn reach<T>(
        self,
        by_fd: impl FnOnce(BorrowedFd<'a>) -> Result<T, Errno>,
        by_link: impl FnOnce(&str) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.reach_with(&mut (), |fd, ()| by_fd(fd), |link, ()| by_link(link))
    }

    /// Calls `by_fd`, or `by_link` if the descriptor was opened with `O_PATH`.
    fn reach_with<B: ?Sized, T>(
        self,
        buffer: &mut B,
        by_fd: impl FnOnce(BorrowedFd<'a>, &mut B) -> Result<T, Errno>,
        by_link: impl FnOnce(&str, &mut B) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match by_fd(self.0, buffer) {
            Err(Errno::BADF) => by_link(&format!("/proc/self/fd/{}", self.0.as_raw_fd()), buffer),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::OFlags;

    #[test]
    fn a_path_descriptor_serves_as_well_as_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let open = |flags| rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for fd in [open(OFlags::RDONLY), open(OFlags::PATH)] {
            let subject = Subject::new(&fd);
            for mode in [0, 0o640] {
                subject.set_mode(mode).unwrap();
                assert_eq!(subject.stat().unwrap().st_mode & 0o7777, mode);
            }
            let stat = subject.stat().unwrap();
            subject.set_owner(Some(stat.st_uid), None).unwrap();
            let times =
                crate::metadata::attributes::timestamps(lariat_wire::protocol::metadata::Time {
                    secs: 1_000_000,
                    nanos: 7,
                });
            subject.set_times(&times).unwrap();
            assert_eq!(subject.stat().unwrap().st_mtime, 1_000_000);
            let mut value = [0; 8];
            if subject.set_xattr(b"user.a", b"1").is_err() {
                // A file system without any.
                continue;
            }
            assert_eq!(subject.xattr_names(), Ok(vec![b"user.a".to_vec()]));
            assert_eq!((subject.xattr(b"user.a", &mut value), value[0]), (Ok(Some(1)), b'1'));
            subject.remove_xattr(b"user.a").unwrap();
            assert_eq!(subject.xattr(b"user.a", &mut value), Ok(None));
            assert_eq!(subject.xattr_names(), Ok(vec![]));
        }
    }
}
