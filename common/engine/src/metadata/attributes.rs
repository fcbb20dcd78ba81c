//! The attributes that the receiver gives a name: set through open descriptors, for a single file and for
//! what is in a tree.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::acl;
use super::subject::Subject;
use super::xattrs::{self, Namespaces};
use crate::error::sys_failed;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Preserve, Xattr};

/// The permission bits that are always preserved.
pub(super) const MODE: u32 = 0o777;

/// The permission bits that `--special` preserves.
pub(super) const SPECIAL: u32 = 0o7777;

/// What a name gets on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    /// Bits of the mode that stay as they are on the existing name.
    pub(crate) kept: u32,
    pub(crate) mtime: Time,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    /// `None` leaves them as they are.
    pub(crate) xattrs: Option<Vec<Xattr>>,
    /// Which extended attributes these are.
    pub(crate) spaces: Namespaces,
    /// `None` leaves them as they are.
    pub(crate) acls: Option<BinaryAcls>,
}

/// ACLs in the kernel's binary form; an empty one means no ACL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BinaryAcls {
    pub(super) access: Vec<u8>,
    /// Only directories have one.
    pub(super) default: Vec<u8>,
}

/// The permission bits that are preserved.
pub(crate) fn mode_mask(preserve: Preserve) -> u32 {
    if preserve.special { SPECIAL } else { MODE }
}

impl Attributes {
    /// The heap bytes that this takes.
    pub(crate) fn weight(&self) -> usize {
        let len = |xattr: &Xattr| xattr.name.len() + xattr.value.len();
        let acls = self.acls.as_ref().map_or(0, |acls| acls.access.len() + acls.default.len());
        self.xattrs.iter().flatten().map(len).sum::<usize>() + acls
    }

    /// Whether an existing name has all of them, as far as its `stat` shows.
    pub(crate) fn match_stat(&self, stat: &Stat) -> bool {
        self.mode_matches(stat) && mtime(stat) == self.mtime && self.owner_matches(stat)
    }

    /// Takes those that an existing directory has.
    pub(crate) fn keep(&mut self, stat: &Stat) {
        (self.mode, self.mtime) = (stat.st_mode & SPECIAL, mtime(stat));
        (self.uid, self.gid) = (None, None);
        (self.xattrs, self.acls) = (None, None);
    }

    /// Whether the mode of an existing name would stay.
    pub(crate) fn mode_matches(&self, stat: &Stat) -> bool {
        stat.st_mode & SPECIAL == self.mode_for(stat)
    }

    /// Whether the owner and group of an existing name would stay.
    pub(crate) fn owner_matches(&self, stat: &Stat) -> bool {
        self.uid.is_none_or(|uid| uid == stat.st_uid)
            && self.gid.is_none_or(|gid| gid == stat.st_gid)
    }

    /// The mode that a name with this `stat` gets.
    fn mode_for(&self, stat: &Stat) -> u32 {
        self.mode | stat.st_mode & self.kept
    }

    /// Sets the attributes in which an open file or directory differs, and returns whether any did.
    pub(crate) fn apply(&self, file: impl AsFd, path: &[u8]) -> Result<bool, Failure> {
        self.compare(Subject::new(&file), true).map_err(sys_failed(Action::SetMetadata, path))
    }

    /// The access ACL to set, in its binary form; an empty one removes the ACL.
    pub(crate) fn access_list(&self) -> Option<&[u8]> {
        self.acls.as_ref().map(|acls| acls.access.as_slice())
    }

    /// Whether some of them can only be read from an open file.
    pub(crate) fn are_beyond_stat(&self) -> bool {
        self.xattrs.is_some() || self.acls.is_some()
    }

    /// Whether an open file or directory differs in any of them.
    pub(crate) fn differ(&self, file: impl AsFd, path: &[u8]) -> Result<bool, Failure> {
        self.compare(Subject::new(&file), false).map_err(sys_failed(Action::Read, path))
    }

    /// Returns whether anything differs, and with `set` sets what does. The owner comes first: chown(2)
    /// clears setuid.
    fn compare(&self, file: Subject<'_>, set: bool) -> Result<bool, Errno> {
        let stat = file.stat()?;
        let mut differs = !self.owner_matches(&stat);
        if differs && set {
            // Between these calls nobody has a right that neither the old nor the new state gives.
            let mode = stat.st_mode & MODE;
            if mode & !self.mode != 0 {
                file.set_mode(mode & self.mode)?;
            }
            file.set_owner(self.uid, self.gid)?;
        }
        if let Some(xattrs) = &self.xattrs {
            differs |= xattrs::compare(file, xattrs, self.spaces, set)?;
        }
        if let Some(BinaryAcls { access, default }) = &self.acls {
            differs |= acl::compare(file, acl::ACCESS, access, set)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                differs |= acl::compare(file, acl::DEFAULT, default, set)?;
            }
        }
        let mode = self.mode_for(&stat);
        // The calls above may have changed the mode.
        let mode_differs = differs || stat.st_mode & SPECIAL != mode;
        if mode_differs && set {
            file.set_mode(mode)?;
        }
        let mut time_differs = mtime(&stat) != self.mtime;
        if time_differs && set {
            file.set_times(&timestamps(self.mtime))?;
            // A disk that can't hold the time has the one that it had.
            time_differs = mtime(&file.stat()?) != mtime(&stat);
        }
        Ok(differs || mode_differs || time_differs)
    }
}

/// The times to set for a modification time. The access time stays.
pub(crate) fn timestamps(mtime: Time) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let mtime = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: omit, last_modification: mtime }
}

/// The modification time of a file.
pub(crate) fn mtime(stat: &Stat) -> Time {
    Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}
