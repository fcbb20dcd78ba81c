//! POSIX ACLs: the rights of users and groups beyond those of a file's owner, its group and all others.
//!
//! Linux keeps them as two extended attributes, in a binary form with the numbers of users and groups. On the
//! wire they have names as well, like owners. The group bits in the mode of a file with an ACL are its mask: the
//! most that anybody but the owner and others may do. A mode that is sent without the ACL must not give the
//! group the rights of the mask.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::subject::Subject;
use lariat_wire::protocol::metadata::{AclEntry, AclTag, Acls};

/// The attribute with the rights to a file or directory itself.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute with the initial rights of what is made in a directory.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The version of the binary form.
const VERSION: u32 = 2;

/// The number in entries that name nobody.
const NO_ID: u32 = u32::MAX;

/// The most bytes of an attribute.
const MAX_LEN: usize = 64 * 1024;

/// An entry in its binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) tag: u16,
    pub(crate) perm: u16,
    pub(crate) id: u32,
}

/// Decodes the attribute's binary form. An unknown form has no entries.
fn decode(bytes: &[u8]) -> Vec<Raw> {
    let Some((version, entries)) = bytes.split_first_chunk::<4>() else { return Vec::new() };
    if u32::from_le_bytes(*version) != VERSION {
        return Vec::new();
    }
    let (entries, _) = entries.as_chunks::<8>();
    let raw = |[a, b, c, d, id @ ..]: &[u8; 8]| Raw {
        tag: u16::from_le_bytes([*a, *b]),
        perm: u16::from_le_bytes([*c, *d]),
        id: u32::from_le_bytes(*id),
    };
    entries.iter().map(raw).collect()
}

/// Encodes the attribute's binary form. Without entries it is empty, which stands for no attribute.
pub(crate) fn encode(entries: &[Raw]) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for Raw { tag, perm, id } in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&perm.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Converts an entry of the wire, with the number of its user or group on this host.
pub(crate) fn to_raw(entry: &AclEntry, id: u32) -> Raw {
    let id = if entry.tag.is_named() { id } else { NO_ID };
    Raw { tag: entry.tag.number(), perm: entry.perm.into(), id }
}

/// The mode of a file without its ACL: the group has no more rights than by the ACL.
fn mode_without(mode: u32, access: &[Raw]) -> u32 {
    let perm = |tag: AclTag| {
        access.iter().find(|raw| raw.tag == tag.number()).map(|raw| u32::from(raw.perm & 7))
    };
    let (Some(group), Some(mask)) = (perm(AclTag::Group), perm(AclTag::Mask)) else { return mode };
    mode & !0o070 | (group & mask) << 3
}

/// A name's ACLs as they are sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) acls: Acls,
    /// The mode, whose permission bits take dropped ACLs into account.
    pub(crate) mode: u32,
}

/// Describes the ACLs of an open file or directory. Names of users and groups are added later. Without `preserve`
/// ACLs are dropped.
pub(crate) fn describe(file: impl AsFd, stat: &Stat, preserve: bool) -> Result<Described, Errno> {
    let file = Subject::new(&file);
    describe_by(|name, value| file.xattr(name, value), stat, preserve)
}

/// Whether the group bits of a mode give no right that others lack. Even if these bits are a mask, the mode may be
/// sent without its ACL then.
fn group_within_others(mode: u32) -> bool {
    mode >> 3 & 0o7 & !mode == 0
}

/// Describes the ACLs of a name in an open directory, without opening it or following a link. `entered`
/// says that the directory is this thread's working directory.
///
/// The call costs as much as the name's stat. So without `preserve` the ACL of a file is read only if it could
/// change the mode. [`describe`] reads it with the content.
pub(crate) fn describe_name(
    directory: impl AsFd,
    entered: bool,
    name: &[u8],
    stat: &Stat,
    preserve: bool,
) -> Result<Described, Errno> {
    if !preserve
        && FileType::from_raw_mode(stat.st_mode).is_file()
        && group_within_others(stat.st_mode)
    {
        return Ok(Described { acls: Acls::None, mode: stat.st_mode });
    }
    let mut path = if entered {
        Vec::with_capacity(name.len())
    } else {
        format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes()
    };
    path.extend_from_slice(name);
    let read =
        |name: &[u8], value: &mut [u8]| match rustix::fs::lgetxattr(path.as_slice(), name, value) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::NODATA) => Ok(None),
            Err(errno) => Err(errno),
        };
    describe_by(read, stat, preserve)
}

fn describe_by(
    read: impl Fn(&[u8], &mut [u8]) -> Result<Option<usize>, Errno>,
    stat: &Stat,
    preserve: bool,
) -> Result<Described, Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !kind.is_file() && !kind.is_dir() {
        return Ok(Described { acls: Acls::None, mode: stat.st_mode });
    }
    let access = entries(&read, ACCESS)?;
    let default = if kind.is_dir() { entries(&read, DEFAULT)? } else { Vec::new() };
    if access.is_empty() && default.is_empty() {
        return Ok(Described { acls: Acls::None, mode: stat.st_mode });
    }
    if !preserve {
        return Ok(Described { acls: Acls::Dropped, mode: mode_without(stat.st_mode, &access) });
    }
    let entries = |raw: Vec<Raw>| -> Result<Vec<AclEntry>, Errno> {
        let entry = |Raw { tag, perm, id }: Raw| {
            let tag = AclTag::from_number(tag).ok_or(Errno::INVAL)?;
            let perm = u8::try_from(perm).map_err(|_| Errno::INVAL)?;
            let id = if tag.is_named() { id } else { 0 };
            Ok(AclEntry { tag, perm, id, name: String::new() })
        };
        raw.into_iter().map(entry).collect()
    };
    let acls = Acls::These { access: entries(access)?, default: entries(default)? };
    Ok(Described { acls, mode: stat.st_mode })
}

