//! Extended attributes: read by the sender, compared and set by the receiver.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::subject::Subject;
use lariat_wire::protocol::metadata::{MAX_XATTRS, Xattr};

/// Namespaces that are transferred: those of users, and root's own. Others describe what one host thinks of a
/// file, or give it rights.
const NAMESPACES: [&[u8]; 2] = [b"user.", b"trusted."];

/// Reads the attributes of an open file that are transferred, sorted by name. More than [`MAX_XATTRS`] bytes
/// are an error.
pub(crate) fn read(file: impl AsFd) -> Result<Vec<Xattr>, Errno> {
    let file = Subject::new(&file);
    let names = match transferred(file) {
        // The file system has no extended attributes.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
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
fn transferred(file: Subject<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = file.xattr_names()?;
    names.retain(|name| is_transferred(name));
    Ok(names)
}

/// Replaces the transferred attributes of a file by these.
pub(super) fn set(file: impl AsFd, xattrs: &[Xattr]) -> Result<(), Errno> {
    compare(Subject::new(&file), xattrs, true).map(drop)
}

fn is_transferred(name: &[u8]) -> bool {
    NAMESPACES.iter().any(|space| name.starts_with(space))
}

/// Returns whether the transferred attributes of a file differ from these, and with `set` makes them equal.
pub(super) fn compare(file: Subject<'_>, xattrs: &[Xattr], set: bool) -> Result<bool, Errno> {
    let there = match transferred(file) {
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
        if !is_transferred(&xattr.name) {
            return Err(Errno::PERM);
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
        let xattrs = read(&one).unwrap();
        assert_eq!(xattrs.len(), 2);
        let compare = |xattrs: &[Xattr], set| compare(Subject::new(&other), xattrs, set);
        assert_eq!((compare(&xattrs, false), compare(&xattrs, true)), (Ok(true), Ok(true)));
        assert_eq!(read(&other).unwrap(), xattrs);
        assert_eq!(compare(&xattrs, true), Ok(false));
        let forbidden = Xattr { name: b"security.capability".to_vec(), value: b"x".to_vec() };
        assert_eq!(compare(&[forbidden], true), Err(Errno::PERM));
    }
}
