//! What becomes of an entry, seen what is there under its name. No I/O.

use rustix::fs::{FileType, Stat};

use crate::attributes::{self, Attributes};
use lariat_wire::protocol::tree::{ChangeKind, What};

/// What a name needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it should be, but perhaps for its attributes.
    Same,
    /// It is as long as it should be; whether it has the same bytes, its hash tells.
    Hash,
    /// Nothing is there.
    Make,
    /// What is there goes when the new one comes.
    Replace,
    /// A directory is there, where something else should be.
    Directory,
    /// What is there is not a directory, and must go before there can be one.
    Clear,
}

/// Compares an entry that is a file, a directory or a link with what is there. Links are not compared
/// further than that both are.
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
    /// What a dry run tells of a name that is not as it should be.
    pub(super) fn change(self) -> ChangeKind {
        match self {
            Self::Same => ChangeKind::Touch,
            Self::Make => ChangeKind::Make,
            _ => ChangeKind::Change,
        }
    }
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