fn entries(
    read: impl Fn(&[u8], &mut [u8]) -> Result<Option<usize>, Errno>,
    name: &[u8],
) -> Result<Vec<Raw>, Errno> {
    let mut value = [0; 512];
    match read(name, &mut value) {
        Ok(len) => Ok(decode(&value[..len.unwrap_or_default()])),
        // The file system has no ACLs.
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(Errno::RANGE) => {
            let mut value = vec![0; MAX_LEN];
            let len = read(name, &mut value)?;
            Ok(decode(&value[..len.unwrap_or_default()]))
        }
        Err(errno) => Err(errno),
    }
}

/// Returns whether the ACL of an open file differs from this one, and with `set` sets it. An empty one stands for
/// no ACL.
pub(crate) fn compare(
    file: Subject<'_>,
    name: &[u8],
    wanted: &[u8],
    set: bool,
) -> Result<bool, Errno> {
    let mut value = vec![0; MAX_LEN];
    let there = match file.xattr(name, &mut value) {
        Ok(len) => &value[..len.unwrap_or_default()],
        Err(Errno::OPNOTSUPP) if wanted.is_empty() => return Ok(false),
        Err(errno) => return Err(errno),
    };
    if there == wanted {
        return Ok(false);
    }
    if set && wanted.is_empty() {
        file.remove_xattr(name)?;
    } else if set {
        file.set_xattr(name, wanted)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u32 = 65_534;

    fn acl(group: u16, mask: u16) -> Vec<Raw> {
        let raw = |tag: AclTag, perm, id| Raw { tag: tag.number(), perm, id };
        vec![
            raw(AclTag::Owner, 6, NO_ID),
            raw(AclTag::NamedUser, 6, USER),
            raw(AclTag::Group, group, NO_ID),
            raw(AclTag::Mask, mask, NO_ID),
            raw(AclTag::Others, 4, NO_ID),
        ]
    }

    #[test]
    fn the_binary_form_goes_there_and_back() {
        assert_eq!(decode(&encode(&acl(4, 6))), acl(4, 6));
        assert_eq!(encode(&[]), b"");
        for bad in [&b""[..], b"\x02\0", b"\x03\0\0\0\x01\0\x06\0\xff\xff\xff\xff"] {
            assert_eq!(decode(bad), []);
        }
    }

    #[test]
    fn without_its_acl_a_file_gives_its_group_no_more() {
        assert_eq!(mode_without(0o664, &acl(0, 6)), 0o604);
        assert_eq!(mode_without(0o664, &acl(4, 6)), 0o644);
        assert_eq!(mode_without(0o4644, &acl(7, 4)), 0o4644);
        assert_eq!(mode_without(0o644, &[]), 0o644);
    }

    #[test]
    fn a_mode_shows_whether_a_mask_could_widen_it() {
        for mode in [0o644, 0o755, 0o600, 0o700, 0o604, 0o666, 0o4755, 0o100_644] {
            assert!(group_within_others(mode), "{mode:o}");
        }
        for mode in [0o664, 0o640, 0o750, 0o660, 0o775, 0o654, 0o100_640] {
            assert!(!group_within_others(mode), "{mode:o}");
        }
    }

    #[test]
    fn an_acl_is_described_compared_and_set() {
        let directory = tempfile::tempdir().unwrap();
        let (path, dir) =
            (directory.path().join("f"), std::fs::File::open(directory.path()).unwrap());
        let file = std::fs::File::create(&path).unwrap();
        let (subject, wanted) = (Subject::new(&file), encode(&acl(0, 6)));
        if subject.set_xattr(ACCESS, &wanted).is_err() {
            // A file system without any.
            return;
        }
        let stat = subject.stat().unwrap();
        assert_eq!(stat.st_mode & 0o777, 0o664);
        let dropped = describe(&file, &stat, false).unwrap();
        assert_eq!((dropped.mode & 0o777, &dropped.acls), (0o604, &Acls::Dropped));
        assert_eq!(describe_name(&dir, false, b"f", &stat, false), Ok(dropped));
        let Acls::These { access, default } = describe(&file, &stat, true).unwrap().acls else {
            panic!("it has one");
        };
        let raw: Vec<Raw> = access.iter().map(|entry| to_raw(entry, entry.id)).collect();
        assert_eq!((encode(&raw), default.len()), (wanted.clone(), 0));
        assert_eq!(compare(subject, ACCESS, &wanted, true), Ok(false));
        assert_eq!(compare(subject, ACCESS, b"", false), Ok(true));
        assert_eq!(compare(subject, ACCESS, b"", true), Ok(true));
        assert_eq!(describe(&file, &stat, true).unwrap().acls, Acls::None);
    }
}
