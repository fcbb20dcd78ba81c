//! Metadata of files, directories and links, as the sender describes it, for single files and for entries of
//! trees.

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use crate::limits::MAX_NAME;

pub use crate::limits::MAX_XATTRS;

/// The id that no user or group can have: chown(2) takes it as "no change".
const NOBODY: u32 = u32::MAX;

/// A point in time, relative to 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds after the second, less than 10^9.
    pub nanos: u32,
}

impl Time {
    /// Checks what the type can't ensure.
    pub fn check(self) -> Result<(), Invalid> {
        if self.nanos < 1_000_000_000 { Ok(()) } else { Err(Invalid::Time) }
    }
}

/// Which metadata is sent besides permission bits and the time of last modification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Preserve {
    /// Extended attributes.
    pub xattrs: bool,
    /// Owners and groups.
    pub owner: bool,
    /// Setuid, setgid and sticky bits.
    pub special: bool,
    /// ACLs.
    pub acls: bool,
}

/// The metadata of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits, 0o7777; setuid, setgid and sticky only if requested.
    pub mode: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Owner and group, if requested.
    pub owner: Option<Ownership>,
    /// Extended attributes, if requested.
    pub xattrs: Vec<Xattr>,
    /// ACLs, if requested.
    pub acls: Acls,
}

/// Owner and group. A name that the other host knows takes precedence over the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The user's name; empty if it has none.
    pub user: String,
    /// The group's name; empty if it has none.
    pub group: String,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// The ACLs of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acls {
    /// It has none.
    #[default]
    None,
    /// It has some, but they were not requested: the mode's group bits then grant what they grant the group.
    Dropped,
    /// It has these.
    These {
        /// The rights to the name itself.
        access: Vec<AclEntry>,
        /// The rights that new names in the directory start with.
        default: Vec<AclEntry>,
    },
}

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Whose rights these are.
    pub tag: AclTag,
    /// Read is 4, write 2, execute 1.
    pub perm: u8,
    /// The id of a named user or group, else 0.
    pub id: u32,
    /// The name of a named user or group; empty if it has none.
    pub name: String,
}

/// Whose rights an entry of an ACL grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclTag {
    /// The owner's.
    Owner,
    /// A named user's.
    NamedUser,
    /// The group's.
    Group,
    /// A named group's.
    NamedGroup,
    /// The upper bound on the rights of named users, the group and named groups.
    Mask,
    /// All others'.
    Others,
}

impl AclTag {
    const ALL: [Self; 6] =
        [Self::Owner, Self::NamedUser, Self::Group, Self::NamedGroup, Self::Mask, Self::Others];

    /// The number in Linux's own encoding.
    pub fn number(self) -> u16 {
        1 << self as u16
    }

    /// The tag of a number in Linux's own encoding.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.number() == number)
    }

    /// Whether the entry is of a named user or group.
    pub fn is_named(self) -> bool {
        matches!(self, Self::NamedUser | Self::NamedGroup)
    }
}

impl Acls {
    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &AclEntry> {
        let (access, default) = match self {
            Self::These { access, default } => (access.as_slice(), default.as_slice()),
            Self::None | Self::Dropped => (&[][..], &[][..]),
        };
        access.iter().chain(default)
    }

    /// Approximate bytes of all entries.
    fn len(&self) -> usize {
        self.entries().map(|entry| 20 + entry.name.len()).sum()
    }
}

impl Metadata {
    /// Approximate bytes of all extended attributes, names included, and of all ACLs.
    pub fn xattrs_len(&self) -> usize {
        let xattrs = self.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len());
        xattrs.sum::<usize>() + self.acls.len()
    }

    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.mode & !0o7777 != 0 {
            return Err(Invalid::Mode);
        }
        self.mtime.check()?;
        let nobody = |owner: &Ownership| owner.uid == NOBODY || owner.gid == NOBODY;
        if self.owner.as_ref().is_some_and(nobody) {
            return Err(Invalid::Owner);
        }
        let bad = |xattr: &Xattr| {
            xattr.name.is_empty() || xattr.name.len() > MAX_NAME || xattr.name.contains(&0)
        };
        let bad_entry = |entry: &AclEntry| {
            let nobody = entry.tag.is_named() && entry.id == NOBODY;
            entry.perm > 7 || nobody || entry.name.len() > MAX_NAME || entry.name.contains('\0')
        };
        if self.acls.entries().any(bad_entry) {
            return Err(Invalid::Acl);
        }
        if self.xattrs_len() > MAX_XATTRS || self.xattrs.iter().any(bad) {
            return Err(Invalid::Xattrs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_times_and_attributes_that_no_file_has_are_refused() {
        let xattr = |name: &[u8], len| Metadata {
            xattrs: vec![Xattr { name: name.to_vec(), value: vec![0; len] }],
            ..Metadata::default()
        };
        assert_eq!(Metadata { mode: 0o7777, ..Metadata::default() }.check(), Ok(()));
        let bad = Metadata { mode: 0o10_000, ..Metadata::default() };
        assert_eq!(bad.check(), Err(Invalid::Mode));
        let mtime = Time { secs: 0, nanos: 1_000_000_000 };
        assert_eq!(Metadata { mtime, ..Metadata::default() }.check(), Err(Invalid::Time));
        let owned = |uid, gid| {
            let (user, group) = (String::new(), String::new());
            let owner = Some(Ownership { uid, gid, user, group });
            Metadata { owner, ..Metadata::default() }.check()
        };
        assert_eq!(owned(u32::MAX - 1, 0), Ok(()));
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
            assert_eq!(owned(uid, gid), Err(Invalid::Owner));
        }
        let acl = |tag, perm, id, name: &str| {
            let access = vec![AclEntry { tag, perm, id, name: name.to_owned() }];
            let acls = Acls::These { access, default: Vec::new() };
            Metadata { acls, ..Metadata::default() }.check()
        };
        assert_eq!(acl(AclTag::NamedUser, 7, 1, "www"), Ok(()));
        for (tag, perm, id, name) in [
            (AclTag::Owner, 8, 0, ""),
            (AclTag::NamedGroup, 7, u32::MAX, ""),
            (AclTag::NamedUser, 7, 0, "a\0"),
        ] {
            assert_eq!(acl(tag, perm, id, name), Err(Invalid::Acl));
        }
        assert_eq!(AclTag::ALL.map(AclTag::number), [1, 2, 4, 8, 16, 32]);
        assert_eq!(xattr(b"user.a", MAX_XATTRS - 6).check(), Ok(()));
        let bad = [
            xattr(b"user.a", MAX_XATTRS - 5),
            xattr(b"", 1),
            xattr(b"a\0", 1),
            xattr(&[b'a'; 256], 1),
        ];
        for bad in bad {
            assert_eq!(bad.check(), Err(Invalid::Xattrs));
        }
    }
}
