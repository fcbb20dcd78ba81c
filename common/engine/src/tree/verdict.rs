//! What an entry needs, given what exists under its name.

use std::io;

use rustix::fs::{FileType, Stat};

use super::hash_file::hash_of;
use crate::confined::Dir;
use crate::metadata::attributes::{self, Attributes};
use lariat_wire::protocol::transfer::Hash;
use lariat_wire::protocol::tree::{ChangeKind, What};

/// What an entry needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is up to date, except perhaps for its attributes.
    Same,
    /// The existing file has the same length. Its hash decides.
    Hash,
    /// Nothing has its name.
    Make,
    /// It replaces what has its name.
    Replace,
    /// A directory has its name, and it is not one.
    Directory,
    /// It is a directory, and what has its name must be removed first.
    Clear,
}

/// Compares a file, a directory or a link with what exists. The targets of links are not compared.
pub(super) fn verdict(what: &What, attributes: &Attributes, there: Option<&Stat>) -> Verdict {
    let Some(stat) = there else { return Verdict::Make };
    let kind = FileType::from_raw_mode(stat.st_mode);
    match what {
        What::Directory if kind == FileType::Directory => Verdict::Same,
        What::Directory => Verdict::Clear,
        _ if kind == FileType::Directory => Verdict::Directory,
        What::File { size, hash, .. } if kind == FileType::RegularFile => {
            let as_long = u64::try_from(stat.st_size) == Ok(*size);
            let as_old = attributes::mtime(stat) == attributes.mtime;
            match hash {
                Some(_) if as_long => Verdict::Hash,
                None if as_long && as_old => Verdict::Same,
                _ => Verdict::Replace,
            }
        }
        What::Link { .. } if kind == FileType::Symlink => Verdict::Same,
        _ => Verdict::Replace,
    }
}

impl Verdict {
    /// The change that a dry run reports for a name that is not up to date.
    pub(super) fn change(self) -> ChangeKind {
        match self {
            Self::Same => ChangeKind::Touch,
            Self::Make => ChangeKind::Make,
            _ => ChangeKind::Change,
        }
    }
}

/// Compares the content of a file with a hash. The file is read to its end.
pub(super) fn compare_hash(
    directory: &Dir,
    name: &[u8],
    hash: Option<Hash>,
) -> io::Result<Verdict> {
    let file = match directory.open_file(name) {
        // A file that may not be read is replaced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Verdict::Replace);
        }
        file => file?,
    };
    let is = hash_of(&file, u64::MAX)?;
    Ok(if Some(is) == hash { Verdict::Same } else { Verdict::Replace })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::metadata::Time;
    use std::os::unix::fs::symlink;

    fn attributes() -> Attributes {
        let mtime = Time { secs: 1_000_000, nanos: 7 };
        Attributes { mode: 0o644, kept: 0, mtime, uid: None, gid: None, xattrs: None, acls: None }
    }

    #[test]
    fn every_kind_against_every_other() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        symlink("x", at("link")).unwrap();
        let stat = |name: &str| rustix::fs::lstat(at(name)).unwrap();
        let file = |size, hash| What::File { size, hash, linked: false };
        let judge = |what: What, there: Option<&str>| {
            let mut stat = there.map(stat);
            if let Some(stat) = &mut stat {
                (stat.st_mtime, stat.st_mtime_nsec) = (1_000_000, 7);
            }
            verdict(&what, &attributes(), stat.as_ref())
        };
        let link = || What::Link { target: b"x".to_vec() };
        for what in [file(4, None), file(4, Some([0; 32])), What::Directory, link()] {
            assert_eq!(judge(what, None), Verdict::Make);
        }
        assert_eq!(judge(file(4, None), Some("file")), Verdict::Same);
        assert_eq!(judge(file(5, None), Some("file")), Verdict::Replace);
        assert_eq!(judge(file(4, Some([0; 32])), Some("file")), Verdict::Hash);
        assert_eq!(judge(file(5, Some([0; 32])), Some("file")), Verdict::Replace);
        assert_eq!(judge(file(4, None), Some("directory")), Verdict::Directory);
        assert_eq!(judge(file(1, None), Some("link")), Verdict::Replace);
        assert_eq!(judge(What::Directory, Some("directory")), Verdict::Same);
        assert_eq!(judge(What::Directory, Some("file")), Verdict::Clear);
        assert_eq!(judge(What::Directory, Some("link")), Verdict::Clear);
        assert_eq!(judge(link(), Some("link")), Verdict::Same);
        assert_eq!(judge(link(), Some("file")), Verdict::Replace);
        assert_eq!(judge(link(), Some("directory")), Verdict::Directory);
    }

    #[test]
    fn another_time_is_another_file_unless_its_hash_tells() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "text").unwrap();
        let stat = rustix::fs::lstat(directory.path().join("file")).unwrap();
        let judge = |hash| {
            let what = What::File { size: 4, hash, linked: false };
            verdict(&what, &attributes(), Some(&stat))
        };
        assert_eq!(judge(None), Verdict::Replace);
        assert_eq!(judge(Some([0; 32])), Verdict::Hash);
    }
}
