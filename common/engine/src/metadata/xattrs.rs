//! Extended attributes: read by the sender, compared and set by the receiver.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::subject::Subject;
use lariat_wire::protocol::metadata::{MAX_XATTRS, Xattr};

/// The namespace of users.
const USER: &[u8] = b"user.";

/// The namespace of root.
const ROOT: &[u8] = b"trusted.";

/// Where overlayfs keeps what it thinks of a file. It is root's, and never transferred.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Which attributes are transferred. The other namespaces describe what one host thinks of a file, or give it
/// rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of users and of root.
    #[default]
    All,
    /// Those of users.
    User,
}

impl Namespaces {
    pub(super) fn have(self, name: &[u8]) -> bool {
        let is_roots = name.starts_with(ROOT) && !is_of_overlay(name);
        name.starts_with(USER) || self == Self::All && is_roots
    }
}

/// Whether an attribute describes a file of an overlay.
pub(super) fn is_of_overlay(name: &[u8]) -> bool {
    name.starts_with(OVERLAY)
}

/// The error for an attribute that is transferred, but not within a root. No system call has it.
pub(crate) const ONLY_OF_USERS: Errno = Errno::DOM;

/// Reads the attributes of an open file that are transferred, sorted by name. More than [`MAX_XATTRS`] bytes
/// are an error, and so is one that is not of these namespaces: it must not get lost silently.
pub(crate) fn read(file: impl AsFd, spaces: Namespaces) -> Result<Vec<Xattr>, Errno> {
    let file = Subject::new(&file);
    let names = match transferred(file, Namespaces::All) {
        // The file system has no extended attributes.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    if !names.iter().all(|name| spaces.have(name)) {
        return Err(ONLY_OF_USERS);
    }
    let mut xattrs = Vec::new();
    let (mut left, mut value) = (MAX_XATTRS, Vec::new());
    for name in names {
        value.resize(MAX_XATTRS, 0);
        // It was removed meanwhile.
        let Some(len) = file.xattr(&name, &mut value)? else { continue };
        left = left.checked_sub(name.len() + len).ok_or(Errno::TOOBIG)?;
        xattrs.push(Xattr { name, value: value[..len].to_vec() });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(xattrs)
}

/// The names of a file's attributes that are transferred.
fn transferred(file: Subject<'_>, spaces: Namespaces) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = file.xattr_names()?;
    names.retain(|name| spaces.have(name));
    Ok(names)
}

/// Replaces the transferred attributes of a file by these.
pub(super) fn set(file: impl AsFd, xattrs: &[Xattr], spaces: Namespaces) -> Result<(), Errno> {
    compare(Subject::new(&file), xattrs, spaces, true).map(drop)
}

/// Returns whether a file's attributes of these namespaces differ from `xattrs`, and with `set` makes them equal.
pub(super) fn compare(
    file: Subject<'_>,
    xattrs: &[Xattr],
    spaces: Namespaces,
    set: bool,
) -> Result<bool, Errno> {
    let there = match transferred(file, spaces) {
        Err(Errno::OPNOTSUPP) if xattrs.is_empty() => return Ok(false),
        there => there?,
    };
    let mut differs = false;
    for name in there.iter().filter(|name| xattrs.iter().all(|xattr| xattr.name != **name)) {
        differs = true;
        if set {
            file.remove_xattr(name)?;
        }
    }
    let mut value = vec![0; if there.is_empty() { 0 } else { MAX_XATTRS }];
    for xattr in xattrs {
        if !spaces.have(&xattr.name) {
            let is_transferred = Namespaces::All.have(&xattr.name);
            return Err(if is_transferred { ONLY_OF_USERS } else { Errno::PERM });
        }
        let old = if there.contains(&xattr.name) {
            file.xattr(&xattr.name, &mut value).ok().flatten()
        } else {
            None
        };
        if old.is_none_or(|len| value[..len] != *xattr.value) {
            differs = true;
            if set {
                file.set_xattr(&xattr.name, &xattr.value).map_err(|errno| match errno {
                    // Most file systems limit the attributes of one file, and report that as a full disk.
                    Errno::NOSPC if file.has_room() => Errno::TOOBIG,
                    errno => errno,
                })?;
            }
        }
    }
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_attributes_are_made_equal() {
        let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let set = |file, name: &str, value: &[u8]| {
            rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())
        };
        if set(&one, "user.a", b"1").is_err() {
            // A file system without any.
            return;
        }
        set(&one, "user.b", b"\0\xff").unwrap();
        set(&other, "user.b", b"old").unwrap();
        set(&other, "user.gone", b"x").unwrap();
        let xattrs = read(&one, Namespaces::All).unwrap();
        assert_eq!(xattrs.len(), 2);
        let compare =
            |xattrs: &[Xattr], set| compare(Subject::new(&other), xattrs, Namespaces::All, set);
        assert_eq!((compare(&xattrs, false), compare(&xattrs, true)), (Ok(true), Ok(true)));
        assert_eq!(read(&other, Namespaces::User).unwrap(), xattrs);
        assert_eq!(compare(&xattrs, true), Ok(false));
        for name in ["security.capability", "trusted.overlay.opaque", "system.x"] {
            let forbidden = Xattr { name: name.into(), value: b"x".to_vec() };
            assert_eq!(compare(&[forbidden], true), Err(Errno::PERM), "{name}");
        }
    }

    #[test]
    fn within_a_root_those_of_root_are_an_error_and_stay() {
        let file = tempfile::tempfile().unwrap();
        let subject = Subject::new(&file);
        let of_root = [Xattr { name: b"trusted.a".to_vec(), value: b"1".to_vec() }];
        assert_eq!(compare(subject, &of_root, Namespaces::User, true), Err(ONLY_OF_USERS));
        if subject.set_xattr(b"trusted.a", b"1").is_err() {
            // Only root has them.
            return;
        }
        assert_eq!(read(&file, Namespaces::User), Err(ONLY_OF_USERS));
        assert_eq!(compare(subject, &[], Namespaces::User, true), Ok(false));
        assert_eq!(read(&file, Namespaces::All).unwrap(), of_root);
    }

    #[test]
    fn within_a_root_only_those_of_users_go() {
        for (name, all, user) in [
            ("user.a", true, true),
            ("trusted.a", true, false),
            ("trusted.overlay.origin", false, false),
            ("security.capability", false, false),
        ] {
            let have = |spaces: Namespaces| spaces.have(name.as_bytes());
            assert_eq!((have(Namespaces::All), have(Namespaces::User)), (all, user), "{name}");
        }
    }
}
