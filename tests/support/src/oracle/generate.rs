//! Random trees: odd names, all kinds of files, sizes around every limit, and destinations that are nearly,
//! or not at all, like the source.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};

use super::copy;
use super::options::Options;
use crate::rng::Rng;

/// Sizes around which the behaviour changes: packs, chunks, lengths of an insertion.
const SIZES: [u64; 12] =
    [0, 1, 100, 4095, 4096, 65_536, 131_071, 131_072, 131_073, 300_000, 524_288, 1_300_000];

/// Beginnings of names; each gets a number, so that names differ.
const NAMES: [&[u8]; 14] = [
    b"file",
    b"a b",
    b"-n",
    b"*",
    b"new\nline",
    b"back\\slash",
    b"keep",
    b"\xff\xfe",
    b".hidden",
    "\u{fc}\u{df}".as_bytes(),
    b"tilde~",
    b"q\"uote",
    b"top",
    b"down",
];

/// Most levels of directories.
const DEEPEST: u32 = 4;

struct Generator<'a> {
    rng: &'a mut Rng,
    options: &'a Options,
    /// Files that a hard link can be made to.
    files: Vec<PathBuf>,
    left: u64,
}

/// Creates a source.
pub(super) fn source(rng: &mut Rng, options: &Options, root: &Path) {
    let left = 1 + rng.below(60);
    let mut generator = Generator { rng, options, files: Vec::new(), left };
    generator.directory(root, 0);
}

/// Creates what is in the destination before the round. Returns whether there is anything.
pub(super) fn destination(
    rng: &mut Rng,
    options: &Options,
    source_root: &Path,
    root: &Path,
) -> bool {
    match rng.below(4) {
        0 => return false,
        // Without --delete neither tool replaces a directory by something else.
        1 if options.delete => source(rng, options, root),
        _ => {
            copy(source_root, root);
            let mut generator = Generator { rng, options, files: Vec::new(), left: 30 };
            generator.change(root, 0);
        }
    }
    true
}

