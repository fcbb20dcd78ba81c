//! The file that is about to be replaced: its attributes may be inherited, and its content may be equal.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use crate::confined::Dir;
use crate::page_buffer::PageBuffer;

/// How many bytes are compared at once.
const STEP: usize = 256 * 1024;

/// A regular file under the destination's name.
pub(crate) struct Replaced {
    /// Open for reading, if that is permitted.
    pub(crate) file: Option<File>,
    pub(crate) stat: Stat,
}

impl Replaced {
    /// Finds the regular file of this name. Nothing else is opened, because opening a device can have effects.
    pub(crate) fn find(directory: &Dir, name: &[u8]) -> Option<Self> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() || directory.shuns(&stat) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) else {
            return Some(Self { file: None, stat });
        };
        // The name may have been replaced meanwhile.
        let stat = rustix::fs::fstat(&file).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
        (is_file && !directory.shuns(&stat)).then_some(Self { file: Some(file.into()), stat })
    }

    fn is_as_long(&self, size: u64) -> bool {
        u64::try_from(self.stat.st_size) == Ok(size)
    }

    /// Whether it has exactly this content.
    pub(crate) fn has(&self, content: &[u8]) -> bool {
        if !self.is_as_long(content.len() as u64) {
            return false;
        }
        let mut there = vec![0; content.len()];
        let read = self.file.as_ref().map(|file| file.read_exact_at(&mut there, 0));
        read.is_some_and(|read| read.is_ok()) && there == content
    }

    /// Whether it has the same content as a file of `size` bytes. The comparison begins at `first`, and ends at
    /// the first difference.
    pub(crate) fn is_like(&self, other: &File, size: u64, first: u64) -> bool {
        let first = first.min(size);
        let equal = |file: &File| {
            let equal = |range| equal(file, other, range).unwrap_or(false);
            equal(first..size) && equal(0..first)
        };
        self.is_as_long(size) && self.file.as_ref().is_some_and(equal)
    }
}

fn equal(one: &File, other: &File, range: Range<u64>) -> io::Result<bool> {
    let (mut a, mut b) = (PageBuffer::new(STEP), PageBuffer::new(STEP));
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).map_or(STEP, |left| left.min(STEP));
        one.read_exact_at(&mut a[..len], at)?;
        other.read_exact_at(&mut b[..len], at)?;
        if a[..len] != b[..len] {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_regular_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        symlink("file", at("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let open = Dir::open(directory.path()).unwrap();
        let found = |name: &str| Replaced::find(&open, name.as_bytes()).is_some();
        assert!(found("file"));
        for name in ["directory", "link", "fifo", "nothing"] {
            assert!(!found(name), "{name}");
        }
    }

    #[test]
    fn comparison_covers_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        let size = STEP + 7;
        let mut content = vec![7; size];
        std::fs::write(directory.path().join("a"), &content).unwrap();
        let open = Dir::open(directory.path()).unwrap();
        let old = Replaced::find(&open, b"a").unwrap();
        let like = |content: &[u8], size: usize| {
            std::fs::write(directory.path().join("b"), content).unwrap();
            let other = File::open(directory.path().join("b")).unwrap();
            let from = |first| old.is_like(&other, size as u64, first);
            assert_eq!(from(0), from(100));
            from(u64::MAX)
        };
        assert!(old.has(&content) && like(&content, size));
        assert!(!old.has(&content[1..]) && !like(&content[1..], size - 1));
        assert!(!like(&content[1..], size), "shorter than the given size");
        *content.last_mut().unwrap() = 8;
        assert!(!old.has(&content) && !like(&content, size));
    }
}
