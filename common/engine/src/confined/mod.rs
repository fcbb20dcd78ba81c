//! Access to names below an open directory, and nowhere else. Both ends reach a tree's files only by this module.
//!
//! The owner of a directory below the root may replace it by a link at any instant, and the sender of a
//! manifest may send any name. So a path is resolved by `openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS,
//! and every other call takes an open directory and one component, never a path.

pub mod named;
mod names;
mod path;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir as Listing, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps,
    openat2,
};
use rustix::io::Errno;

pub(crate) use names::Names;
pub(crate) use path::{join, shown};

use lariat_wire::limits::MAX_PATH;
use lariat_wire::protocol::transfer::check_name;

/// Attempts to resolve a path while concurrent renames make the kernel give up.
const ATTEMPTS: usize = 16;

/// The mode of a new directory until it gets its own.
const PRIVATE: Mode = Mode::RWXU;

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory that the operator named. Links in its path are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::from_open(open_followed(path)?)
    }

    /// Makes an open directory a root.
    pub(crate) fn from_open(directory: OwnedFd) -> io::Result<Self> {
        let directory = Self(directory);
        match directory.enter(b"") {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "trees need Linux 5.6 or newer"))
            }
            _ => Ok(directory),
        }
    }

    /// Opens a directory below this one. An empty path opens this directory again.
    pub(crate) fn enter(&self, path: &[u8]) -> io::Result<Self> {
        check_path(path)?;
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        readable_or_not(|access| self.resolve(path, flags | access)).map(Self)
    }

    /// Opens a directory below this one that belongs to this process's user. If the owner lacks the permission to
    /// read, change or enter it, it is added. Returns the mode before if it was changed.
    pub(crate) fn enter_own(&self, path: &[u8]) -> io::Result<(Self, Option<u32>)> {
        check_path(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pinned = match path {
            b"" => self.0.try_clone()?,
            path => self.resolve(path, flags)?,
        };
        let was = open_up(&pinned);
        Ok((self.enter(path)?, was))
    }

    /// Sets the mode of this directory itself.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::chmod(link_of(&self.0), Mode::from_raw_mode(mode))?)
    }

    /// Opens a file in this directory for reading. Does not follow a link, and does not block on a fifo.
    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(self.resolve(component(name)?, flags | OFlags::CLOEXEC)?.into())
    }

    /// Opens a regular file in this directory with `O_PATH`, to read and set its attributes. This needs no
    /// permission on the file.
    pub(crate) fn pin_file(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.resolve(component(name)?, flags)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind.is_file() { Ok(file) } else { Err(Errno::LOOP.into()) }
    }

    /// Creates a file with mode 0600. An existing name is an error.
    pub(crate) fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(self, component(name)?, flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// Creates a file without a name, with mode 0600, if the file system supports that.
    pub(crate) fn create_nameless(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, ".", flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Gives a nameless file its name. An existing name is an error.
    pub(crate) fn name_file(&self, file: &File, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        match rustix::fs::linkat(file, "", self, name, AtFlags::EMPTY_PATH) {
            // Only root may link a descriptor. Others link the file's entry in /proc.
            Err(Errno::NOENT) => {
                let own = link_of(file);
                let flags = AtFlags::SYMLINK_FOLLOW;
                Ok(rustix::fs::linkat(rustix::fs::CWD, own, self, name, flags)?)
            }
            done => Ok(done?),
        }
    }

    /// The stat of a name, without following a link. `None` if it does not exist.
    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self, component(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The stat of this directory.
    pub(crate) fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self)?)
    }

    /// The target of a link.
    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self, component(name)?, Vec::new())?.into_bytes())
    }

    /// Makes a directory with mode 0700. An existing name is an error.
    pub(crate) fn make_directory(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self, component(name)?, PRIVATE)?)
    }

    /// Makes a symbolic link. An existing name is an error.
    pub(crate) fn make_link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, self, component(name)?)?)
    }

    /// Links a file of `from` to a name here. An existing name is an error.
    pub(crate) fn link(&self, name: &[u8], from: &Self, old: &[u8]) -> io::Result<()> {
        let (old, name) = (component(old)?, component(name)?);
        Ok(rustix::fs::linkat(from, old, self, name, AtFlags::empty())?)
    }

    /// Renames within this directory. An existing name is replaced.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(self, component(from)?, self, component(to)?)?)
    }

    /// Renames within this directory. An existing name is an error, if the file system supports that.
    pub(crate) fn rename_new(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        match rustix::fs::renameat_with(self, from, self, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL) => Ok(rustix::fs::renameat(self, from, self, to)?),
            done => Ok(done?),
        }
    }

    /// Removes a name that is not a directory. A missing one is no error.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory. A missing one is no error.
    pub(crate) fn remove_directory(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Sets a name's times, without following a link.
    pub(crate) fn set_times(&self, name: &[u8], times: &Timestamps) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(self, component(name)?, times, flags)?)
    }

    /// Sets a name's owner and group, without following a link.
    pub(crate) fn set_owner(
        &self,
        name: &[u8],
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> io::Result<()> {
        use rustix::fs::{Gid, Uid};
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(self, component(name)?, uid, gid, flags)?)
    }

    /// The names in this directory, in no order.
    pub(crate) fn names(&self) -> io::Result<Names> {
        let mut names = Names::default();
        for entry in Listing::read_from(self)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn unlink(&self, name: &[u8], flags: AtFlags) -> io::Result<()> {
        match rustix::fs::unlinkat(self, component(name)?, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let strict =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(self, path, flags, Mode::empty(), strict) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Dir> for File {
    fn from(directory: Dir) -> Self {
        directory.0.into()
    }
}

/// Opens a directory by its path. Without the permission to read it, the descriptor only serves to reach names
/// in it.
pub(crate) fn open_followed(path: &Path) -> io::Result<OwnedFd> {
    readable_or_not(|access| named::open(path, OFlags::DIRECTORY | access))
}

/// Opens a directory for reading or, without the permission for that, with `O_PATH`, which is enough to make and
/// reach names in it.
pub(crate) fn readable_or_not(open: impl Fn(OFlags) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match open(OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::PATH),
        opened => opened,
    }
}

/// Adds the owner's permission to read, change and enter a directory. Returns the mode before if it was changed.
/// Errors are ignored: if the permission was needed, the next call fails.
pub(crate) fn open_up(directory: &OwnedFd) -> Option<u32> {
    let mode = rustix::fs::fstat(directory).ok()?.st_mode & 0o7777;
    let wanted = Mode::from_raw_mode(mode | 0o700);
    let changed = mode & 0o700 != 0o700 && rustix::fs::chmod(link_of(directory), wanted).is_ok();
    changed.then_some(mode)
}

/// A path that leads to an open file.
fn link_of(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Whether this thread may read and change what permissions deny. Root may, unless it acts as another user.
pub(crate) fn overrides_permissions() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_OVERRIDE))
}

/// Checks that `name` is one component.
fn component(name: &[u8]) -> io::Result<&[u8]> {
    match check_name(name) {
        Ok(()) => Ok(name),
        Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn check_path(path: &[u8]) -> io::Result<()> {
    if path.len() >= MAX_PATH {
        return Err(Errno::NAMETOOLONG.into());
    }
    let mut components = path.split(|&b| b == b'/');
    if !path.is_empty() && components.any(|name| check_name(name).is_err()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
