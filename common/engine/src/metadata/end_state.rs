//! Gives a complete private file, mode 0600, its final owner, mode, ACL, extended attributes and time.
//!
//! Others may open the file under its temporary name. So at no instant anybody has a right that the end state does
//! not give: the mode is first reduced to what the next owner may do, then the owner is changed once, and only
//! then rights are added, the ACL and the mode in one step.

use std::fs::File;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::acl;
use super::attributes::{Attributes, timestamps};
use super::replaced::Replaced;
use super::subject::Subject;
use super::xattrs;
use crate::error::sys_failed;
use lariat_wire::protocol::failure::{Action, Failure};

/// Extended attributes of a replaced file that are not inherited: rights of a program, which the kernel removes
/// when the content changes, and sums of the old content.
const OF_CONTENT: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];

/// Namespaces in which the sender's attributes replace the inherited ones.
const TRANSFERRED: [&[u8]; 2] = [b"user.", b"trusted."];

/// Permission bits of a file that only its owner may use.
const PRIVATE: u32 = 0o600;

/// Gives a complete private file everything beyond its content. It inherits what is not given from `old`, as far
/// as this process may.
pub(crate) fn finish(
    file: &File,
    attributes: &Attributes,
    old: Option<&Replaced>,
    path: &[u8],
) -> Result<(), Failure> {
    let failed = sys_failed(Action::SetMetadata, path);
    let inherited = old.and_then(|old| inherit_attributes(old, file, attributes.xattrs.is_some()));
    if let Some(xattrs) = &attributes.xattrs {
        xattrs::set(file, xattrs).map_err(&failed)?;
    }
    give_away(file, attributes, old).map_err(&failed)?;
    if let Some(list) = attributes.access_list() {
        let mut list = list.to_vec();
        // An empty list stands for no ACL.
        let _ = with_mode(&mut list, attributes.mode);
        acl::compare(Subject::new(file), acl::ACCESS, &list, true).map_err(&failed)?;
    } else if let Some(mut list) = inherited
        && with_mode(&mut list, attributes.mode).is_some()
    {
        let _ = rustix::fs::fsetxattr(file, acl::ACCESS, &list, XattrFlags::empty());
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode)).map_err(&failed)?;
    rustix::fs::futimens(file, &timestamps(attributes.mtime)).map_err(&failed)
}

/// Changes the file's owner and group. What was asked for must succeed. What is inherited may fail.
fn give_away(file: &File, asked: &Attributes, old: Option<&Replaced>) -> Result<(), Errno> {
    if asked.uid.is_none() && asked.gid.is_none() && old.is_none() {
        return Ok(());
    }
    let is = rustix::fs::fstat(file)?;
    let other = |asked: Option<u32>, old: Option<u32>, is| asked.or(old).filter(|&end| end != is);
    let uid = other(asked.uid, old.map(|old| old.stat.st_uid), is.st_uid);
    let gid = other(asked.gid, old.map(|old| old.stat.st_gid), is.st_gid);
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    if asked.mode & PRIVATE != PRIVATE {
        rustix::fs::fchmod(file, Mode::from_raw_mode(asked.mode & PRIVATE))?;
    }
    let chown = |uid: Option<u32>, gid: Option<u32>| {
        rustix::fs::fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
    };
    let both = chown(uid, gid);
    if both.is_ok() {
        return Ok(());
    }
    // This process may be allowed to set the group, but not the user.
    let must = (uid.filter(|_| asked.uid.is_some()), gid.filter(|_| asked.gid.is_some()));
    if must.0.is_some() {
        return both;
    }
    match chown(None, gid) {
        Err(errno) if must.1.is_some() => Err(errno),
        _ => Ok(()),
    }
}

/// Copies the extended attributes of the replaced file. With `others` those that the sender's replace are
/// left out. Returns the ACL, which is not set yet.
fn inherit_attributes(old: &Replaced, to: &File, others: bool) -> Option<Vec<u8>> {
    let from = old.file.as_ref()?;
    let len = rustix::fs::flistxattr_query(from).ok().filter(|&len| len > 0)?;
    let mut names = vec![0; len];
    let len = rustix::fs::flistxattr(from, &mut names[..]).ok()?;
    let mut value = vec![0; 64 * 1024];
    let mut list = None;
    for name in names[..len].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let left_out = OF_CONTENT.contains(&name)
            || (others && TRANSFERRED.iter().any(|space| name.starts_with(space)));
        if left_out {
            continue;
        }
        let Ok(len) = rustix::fs::fgetxattr(from, name, &mut value[..]) else { continue };
        if name == acl::ACCESS {
            list = Some(value[..len].to_vec());
        } else {
            let _ = rustix::fs::fsetxattr(to, name, &value[..len], XattrFlags::empty());
        }
    }
    list
}

