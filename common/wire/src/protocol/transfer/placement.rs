//! Where a file or a tree goes, and what is set there in place of the source's metadata.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_PATH};
use crate::protocol::invalid::Invalid;

/// Options for a file at its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Permission bits instead of the source's.
    pub mode: Option<u32>,
    /// The owner's name or id on the host.
    pub user: Option<String>,
    /// The group's name or id on the host.
    pub group: Option<String>,
    /// Keep the replaced file, with `~` appended to its name.
    pub backup: bool,
    /// Write into an existing file instead of replacing it.
    pub in_place: bool,
    /// Read the file back, compare its hash with that in `Complete`, and report it in `Done`.
    pub verify: bool,
}

impl Overrides {
    /// Checks what the types can't ensure.
    pub(in crate::protocol) fn check(&self) -> Result<(), Invalid> {
        if self.mode.is_some_and(|mode| mode & !0o7777 != 0) {
            return Err(Invalid::Mode);
        }
        if self.backup && self.in_place { Err(Invalid::InPlace) } else { Ok(()) }
    }
}

/// Where a file or a directory goes, by rsync's rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// For a file: its new name; or the directory that it goes into, if the path ends in `/` or is a
    /// directory. For a directory: the directory that it goes into. Relative to the user's home; empty means
    /// the home.
    pub path: Vec<u8>,
    /// The source's own name: one component. A file without a name, such as stdin, can't go into a directory.
    /// A directory without a name stands for its contents, and `path` becomes its copy.
    pub name: Vec<u8>,
}

impl Destination {
    /// Checks, for a file, what the types can't ensure.
    pub(in crate::protocol) fn check(&self) -> Result<(), Invalid> {
        self.check_tree()?;
        if self.name.is_empty() && self.is_inside() { Err(Invalid::Name) } else { Ok(()) }
    }

    /// Checks, for a directory, what the types can't ensure.
    pub(in crate::protocol) fn check_tree(&self) -> Result<(), Invalid> {
        if self.path.len() > MAX_PATH || self.path.contains(&0) {
            return Err(Invalid::Path);
        }
        if self.name.is_empty() { Ok(()) } else { check_name(&self.name) }
    }

    /// Whether the path can only be the directory that the source goes into.
    pub fn is_inside(&self) -> bool {
        matches!(self.path.rsplit(|&b| b == b'/').next(), None | Some(b"" | b"." | b".."))
    }
}

/// Checks that `name` is one component that can be created in a directory.
pub fn check_name(name: &[u8]) -> Result<(), Invalid> {
    let bad = matches!(name, b"" | b"." | b"..")
        || name.len() > MAX_NAME
        || name.iter().any(|b| matches!(b, b'/' | 0));
    if bad { Err(Invalid::Name) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_name_goes_into_no_directory() {
        let check =
            |path: &str, name: &str| Destination { path: path.into(), name: name.into() }.check();
        for (path, name) in [("/srv/a", ""), ("a", ""), ("", "a"), ("/srv/", "a")] {
            assert_eq!(check(path, name), Ok(()), "{path} {name}");
        }
        for path in ["", "/srv/", ".", "a/.."] {
            assert_eq!(check(path, ""), Err(Invalid::Name), "{path}");
        }
        assert_eq!(check("/srv/a", "."), Err(Invalid::Name));
        assert_eq!(check("a\0", ""), Err(Invalid::Path));
    }

    #[test]
    fn names_are_one_component() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; MAX_NAME + 1]] {
            assert_eq!(check_name(bad), Err(Invalid::Name));
        }
        for good in [&b"a"[..], b"...", b"-rf", b"\xff\n", &[b'x'; MAX_NAME]] {
            assert_eq!(check_name(good), Ok(()));
        }
    }
}
