//! Runs both ends of a tree over a small buffer: honest, interrupted and hostile.

mod backup;
mod changes;
mod hostile;
mod lanes;
mod odd;
mod staged;
mod swap;

use std::cell::RefCell;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tokio::io::duplex;

use super::*;
use crate::cancel::Cancel;
use crate::confined::Base;
use crate::error::TransferError;
use crate::file::Owner;
use crate::metadata::ResolvedOverrides;
use crate::metadata::attributes;
use crate::tests::block_on;
use lariat_base::name::KeyId;
use lariat_wire::link::Link;
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::transfer::{Destination, Sending};
use lariat_wire::protocol::tree::{Change, ChangeKind, Entry, Settled, TreeOptions};

/// The events of a transfer.
#[derive(Default)]
struct Notes {
    missed: RefCell<Vec<(String, Side)>>,
    changed: RefCell<Vec<(ChangeKind, String)>>,
    skipped: RefCell<Vec<String>>,
}

impl Watch for Notes {
    fn listed(&self, _bytes: u64) {}

    fn had(&self, _bytes: u64) {}

    fn moved(&self, _bytes: u64) {}

    fn missed(&self, failure: &Failure, side: Side) {
        self.missed.borrow_mut().push((failure.to_string(), side));
    }

    fn skipped(&self, path: &[u8], _kind: FileKind) {
        self.skipped.borrow_mut().push(String::from_utf8_lossy(path).into_owned());
    }

    fn acl_dropped(&self, path: &[u8]) {
        self.skipped.borrow_mut().push(format!("ACL of {}", String::from_utf8_lossy(path)));
    }

    fn changed(&self, change: &Change) {
        let path = String::from_utf8_lossy(&change.path).into_owned();
        self.changed.borrow_mut().push((change.kind, path));
    }
}

/// A source, a destination, and a canary beside both.
struct World {
    directory: tempfile::TempDir,
    options: TreeOptions,
    overrides: ResolvedOverrides,
    cut: Option<u64>,
    compress: bool,
    /// Bytes per second, if they are limited.
    rate: Option<u64>,
}

/// The result of a transfer.
struct Outcome {
    sent: Result<Settled, TransferError>,
    received: Result<Settled, TransferError>,
    counts: Counts,
    sender: Notes,
    receiver: Notes,
}

impl Outcome {
    /// The changes that a dry run reported to the sender, by path.
    fn told(&self) -> Vec<(ChangeKind, String)> {
        let mut told = self.sender.changed.borrow().clone();
        told.sort_by(|a, b| a.1.cmp(&b.1));
        told
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("source")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/canary"), "canary").unwrap();
        let (options, overrides) = (TreeOptions::default(), ResolvedOverrides::default());
        Self { directory, options, overrides, cut: None, compress: false, rate: None }
    }

    fn with(options: TreeOptions) -> Self {
        Self { options, ..Self::new() }
    }

    fn source(&self, name: &str) -> PathBuf {
        self.directory.path().join("source").join(name)
    }

    fn dest(&self, name: &str) -> PathBuf {
        self.directory.path().join("dest").join(name)
    }

    /// Creates a file of the source, and missing directories.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.source(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn filter(&self) -> Filter {
        Filter::new(&self.options.rules, &self.options.only).unwrap()
    }

    fn owner() -> Owner {
        Owner { key: KeyId([7; 16]), user: rustix::process::geteuid().as_raw() }
    }

    fn arrival(&self, root: Entry) -> TreeArrival {
        let dest = Destination { path: b"dest".to_vec(), name: Vec::new() };
        let open = if self.options.dry_run { TreeTarget::open_dry_run } else { TreeTarget::open };
        let target = open(&Base::at(self.directory.path()), &dest, Self::owner()).unwrap();
        let (options, overrides) = (self.options.clone(), self.overrides.clone());
        TreeArrival::new(target, root, options, self.filter(), overrides, Avoid::new())
    }

    fn open(&self) -> TreeSource {
        let source = self.directory.path().join("source");
        TreeSource::open(&source, self.options.clone(), self.filter()).unwrap()
    }

    fn copy(&self) -> Outcome {
        self.copy_into(self.arrival(self.open().root().clone()))
    }

    fn copy_into(&self, arrival: TreeArrival) -> Outcome {
        self.copy_from(self.open(), arrival)
    }

    fn copy_from(&self, source: TreeSource, arrival: TreeArrival) -> Outcome {
        let notes = (Notes::default(), Notes::default());
        let (a, b) = duplex(1 << 16);
        let cut = crate::tests::Cut { stream: b, left: self.cut };
        let (mut from, mut to) = (Link::new(a), Link::new(cut));
        let never = Cancel::default();
        let mut counts = Counts::default();
        let (sent, received) = block_on(async {
            let sending = async {
                let hash = self.overrides.verify;
                let (avoid, how) =
                    (Avoid::new(), Sending { compress: self.compress, rate: self.rate, hash });
                let done =
                    send_tree(&mut from, source, avoid, how, &notes.0, &never, &mut counts).await;
                drop(from);
                done
            };
            let receiving = async {
                let (never, mut counts) = (Cancel::default(), Counts::default());
                let done = receive_tree(&mut to, arrival, &notes.1, &never, &mut counts).await;
                drop(to);
                done
            };
            tokio::join!(sending, receiving)
        });
        Outcome { sent, received, counts, sender: notes.0, receiver: notes.1 }
    }

    /// Copies, which must succeed without any failure.
    fn copied(&self) -> Outcome {
        let outcome = self.copy();
        let missed = outcome.sender.missed.borrow().clone();
        assert!(
            outcome.sent.is_ok() && outcome.received.is_ok() && missed.is_empty(),
            "{missed:?}"
        );
        self.assert_canary();
        outcome
    }

    fn assert_canary(&self) {
        let outside = self.directory.path().join("outside");
        let names: Vec<_> = std::fs::read_dir(&outside).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(std::fs::read(outside.join("canary")).unwrap(), b"canary");
    }

    /// Checks that the copy equals the source.
    fn assert_same(&self) {
        let (source, dest) = (self.source(""), self.dest(""));
        assert_eq!(described(&source), described(&dest));
    }
}

/// Everything below a directory, including itself: name, kind, mode, time, target, content's hash.
fn described(root: &Path) -> Vec<String> {
    fn down(path: &Path, name: &str, all: &mut Vec<String>) {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string()
        } else if metadata.is_symlink() {
            path.read_link().unwrap().display().to_string()
        } else {
            String::new()
        };
        let mode = if metadata.is_symlink() { 0 } else { metadata.mode() };
        let (secs, nanos) = (metadata.mtime(), metadata.mtime_nsec());
        all.push(format!("{name} {mode:o} {secs}.{nanos:09} {content}"));
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let inner = entry.file_name().as_encoded_bytes().escape_ascii().to_string();
                down(&entry.path(), &format!("{name}/{inner}"), all);
            }
        }
    }
    let mut all = Vec::new();
    down(root, "", &mut all);
    all.sort();
    all
}

fn set_mtime(path: &Path, secs: i64, nanos: u32) {
    use rustix::fs::{AtFlags, CWD, utimensat};
    let mtime = lariat_wire::protocol::metadata::Time { secs, nanos };
    let times = attributes::timestamps(mtime);
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
