//! Where a file or a tree goes, and what is set there in place of the source's metadata.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_PATH};
use crate::protocol::invalid::Invalid;

/// Options for a file at its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// A change of the permission bits of files.
    pub mode: Option<ModeChange>,
    /// A change of the permission bits of directories.
    pub directory_mode: Option<ModeChange>,
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

/// All bits of a mode.
const MODE: u32 = 0o7777;

/// A change of permission bits: `mode & keep | set`, and `set_if_executable` where `mode` lets anybody execute the
/// file, or it is a directory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    /// The bits that stay as they are.
    pub keep: u32,
    /// The bits that are set.
    pub set: u32,
    /// The bits that are set for what can be executed.
    pub set_if_executable: u32,
}

impl ModeChange {
    /// Nothing changes.
    pub const NONE: Self = Self { keep: MODE, set: 0, set_if_executable: 0 };

    /// The mode becomes this one.
    pub fn exactly(mode: u32) -> Self {
        Self { keep: 0, set: mode, set_if_executable: 0 }
    }

    /// Sets bits as well.
    #[must_use]
    pub fn with(self, set: u32, if_executable: u32) -> Self {
        let set_if_executable = self.set_if_executable | if_executable;
        Self { keep: self.keep, set: self.set | set, set_if_executable }
    }

    /// Clears bits as well.
    #[must_use]
    pub fn without(self, bits: u32) -> Self {
        let Self { keep, set, set_if_executable } = self;
        Self { keep: keep & !bits, set: set & !bits, set_if_executable: set_if_executable & !bits }
    }

    /// The mode of a file that had `mode`.
    pub fn of_file(self, mode: u32) -> u32 {
        const EXECUTE: u32 = 0o111;
        let execute = if mode & EXECUTE == 0 { 0 } else { self.set_if_executable };
        mode & self.keep | self.set | execute
    }

    /// The mode of a directory that had `mode`.
    pub fn of_directory(self, mode: u32) -> u32 {
        mode & self.keep | self.set | self.set_if_executable
    }
}

impl Overrides {
    /// Checks what the types can't ensure.
    pub(in crate::protocol) fn check(&self) -> Result<(), Invalid> {
        let mut modes = self.mode.iter().chain(&self.directory_mode);
        if modes.any(|mode| (mode.keep | mode.set | mode.set_if_executable) & !MODE != 0) {
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
