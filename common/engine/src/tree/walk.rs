//! The sender's manifest: a directory is listed, sorted, filtered and described, directory by directory, on a
//! thread of its own that is a few messages ahead and no more.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use tokio::sync::mpsc;

use super::filter::Filter;
use super::order::{DirectoryPath, Order, fits};
use super::working_directory::WorkingDirectory;
use crate::attributes::{self, Owners};
use crate::confined::{Dir, Names, join};
use crate::error::{failed, sys_failed};
use crate::{acl, generated, temporary};
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::tree::{Entries, Entry, MAX_ENTRIES, TreeOptions, What};

/// Messages that are made ahead of the network.
const AHEAD: usize = 4;

/// Bytes of one message, about; its limit is far above.
const MESSAGE: usize = 256 * 1024;

/// A directory that is about to be sent.
pub struct TreeSource {
    pub(super) directory: Arc<Dir>,
    /// As the operator named it, for messages.
    pub(super) path: Arc<[u8]>,
    entry: Entry,
    options: TreeOptions,
    filter: Filter,
}

/// What a walk finds, in the manifest's order.
pub(super) enum Walked {
    /// Entries of this directory.
    Entries(DirectoryPath, Entries),
    /// Something could not be read.
    Missed(Failure),
}

impl TreeSource {
    /// Opens a directory; a link is followed, for the operator named it.
    pub fn open(path: &Path, options: TreeOptions, filter: Filter) -> Result<Self, Failure> {
        use std::os::unix::ffi::OsStrExt;
        let name = path.as_os_str().as_bytes();
        let directory = Dir::open(path).map_err(failed(Action::Open, name))?;
        let stat = directory.stat_self().map_err(failed(Action::Read, name))?;
        let mut owners = Owners::default();
        let mut metadata = attributes::describe(&stat, options.preserve, &mut owners);
        let described = acl::describe(&directory, &stat, options.preserve.acls);
        let described = described.map_err(sys_failed(Action::Read, name))?;
        owners.tell_acls(described, &mut metadata);
        let mut entry = Entry { name: Vec::new(), metadata, what: What::Directory };
        if options.preserve.xattrs {
            entry.metadata.xattrs = attributes::read_xattrs(&directory)
                .map_err(|errno| failed(Action::Read, name)(errno.into()))?;
        }
        Ok(Self { directory: Arc::new(directory), path: name.into(), entry, options, filter })
    }

    /// The directory itself.
    pub fn root(&self) -> &Entry {
        &self.entry
    }

    /// What is sent of it.
    pub fn options(&self) -> &TreeOptions {
        &self.options
    }

    /// Starts to walk. It ends early when the receiver is dropped.
    pub(super) fn walk(self, memory: &Memory) -> io::Result<mpsc::Receiver<Walked>> {
        let (tell, told) = mpsc::channel(AHEAD);
        let charge = memory.charge();
        let walk = move || {
            let walk = Walk {
                left: self.filter.only().clone(),
                source: self,
                owners: Owners::default(),
                linked: HashMap::new(),
                directory: WorkingDirectory::of_this_thread(),
                entered: false,
                charge,
                tell,
            };
            // It fails only when nobody wants to know any more.
            let _ = walk.run();
        };
        std::thread::Builder::new().name("walk".to_owned()).spawn(walk)?;
        Ok(told)
    }
}

/// Bytes that one of the files with several names takes.
const LINKED: usize = 48;

struct Walk {
    source: TreeSource,
    owners: Owners,
    /// The entry that each file with several names came as first, by device and inode.
    linked: HashMap<(u64, u64), u64>,
    directory: WorkingDirectory,
    /// The directory whose entries are described is this thread's working directory.
    entered: bool,
    /// Paths that were asked for and have not been seen.
    left: BTreeSet<Vec<u8>>,
    /// For the names and directories that are kept.
    charge: Charge,
    tell: mpsc::Sender<Walked>,
}

