//! Snapshots of trees: every name, with everything that a copy must preserve.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use lariat_base::escape::escape;

/// Longer than any round takes; generated times are far from now.
const RECENT: Duration = Duration::from_secs(3600);

/// A tree at one moment.
pub(super) struct Snapshot(BTreeMap<OsString, Item>);

#[derive(Debug, PartialEq)]
struct Item {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The first of the names that are hard links to the same file.
    first: Option<OsString>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Directory,
    File { size: u64, sum: String },
    Link(OsString),
    Other,
}

impl Snapshot {
    /// Reads a tree; `links` says whether hard links matter.
    pub(super) fn take(root: &Path, links: bool) -> Self {
        let mut all = BTreeMap::new();
        let mut first = BTreeMap::new();
        take(root, OsStr::new("."), links, &mut first, &mut all);
        Self(all)
    }

    /// Reports the first few differences.
    pub(super) fn compare(&self, wanted: &Self) -> Result<(), String> {
        let mut told = Vec::new();
        for (name, item) in &self.0 {
            match wanted.0.get(name) {
                Some(wanted) if wanted == item => {}
                Some(wanted) => {
                    told.push(format!("{} is {item:?}\n  rsync: {wanted:?}", shown(name)));
                }
                None => told.push(format!("{} is left: {item:?}", shown(name))),
            }
        }
        let missing = wanted.0.iter().filter(|(name, _)| !self.0.contains_key(*name));
        told.extend(missing.map(|(name, item)| format!("{} is missing: {item:?}", shown(name))));
        if told.is_empty() {
            return Ok(());
        }
        let count = told.len();
        told.truncate(5);
        Err(format!("{count} differences\n{}", told.join("\n")))
    }
}

/// A name without anything that a terminal would act on.
fn shown(name: &OsStr) -> impl Display {
    escape(name.as_bytes())
}

fn take(
    path: &Path,
    name: &OsStr,
    links: bool,
    first: &mut BTreeMap<(u64, u64), OsString>,
    all: &mut BTreeMap<OsString, Item>,
) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let directory = metadata.is_dir();
    let one_of_many = links && !directory && metadata.nlink() > 1;
    let kind = kind(path, &metadata);
    let time = (metadata.mtime(), metadata.mtime_nsec());
    // A file that is not copied but was touched during the round has a recent time, with either tool: FIFOs,
    // and directories that only contain excluded names.
    let recent = metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|ago| ago < RECENT));
    let copied = kind != Kind::Other && !recent;
    let item = Item {
        kind,
        mode: if metadata.is_symlink() { 0 } else { metadata.mode() & 0o7777 },
        owner: (metadata.uid(), metadata.gid()),
        mtime: if copied { time } else { (0, 0) },
        xattrs: xattrs(path),
        first: one_of_many.then(|| {
            let id = (metadata.dev(), metadata.ino());
            first.entry(id).or_insert_with(|| name.to_owned()).clone()
        }),
    };
    all.insert(name.to_owned(), item);
    if !directory {
        return;
    }
    let mut names: Vec<_> = fs::read_dir(path)
        .expect("root may")
        .map(|entry| entry.expect("it reads").file_name())
        .collect();
    names.sort();
    for inner in names {
        take(&path.join(&inner), Path::new(name).join(&inner).as_os_str(), links, first, all);
    }
}

fn kind(path: &Path, metadata: &Metadata) -> Kind {
    let of = metadata.file_type();
    if of.is_dir() {
        Kind::Directory
    } else if of.is_symlink() {
        Kind::Link(fs::read_link(path).expect("it is a link").into_os_string())
    } else if of.is_fifo() || of.is_socket() || of.is_char_device() || of.is_block_device() {
        Kind::Other
    } else {
        let sum = blake3::hash(&fs::read(path).expect("root may")).to_hex().to_string();
        Kind::File { size: metadata.len(), sum }
    }
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 64 * 1024];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names) else { return BTreeMap::new() };
    let mut value = vec![0; 64 * 1024];
    names[..len]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = OsStr::from_bytes(name);
            let len = rustix::fs::lgetxattr(path, name, &mut value).expect("it has been listed");
            (name.to_owned(), value[..len].to_vec())
        })
        .collect()
}