/// Puts the rights of `mode` into an ACL, so that setting the ACL also sets the mode. The group's bits go to the
/// mask, if there is one. `None` if `list` is not an ACL.
fn with_mode(list: &mut [u8], mode: u32) -> Option<()> {
    const VERSION: [u8; 4] = 2_u32.to_le_bytes();
    const ENTRY: usize = 8;
    const OWNER: u16 = 0x01;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHERS: u16 = 0x20;
    let (version, entries) = list.split_at_mut_checked(VERSION.len())?;
    if *version != VERSION || entries.len() % ENTRY != 0 {
        return None;
    }
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let has_mask = entries.chunks(ENTRY).any(|entry| tag(entry) == MASK);
    for entry in entries.chunks_mut(ENTRY) {
        let bits = match tag(entry) {
            OWNER => mode >> 6,
            MASK => mode >> 3,
            GROUP if !has_mask => mode >> 3,
            OTHERS => mode,
            _ => continue,
        };
        entry[2] = u8::try_from(bits & 0o7).unwrap_or_default();
        entry[3] = 0;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::metadata::Time;
    use std::os::unix::fs::MetadataExt;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&bits.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    const NONE: u32 = u32::MAX;

    #[test]
    fn an_access_list_gets_the_mode_and_its_named_entries_stay() {
        let old = [(1, 6, NONE), (2, 6, 65_534), (4, 4, NONE), (0x10, 7, NONE), (0x20, 4, NONE)];
        let mut bytes = list(&old);
        with_mode(&mut bytes, 0o640).unwrap();
        let new = [(1, 6, NONE), (2, 6, 65_534), (4, 4, NONE), (0x10, 4, NONE), (0x20, 0, NONE)];
        assert_eq!(bytes, list(&new));
        let mut plain = list(&[(1, 7, NONE), (4, 7, NONE), (0x20, 7, NONE)]);
        with_mode(&mut plain, 0o4751).unwrap();
        assert_eq!(plain, list(&[(1, 7, NONE), (4, 5, NONE), (0x20, 1, NONE)]));
    }

    #[test]
    fn what_is_no_access_list_is_not_taken_for_one() {
        for bad in [&b""[..], &[2, 0, 0], &[1, 0, 0, 0], &[2, 0, 0, 0, 1]] {
            assert_eq!(with_mode(&mut bad.to_vec(), 0o644), None);
        }
        assert_eq!(with_mode(&mut list(&[]), 0o644), Some(()));
    }

    #[test]
    fn owner_mode_and_time_are_the_asked_ones_or_else_the_replaced_file_s() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("old"), "old").unwrap();
        std::os::unix::fs::chown(at("old"), Some(65_534), Some(65_533)).unwrap();
        let open = File::open(directory.path()).unwrap();
        let old = Replaced::find(&open, b"old").unwrap();
        for (uid, gid) in [(None, None), (Some(0), None), (None, Some(7)), (Some(5), Some(6))] {
            for mode in [0o644, 0o000, 0o4755, 0o2070] {
                let mtime = Time { secs: 5, nanos: 6 };
                let attributes =
                    Attributes { mode, kept: 0, mtime, uid, gid, xattrs: None, acls: None };
                let file = File::create(at("new")).unwrap();
                rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).unwrap();
                finish(&file, &attributes, Some(&old), b"new").unwrap();
                let is = file.metadata().unwrap();
                let owner = (uid.unwrap_or(65_534), gid.unwrap_or(65_533));
                assert_eq!((is.uid(), is.gid()), owner);
                assert_eq!((is.mode() & 0o7777, is.mtime(), is.mtime_nsec()), (mode, 5, 6));
                std::fs::remove_file(at("new")).unwrap();
            }
        }
    }
}