/// Nobody listens any more.
struct Unheard;

impl Walk {
    fn run(mut self) -> Result<(), Unheard> {
        let mut order = Order::new(());
        while let Some((path, ())) = order.directory() {
            let path = Arc::clone(path);
            let listed = self.list(&path).and_then(|(directory, names)| {
                let kept = names.bytes() + order.kept() + self.linked.len() * LINKED;
                self.charge.at_least(kept)?;
                Ok((directory, names))
            });
            match listed {
                Ok((directory, names)) => self.directory(&path, &directory, &names, &mut order)?,
                Err(failure) => {
                    self.tell(Walked::Missed(failure))?;
                    self.entries(&path, Vec::new(), true)?;
                }
            }
            let _ = order.last();
        }
        for path in std::mem::take(&mut self.left) {
            let missing = rustix::io::Errno::NOENT.into();
            self.tell(Walked::Missed(failed(Action::Open, &self.shown(&path))(missing)))?;
        }
        Ok(())
    }

    fn list(&self, path: &[u8]) -> Result<(Dir, Names), Failure> {
        let failed = failed(Action::Read, &self.shown(path));
        let directory = self.source.directory.enter(path).map_err(&failed)?;
        let mut names = directory.names().map_err(&failed)?;
        names.sort();
        Ok((directory, names))
    }

