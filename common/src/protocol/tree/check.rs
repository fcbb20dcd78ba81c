//! What the types of a tree's words alone can't rule out.

use super::{
    Entries, Entry, MAX_ENTRIES, MAX_GLOB, MAX_RULES, MAX_XATTRS, PushTree, Rule, TreeOptions,
    What, Xattr,
};
use crate::limits::{MAX_NAME, MAX_PATH};
use crate::protocol::transfer::{BadTransfer, check_name, check_user};

/// Why a message of a tree makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// A name or time that no file can have.
    #[error(transparent)]
    Transfer(#[from] BadTransfer),
    /// The root is not a folder, or has a name.
    #[error("a tree's root is a folder without a name")]
    Root,
    /// A link's target is empty, too long, or has a NUL byte.
    #[error("a link's target is empty, over {MAX_PATH} bytes or contains a NUL byte")]
    Target,
    /// Extended attributes are too many, or one has no name.
    #[error("extended attributes are over {MAX_XATTRS} bytes, or have names that can't be")]
    Xattrs,
    /// Too many entries in one message.
    #[error("more than {MAX_ENTRIES} entries in one message")]
    TooMany,
    /// Too many rules, or one too long.
    #[error("more than {MAX_RULES} rules, or a glob over {MAX_GLOB} bytes")]
    Rules,
}

impl PushTree {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTree> {
        if self.dest.path.len() > MAX_PATH || self.dest.path.contains(&0) {
            return Err(BadTransfer::Path.into());
        }
        check_name(&self.dest.name)?;
        if self.placement.mode.is_some_and(|mode| mode & !0o7777 != 0) {
            return Err(BadTransfer::Mode.into());
        }
        check_user(self.user.as_deref())?;
        self.options.check()?;
        self.root.check_root()
    }
}

impl TreeOptions {
    /// Checks what the types alone can't.
    pub fn check(&self) -> Result<(), BadTree> {
        let long = |rule: &Rule| rule.glob.len() > MAX_GLOB;
        if self.rules.len() > MAX_RULES || self.rules.iter().any(long) {
            return Err(BadTree::Rules);
        }
        let bad = |path: &Vec<u8>| {
            path.len() >= MAX_PATH
                || path.split(|&b| b == b'/').any(|name| check_name(name).is_err())
        };
        if self.only.iter().any(bad) { Err(BadTransfer::Path.into()) } else { Ok(()) }
    }
}

impl Entries {
    /// Checks what the types alone can't: each entry by itself.
    pub fn check(&self) -> Result<(), BadTree> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(BadTree::TooMany);
        }
        self.entries.iter().try_for_each(Entry::check)
    }
}

impl Entry {
    /// Checks an entry that is the root.
    pub fn check_root(&self) -> Result<(), BadTree> {
        if !self.name.is_empty() || self.what != What::Folder {
            return Err(BadTree::Root);
        }
        self.check_attributes()
    }

    fn check(&self) -> Result<(), BadTree> {
        check_name(&self.name)?;
        match &self.what {
            What::File { size, .. } if i64::try_from(*size).is_err() => {
                return Err(BadTransfer::Size.into());
            }
            What::Link { target } => {
                if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
                    return Err(BadTree::Target);
                }
            }
            What::File { .. } | What::Folder | What::Same { .. } | What::Other(_) => {}
        }
        self.check_attributes()
    }

    fn check_attributes(&self) -> Result<(), BadTree> {
        if self.mode & !0o7777 != 0 {
            return Err(BadTransfer::Mode.into());
        }
        self.mtime.check()?;
        let bad = |xattr: &Xattr| {
            xattr.name.is_empty() || xattr.name.len() > MAX_NAME || xattr.name.contains(&0)
        };
        let len = |xattr: &Xattr| xattr.name.len() + xattr.value.len();
        let total: usize = self.xattrs.iter().map(len).sum();
        if total > MAX_XATTRS || self.xattrs.iter().any(bad) {
            return Err(BadTree::Xattrs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::transfer::Time;

    fn entry(name: &[u8], what: What) -> Entry {
        let (mtime, owner) = (Time::default(), None);
        Entry { name: name.to_vec(), mode: 0o644, mtime, owner, xattrs: Vec::new(), what }
    }

    #[test]
    fn entries_are_checked_each_by_itself() {
        let check = |entry: Entry| Entries { entries: vec![entry], last: true }.check();
        assert_eq!(check(entry(b"a", What::Folder)), Ok(()));
        for bad in [&b""[..], b".", b"..", b"/etc", b"a/b", b"a\0", &[b'x'; 256]] {
            assert_eq!(check(entry(bad, What::Folder)), Err(BadTransfer::Name.into()));
        }
        let link = |target: &[u8]| check(entry(b"l", What::Link { target: target.to_vec() }));
        assert_eq!(link(b"../../etc/passwd"), Ok(()), "a link leads where it likes");
        for bad in [&b""[..], b"a\0b", &[b'x'; MAX_PATH + 1]] {
            assert_eq!(link(bad), Err(BadTree::Target));
        }
        let bad_mode = Entry { mode: 0o10_000, ..entry(b"a", What::Folder) };
        assert_eq!(check(bad_mode), Err(BadTransfer::Mode.into()));
        let xattr = Xattr { name: b"user.a".to_vec(), value: vec![0; MAX_XATTRS] };
        let large = Entry { xattrs: vec![xattr], ..entry(b"a", What::Folder) };
        assert_eq!(check(large), Err(BadTree::Xattrs));
        let huge = What::File { size: u64::MAX, hash: None, linked: false };
        assert_eq!(check(entry(b"a", huge)), Err(BadTransfer::Size.into()));
    }

    #[test]
    fn a_root_is_a_folder_without_a_name() {
        assert_eq!(entry(b"", What::Folder).check_root(), Ok(()));
        assert_eq!(entry(b"a", What::Folder).check_root(), Err(BadTree::Root));
        let file = What::File { size: 0, hash: None, linked: false };
        assert_eq!(entry(b"", file).check_root(), Err(BadTree::Root));
    }
}
