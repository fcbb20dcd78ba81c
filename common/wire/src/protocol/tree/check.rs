//! Constraints on a tree's messages that their types can't ensure.

use super::{
    Begin, Entries, Entry, MAX_ENTRIES, MAX_GLOB, MAX_RULES, PushTree, Rule, TreeOptions, What,
};
use crate::limits::MAX_PATH;
use crate::protocol::invalid::{Invalid, check_user};
use crate::protocol::transfer::check_name;

impl PushTree {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.dest.check_tree()?;
        self.overrides.check()?;
        check_user(self.user.as_deref())?;
        self.options.check()?;
        self.root.check_root()
    }
}

impl TreeOptions {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let long = |rule: &Rule| rule.glob.len() > MAX_GLOB;
        if self.rules.len() > MAX_RULES || self.rules.iter().any(long) {
            return Err(Invalid::Rules);
        }
        let bad = |path: &Vec<u8>| {
            path.len() >= MAX_PATH
                || path.split(|&b| b == b'/').any(|name| check_name(name).is_err())
        };
        if self.only.iter().any(bad) { Err(Invalid::Path) } else { Ok(()) }
    }
}

impl Begin {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        self.offer.check()
    }
}

impl Entries {
    /// Checks each entry by itself for what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(Invalid::TooManyEntries);
        }
        self.entries.iter().try_for_each(Entry::check)
    }
}

impl Entry {
    /// Checks an entry as the root: a directory without a name.
    pub fn check_root(&self) -> Result<(), Invalid> {
        if !self.name.is_empty() || self.what != What::Directory {
            return Err(Invalid::Root);
        }
        self.check_what()
    }

    fn check(&self) -> Result<(), Invalid> {
        check_name(&self.name)?;
        self.check_what()
    }

    fn check_what(&self) -> Result<(), Invalid> {
        match &self.what {
            What::File { size, .. } if i64::try_from(*size).is_err() => {
                return Err(Invalid::Size);
            }
            What::Link { target } => {
                if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
                    return Err(Invalid::LinkTarget);
                }
            }
            What::File { .. } | What::Directory | What::Same { .. } | What::Other(_) => {}
        }
        self.metadata.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::metadata::{MAX_XATTRS, Metadata, Xattr};

    fn entry(name: &[u8], what: What) -> Entry {
        Entry { name: name.to_vec(), metadata: Metadata::default(), what }
    }

    #[test]
    fn entries_are_checked_each_by_itself() {
        let check = |entry: Entry| Entries { entries: vec![entry], last: true }.check();
        assert_eq!(check(entry(b"a", What::Directory)), Ok(()));
        for bad in [&b""[..], b".", b"..", b"/etc", b"a/b", b"a\0", &[b'x'; 256]] {
            assert_eq!(check(entry(bad, What::Directory)), Err(Invalid::Name));
        }
        let link = |target: &[u8]| check(entry(b"l", What::Link { target: target.to_vec() }));
        assert_eq!(link(b"../../etc/passwd"), Ok(()), "a link leads where it likes");
        for bad in [&b""[..], b"a\0b", &[b'x'; MAX_PATH + 1]] {
            assert_eq!(link(bad), Err(Invalid::LinkTarget));
        }
        let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: vec![0; MAX_XATTRS] }];
        let metadata = Metadata { xattrs, ..Metadata::default() };
        let large = Entry { metadata, ..entry(b"a", What::Directory) };
        assert_eq!(check(large), Err(Invalid::Xattrs));
        let huge = What::File { size: u64::MAX, hash: None, linked: false };
        assert_eq!(check(entry(b"a", huge)), Err(Invalid::Size));
    }

    #[test]
    fn a_root_is_a_directory_without_a_name() {
        assert_eq!(entry(b"", What::Directory).check_root(), Ok(()));
        assert_eq!(entry(b"a", What::Directory).check_root(), Err(Invalid::Root));
        let file = entry(b"", What::File { size: 0, hash: None, linked: false });
        assert_eq!(file.check_root(), Err(Invalid::Root));
        assert_eq!(entry(b"", What::Same { entry: 0 }).check_root(), Err(Invalid::Root));
    }
}