    fn directory(
        &mut self,
        path: &DirectoryPath,
        directory: &Dir,
        names: &Names,
        order: &mut Order<()>,
    ) -> Result<(), Unheard> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let kernels = generated::is_on_kernels(directory);
        self.entered = self.directory.enter(directory);
        for name in names.iter() {
            let entry = match self.entry(path, directory, kernels, name) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(failure) => {
                    self.tell(Walked::Missed(failure))?;
                    continue;
                }
            };
            let Ok(number) = order.entry(name) else { continue };
            let entry = self.numbered(entry, number);
            if entry.1.what == What::Directory {
                order.descend(());
            }
            bytes += weigh(&entry.1);
            entries.push(entry.1);
            if entries.len() == MAX_ENTRIES || bytes >= MESSAGE {
                self.entries(path, std::mem::take(&mut entries), false)?;
                bytes = 0;
            }
        }
        self.entries(path, entries, true)
    }

    /// Describes one name. One that is left out, or has gone since, is none. Of the kernel's own files nobody
    /// knows whether they have changed.
    fn entry(
        &mut self,
        path: &[u8],
        directory: &Dir,
        kernels: bool,
        name: &[u8],
    ) -> Result<Option<(Stat, Entry)>, Failure> {
        let whole = join(path, name);
        let shown = self.shown(&whole);
        let failed = |action| failed(action, &shown);
        let stat = directory.stat(name).map_err(failed(Action::Read))?;
        let Some(stat) = stat else { return Ok(None) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        if temporary::is_temporary(name, is_directory) {
            return Ok(None);
        }
        if self.source.filter.excludes(&whole, is_directory) {
            if self.source.filter.rules_out(&whole, is_directory) {
                self.pass_over(&whole);
            }
            return Ok(None);
        }
        self.left.remove(&whole);
        if !fits(path, name) {
            let long = rustix::io::Errno::NAMETOOLONG;
            return Err(failed(Action::Open)(long.into()));
        }
        let options = &self.source.options;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let (mut xattrs, mut hash) = (Vec::new(), None);
        if kind == FileType::RegularFile
            && (options.checksum && !kernels || options.preserve.xattrs)
        {
            let file = directory.open_file(name).map_err(failed(Action::Open))?;
            if options.preserve.xattrs {
                xattrs = attributes::read_xattrs(&file)
                    .map_err(|errno| failed(Action::Read)(errno.into()))?;
            }
            if options.checksum && !kernels {
                hash = Some(hash_of(&file, size).map_err(failed(Action::Read))?);
            }
        } else if kind == FileType::Directory && options.preserve.xattrs {
            let inner = directory.enter(name).map_err(failed(Action::Open))?;
            xattrs = attributes::read_xattrs(&inner)
                .map_err(|errno| failed(Action::Read)(errno.into()))?;
        }
        let what = match kind {
            FileType::RegularFile => What::File {
                size,
                hash: if kernels { Some(UNLIKE_ANY) } else { hash },
                linked: options.hard_links && stat.st_nlink > 1,
            },
            FileType::Directory => What::Directory,
            FileType::Symlink => {
                What::Link { target: directory.read_link(name).map_err(failed(Action::Read))? }
            }
            FileType::Fifo => What::Other(FileKind::Fifo),
            FileType::Socket => What::Other(FileKind::Socket),
            _ => What::Other(FileKind::Device),
        };
        let mut metadata = attributes::describe(&stat, options.preserve, &mut self.owners);
        metadata.xattrs = xattrs;
        let described =
            acl::describe_name(directory, self.entered, name, &stat, options.preserve.acls);
        let described = described.map_err(sys_failed(Action::Read, &shown))?;
        self.owners.tell_acls(described, &mut metadata);
        Ok(Some((stat, Entry { name: name.to_vec(), metadata, what })))
    }

    /// What was asked for and is left out, by itself or with its directory, is not missing.
    fn pass_over(&mut self, path: &[u8]) {
        self.left.remove(path);
        let inside = join(path, b"");
        let behind = self.left.range(inside.clone()..).take_while(|path| path.starts_with(&inside));
        for path in behind.cloned().collect::<Vec<_>>() {
            self.left.remove(&path);
        }
    }

    /// The entry under its number: a file that came before under another name is the same.
    fn numbered(&mut self, (stat, mut entry): (Stat, Entry), number: u64) -> (Stat, Entry) {
        if let What::File { linked: true, .. } = entry.what {
            let first = *self.linked.entry((stat.st_dev, stat.st_ino)).or_insert(number);
            if first != number {
                entry.what = What::Same { entry: first };
                (entry.metadata.xattrs, entry.metadata.acls) = (Vec::new(), Acls::None);
            }
        }
        (stat, entry)
    }

    fn entries(
        &self,
        path: &DirectoryPath,
        entries: Vec<Entry>,
        last: bool,
    ) -> Result<(), Unheard> {
        self.tell(Walked::Entries(Arc::clone(path), Entries { entries, last }))
    }

    fn tell(&self, walked: Walked) -> Result<(), Unheard> {
        self.tell.blocking_send(walked).map_err(|_| Unheard)
    }

    fn shown(&self, path: &[u8]) -> Vec<u8> {
        shown(&self.source.path, path)
    }
}

/// A path as messages have it: the root as the operator named it, and the way from there.
pub(crate) fn shown(root: &[u8], path: &[u8]) -> Vec<u8> {
    match (root, path) {
        (root, b"") => root.to_vec(),
        (b"", path) => path.to_vec(),
        (root, path) if root.ends_with(b"/") => [root, path].concat(),
        (root, path) => [root, b"/", path].concat(),
    }
}

/// Bytes of an entry on the wire, about.
fn weigh(entry: &Entry) -> usize {
    let xattrs = entry.metadata.xattrs_len();
    let target = if let What::Link { target } = &entry.what { target.len() } else { 0 };
    64 + entry.name.len() + target + xattrs
}

/// What no content hashes to: such a file differs from whatever is there.
const UNLIKE_ANY: [u8; 32] = [0; 32];

/// The plain BLAKE3 of a file's first `len` bytes.
pub(crate) fn hash_of(file: &File, len: u64) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(len))?;
    Ok(hasher.finalize().into())
}

/// Says that a path is no regular file any more.
pub(super) fn not_regular(path: Vec<u8>) -> Failure {
    Failure { action: Action::Open, path: Some(path), cause: Cause::SourceChanged }
}
