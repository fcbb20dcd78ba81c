//! Names below an open directory, and nowhere else: the one module through which a tree's files are
//! reached, on both ends.
//!
//! Whoever owns a directory below the root may swap it for a link at any instant, and whoever sends a
//! manifest may name what it likes. So a path is resolved by `openat2` with RESOLVE_BENEATH and
//! RESOLVE_NO_SYMLINKS, and everything else takes an open directory and one component, never a path.

pub mod named;
mod names;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir as Listing, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps,
    openat2,
};
use rustix::io::Errno;

pub use names::Names;

use lariat_wire::limits::MAX_PATH;
use lariat_wire::protocol::transfer::check_name;

/// Times that a path is resolved anew when the kernel can't tell because of what others rename.
const ATTEMPTS: usize = 16;

/// Mode of a directory or file until it gets its own: nobody else sees it half made.
const PRIVATE_FOLDER: Mode = Mode::RWXU;

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens the directory that the operator named, links in its path included.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::from_open(open_followed(path)?)
    }

    /// Takes a directory that is open already for a root.
    pub fn from_open(directory: OwnedFd) -> io::Result<Self> {
        let directory = Self(directory);
        match directory.enter(b"") {
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "trees need Linux 5.6 or newer"))
            }
            _ => Ok(directory),
        }
    }

    /// Opens a directory below this one. An empty path is this directory itself.
    pub fn enter(&self, path: &[u8]) -> io::Result<Self> {
        check_path(path)?;
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        readable_or_not(|access| self.resolve(path, flags | access)).map(Self)
    }

    /// Opens a directory below this one that belongs to whoever acts here and may lack the owner's permission to
    /// read, change or enter it: it is given that, if it can be. Tells what its mode was if it was changed.
    pub fn enter_own(&self, path: &[u8]) -> io::Result<(Self, Option<u32>)> {
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
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::chmod(link_of(&self.0), Mode::from_raw_mode(mode))?)
    }

    /// Opens a file in this directory for reading: never through a link, never waiting for a fifo.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(self.resolve(component(name)?, flags | OFlags::CLOEXEC)?.into())
    }

    /// Pins a regular file in this directory down, so that its attributes can be read and set: that needs no
    /// permission to read it.
    pub fn pin_file(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.resolve(component(name)?, flags)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind.is_file() { Ok(file) } else { Err(Errno::LOOP.into()) }
    }

    /// Makes a file in this directory, 0600. One that is there already is an error.
    pub fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(self, component(name)?, flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// Makes a file without a name, 0600, where the file system can do that.
    pub fn create_nameless(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, ".", flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Gives a file without a name one. A name that is there already is an error.
    pub fn name_file(&self, file: &File, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        match rustix::fs::linkat(file, "", self, name, AtFlags::EMPTY_PATH) {
            // Only root may do it that way, the others have to go by the file's own link.
            Err(Errno::NOENT) => {
                let own = link_of(file);
                let flags = AtFlags::SYMLINK_FOLLOW;
                Ok(rustix::fs::linkat(rustix::fs::CWD, own, self, name, flags)?)
            }
            done => Ok(done?),
        }
    }

    /// What a name is, itself and not what it leads to; none if it is not there.
    pub fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self, component(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What this directory is.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self)?)
    }

    /// Where a link leads.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self, component(name)?, Vec::new())?.into_bytes())
    }

    /// Makes a directory, 0700. One that is there already is an error.
    pub fn make_directory(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self, component(name)?, PRIVATE_FOLDER)?)
    }

    /// Makes a link. A name that is there already is an error.
    pub fn make_link(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, self, component(name)?)?)
    }

    /// Gives a file of `from` one more name here. One that is there already is an error.
    pub fn link(&self, name: &[u8], from: &Self, old: &[u8]) -> io::Result<()> {
        let (old, name) = (component(old)?, component(name)?);
        Ok(rustix::fs::linkat(from, old, self, name, AtFlags::empty())?)
    }

    /// Renames within this directory; what has the new name is replaced.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(self, component(from)?, self, component(to)?)?)
    }

    /// Renames within this directory. A new name that is there already is an error, where the file system
    /// can tell.
    pub fn rename_new(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        match rustix::fs::renameat_with(self, from, self, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL) => Ok(rustix::fs::renameat(self, from, self, to)?),
            done => Ok(done?),
        }
    }

    /// Removes a name that is no directory. One that is not there is no error.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory. One that is not there is no error.
    pub fn remove_directory(&self, name: &[u8]) -> io::Result<()> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Sets a name's times, itself and not what it leads to.
    pub fn set_times(&self, name: &[u8], times: &Timestamps) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(self, component(name)?, times, flags)?)
    }

    /// Gives a name to a user and group, itself and not what it leads to.
    pub fn set_owner(&self, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        use rustix::fs::{Gid, Uid};
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(self, component(name)?, uid, gid, flags)?)
    }

    /// The names in this directory, in no order.
    pub fn names(&self) -> io::Result<Names> {
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

/// Opens a directory by its path; without permission to read it, only to reach what is in it.
pub(crate) fn open_followed(path: &Path) -> io::Result<OwnedFd> {
    readable_or_not(|access| named::open(path, OFlags::DIRECTORY | access))
}

/// Opens a directory for reading, or, without permission for that, with `O_PATH`: that serves to make and to
/// reach what is in it, for which permission to read it is not needed.
pub(crate) fn readable_or_not(open: impl Fn(OFlags) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match open(OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::PATH),
        opened => opened,
    }
}

/// Gives a directory its owner's permission to read, change and enter it. Tells what its mode was if that was
/// another one. Where that is not permitted, what is done in the directory shows whether it was needed.
pub(crate) fn open_up(directory: &OwnedFd) -> Option<u32> {
    let mode = rustix::fs::fstat(directory).ok()?.st_mode & 0o7777;
    let wanted = Mode::from_raw_mode(mode | 0o700);
    let changed = mode & 0o700 != 0o700 && rustix::fs::chmod(link_of(directory), wanted).is_ok();
    changed.then_some(mode)
}

/// A path that leads to an open file and nowhere else.
fn link_of(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Whether this thread may read and change what permissions deny: as root, but not as root in another user's
/// place.
pub(crate) fn overrides_permissions() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::DAC_OVERRIDE))
}

/// `name` itself, if it is one component.
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

/// The path of `name` in the directory with this path, both relative to the same root.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