impl Generator<'_> {
    fn directory(&mut self, path: &Path, depth: u32) {
        fs::create_dir(path).expect("its parent is there");
        while self.left > 0 && !(depth > 0 && self.rng.one_in(6)) {
            self.left -= 1;
            let inner = path.join(self.name());
            self.entry(&inner, depth);
        }
        self.dress(path, true);
    }

    fn name(&mut self) -> OsString {
        let mut name = NAMES[self.pick(NAMES.len())].to_vec();
        if !self.rng.one_in(3) {
            name.extend(format!("{}", self.left).bytes());
        }
        match self.rng.below(20) {
            0 => name.extend(b".o"),
            1 => name.resize(250, b'x'),
            _ => {}
        }
        OsString::from_vec(name)
    }

    fn entry(&mut self, path: &Path, depth: u32) {
        if fs::symlink_metadata(path).is_ok() {
            return;
        }
        match self.rng.below(12) {
            0..=1 if depth < DEEPEST => return self.directory(path, depth + 1),
            2 => return self.link(path),
            3 => {
                rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
                    .expect("a fifo can be made");
                return;
            }
            4 if self.options.links && !self.files.is_empty() => {
                let other = self.pick(self.files.len());
                let other = self.files[other].clone();
                // A later change may have removed the other name.
                let _ = fs::hard_link(other, path);
                return;
            }
            _ => self.file(path),
        }
        self.dress(path, false);
        self.files.push(path.to_owned());
    }

    fn file(&mut self, path: &Path) {
        let size = SIZES[self.pick(SIZES.len())] + self.rng.below(3);
        let mut file = File::create(path).expect("its parent is there");
        let mut block = Vec::with_capacity(65_536);
        let (compressible, mut left) = (self.rng.one_in(3), size);
        if self.rng.one_in(8) {
            // A hole.
            file.set_len(size).expect("a file can grow");
            return;
        }
        while left > 0 {
            block.clear();
            while block.len() < 65_536 {
                let word = self.rng.below(u64::MAX);
                let word = if compressible { word % 3 } else { word };
                block.extend_from_slice(&word.to_le_bytes());
            }
            let len = left.min(block.len() as u64);
            file.write_all(&block[..usize::try_from(len).expect("it is small")]).expect("room");
            left -= len;
        }
    }

    fn link(&mut self, path: &Path) {
        let targets: [&[u8]; 5] = [b"file", b"nowhere", b"../..", b"/etc/passwd", b"\xff"];
        let target = targets[self.pick(targets.len())];
        symlink(OsString::from_vec(target.to_vec()), path).expect("a link can be made");
        self.times(path);
    }

    /// Sets mode, owner, attributes and times, as far as the options copy them.
    fn dress(&mut self, path: &Path, directory: bool) {
        if self.options.owner && self.rng.one_in(3) {
            let id = u32::try_from(1 + self.rng.below(3)).expect("it is small");
            std::os::unix::fs::chown(path, Some(id), Some(id + 1)).expect("root may");
        }
        let plain = [0o644, 0o600, 0o755, 0o444, 0o000, 0o777, 0o640][self.pick(7)];
        let special = if self.options.special && self.rng.one_in(4) {
            [0o4000, 0o2000, 0o1000, 0o6000][self.pick(4)]
        } else {
            0
        };
        let mode = if directory { plain | 0o700 } else { plain };
        fs::set_permissions(path, Permissions::from_mode(mode | special)).expect("root may");
        if self.options.xattrs && self.rng.one_in(3) {
            let value = vec![b'v'; 1 + self.pick(200)];
            let name = ["user.a", "user.b", "user.\u{fc}"][self.pick(3)];
            rustix::fs::setxattr(path, name, &value, XattrFlags::empty()).expect("it has xattrs");
        }
        self.times(path);
    }

    fn times(&mut self, path: &Path) {
        let secs = match self.rng.below(5) {
            0 => 0,
            1 => -86_400,
            2 => 4_000_000_000,
            _ => 1_700_000_000 + i64::try_from(self.rng.below(1000)).expect("it is small"),
        };
        let nanos = if self.rng.one_in(2) { 0 } else { self.rng.below(1_000_000_000) };
        let time = Timespec { tv_sec: secs, tv_nsec: i64::try_from(nanos).expect("below 10^9") };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("root may");
    }

    /// Changes a copy at random, directory by directory, and sets the times of directories last.
    fn change(&mut self, directory: &Path, depth: u32) {
        let mut names: Vec<_> = fs::read_dir(directory)
            .expect("root may")
            .map(|entry| entry.expect("it reads").path())
            .collect();
        names.sort();
        for path in names {
            let of = fs::symlink_metadata(&path).expect("it is listed").file_type();
            if of.is_dir() {
                self.change(&path, depth + 1);
            }
            if self.rng.one_in(4) {
                self.change_one(&path, of, depth);
            }
        }
        if self.rng.one_in(2) {
            let extra =
                directory.join(OsString::from_vec([b"extra", self.name().as_bytes()].concat()));
            self.entry(&extra, depth);
        }
        if self.rng.one_in(3) {
            self.dress(directory, true);
        }
    }

    fn change_one(&mut self, path: &Path, of: fs::FileType, depth: u32) {
        // Without --delete neither tool replaces a directory by something else.
        if of.is_dir() && !self.options.delete {
            return;
        }
        match self.rng.below(6) {
            0 => remove(path),
            1 => {
                remove(path);
                // For the same reason no file is put in a directory's place.
                self.entry(path, if self.options.delete { depth } else { DEEPEST });
            }
            2 if of.is_file() => self.edit(path),
            3 if of.is_file() => self.file(path),
            _ if of.is_file() || of.is_dir() => self.dress(path, of.is_dir()),
            _ => {}
        }
    }

    /// Inserts something at the front or in the middle.
    fn edit(&mut self, path: &Path) {
        let mut content = fs::read(path).expect("root may");
        let at = if self.rng.one_in(2) { 0 } else { content.len() / 2 };
        content.splice(at..at, b"inserted".iter().copied());
        fs::write(path, content).expect("there is room");
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).expect("below a usize")
    }
}

fn remove(path: &Path) {
    let status = Command::new("rm").arg("-rf").arg("--").arg(path).status();
    assert!(status.expect("rm can be run").success());
}
