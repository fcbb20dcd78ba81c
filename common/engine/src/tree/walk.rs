//! Makes the sender's manifest: each directory is listed, sorted, filtered and described, on a separate thread
//! that is a few messages ahead.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::filter::Filter;
use super::order::{DirectoryPath, Order, fits};
use super::send_lanes::SendTree;
use super::working_directory::WorkingDirectory;
use crate::chunk::whole::{self, UNLIKE_ANY};
use crate::confined::{Base, Dir, Names, join, shown};
use crate::error::{failed, sys_failed};
use crate::file::temporary;
use crate::lanes::Lanes;
use crate::metadata::acl;
use crate::metadata::owners::{self, OwnerNames};
use crate::metadata::{Namespaces, xattrs};
use crate::send::SendFile;
use crate::source::generated;
use lariat_wire::memory::{Charge, Memory};
use lariat_wire::protocol::failure::{Action, Failure, FileKind};
use lariat_wire::protocol::metadata::{Acls, Xattr};
use lariat_wire::protocol::tree::{Entries, Entry, MAX_ENTRIES, TreeOptions, What};

/// Messages that are made ahead of the network.
const AHEAD: usize = 4;

/// About how many bytes a message has. The limit is far above.
const MESSAGE: usize = 256 * 1024;

/// A tree that is about to be sent.
pub struct TreeSource {
    pub(super) directory: Arc<Dir>,
    /// As the operator named it, for failures.
    pub(super) path: Arc<[u8]>,
    entry: Entry,
    options: TreeOptions,
    filter: Filter,
    /// Further connections that carry a part of it.
    pub(super) lanes: Option<Lanes<SendTree>>,
    /// Lanes on the further connections, which carry chunks of one of the tree's large files.
    pub(super) file_lanes: Lanes<SendFile>,
}

/// A part of the manifest, in its order.
pub(super) enum Walked {
    /// Entries of a directory.
    Entries(DirectoryPath, Entries),
    /// Something could not be read.
    Missed(Failure),
}

impl TreeSource {
    /// Opens the root. A link is followed, for the operator named it.
    pub fn open(path: &Path, options: TreeOptions, filter: Filter) -> Result<Self, Failure> {
        Self::open_at(&Base::at(path), b"", options, filter)
    }

    /// Opens the root that a request names.
    pub fn open_at(
        base: &Base,
        path: &[u8],
        options: TreeOptions,
        filter: Filter,
    ) -> Result<Self, Failure> {
        let shown = base.shown(path).into_os_string().into_encoded_bytes();
        let name = shown.as_slice();
        let directory = Dir::open_at(base, path).map_err(failed(Action::Open, name))?;
        let stat = directory.stat_self().map_err(failed(Action::Read, name))?;
        let mut owners = OwnerNames::default();
        let like = filter.attributes_of(b"").unwrap_or(stat);
        let mut metadata = owners::describe(&like, options.preserve, &mut owners);
        let described = acl::describe(&directory, &stat, options.preserve.acls);
        let described = described.map_err(sys_failed(Action::Read, name))?;
        owners.add_acls(described, &mut metadata);
        let mut entry = Entry { name: Vec::new(), metadata, what: What::Directory };
        if options.preserve.xattrs {
            entry.metadata.xattrs = read_xattrs(&directory, &directory)
                .map_err(|errno| failed(Action::Read, name)(errno.into()))?;
        }
        let (directory, path) = (Arc::new(directory), name.into());
        let (lanes, file_lanes) = (None, Lanes::default());
        Ok(Self { directory, path, entry, options, filter, lanes, file_lanes })
    }

    /// Lets these lanes carry a part of it.
    pub(crate) fn on_lanes(self, lanes: Lanes<SendTree>, file_lanes: Lanes<SendFile>) -> Self {
        Self { lanes: Some(lanes), file_lanes, ..self }
    }

    /// The root's description.
    pub fn root(&self) -> &Entry {
        &self.entry
    }

    /// The options of the transfer.
    pub fn options(&self) -> &TreeOptions {
        &self.options
    }

    /// Starts the walk, which ends early if the receiver is dropped.
    pub(super) fn walk(self, memory: &Memory) -> io::Result<mpsc::Receiver<Walked>> {
        let (output, walked) = mpsc::channel(AHEAD);
        let charge = memory.charge();
        let walk = move || {
            let walk = Walk {
                left: self.filter.only().clone(),
                source: self,
                owners: OwnerNames::default(),
                linked: HashMap::new(),
                directory: WorkingDirectory::of_this_thread(),
                entered: false,
                charge,
                output,
            };
            // Fails only when the transfer is over.
            let _ = walk.run();
        };
        std::thread::Builder::new().name("walk".to_owned()).spawn(walk)?;
        Ok(walked)
    }
}

/// Bytes that are kept for each file with several links.
const LINKED_BYTES: usize = 48;

struct Walk {
    source: TreeSource,
    owners: OwnerNames,
    /// The first entry of each file with several links, by device and inode.
    linked: HashMap<(u64, u64), u64>,
    directory: WorkingDirectory,
    /// The current directory is this thread's working directory.
    entered: bool,
    /// Paths of `--files-from` that were not found yet.
    left: BTreeSet<Vec<u8>>,
    /// Charges the names and directories that are kept.
    charge: Charge,
    output: mpsc::Sender<Walked>,
}

/// The transfer is over.
struct Over;

impl Walk {
    fn run(mut self) -> Result<(), Over> {
        let mut order = Order::new(());
        while let Some((path, ())) = order.directory() {
            let path = Arc::clone(path);
            let listed = self.list(&path).and_then(|(directory, names)| {
                let kept = names.bytes() + order.kept() + self.linked.len() * LINKED_BYTES;
                self.charge.at_least(kept)?;
                Ok((directory, names))
            });
            match listed {
                Ok((directory, names)) => self.directory(&path, &directory, &names, &mut order)?,
                Err(failure) => {
                    self.send(Walked::Missed(failure))?;
                    self.entries(&path, Vec::new(), true)?;
                }
            }
            let _ = order.last();
        }
        for path in std::mem::take(&mut self.left) {
            let missing = Errno::NOENT.into();
            self.send(Walked::Missed(failed(Action::Open, &self.shown(&path))(missing)))?;
        }
        Ok(())
    }

    fn list(&self, path: &[u8]) -> Result<(Dir, Names), Failure> {
        let failed = |error| failed(Action::Read, &self.shown(path))(error);
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
    ) -> Result<(), Over> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let kernels = generated::is_on_kernels(directory);
        self.entered = self.directory.enter(directory);
        for name in names.iter() {
            let entry = match self.entry(path, directory, kernels, name) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(failure) => {
                    self.send(Walked::Missed(failure))?;
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

    /// Describes one name. `None` if it is excluded, or was removed meanwhile. Files on the kernel's own file
    /// systems always count as changed.
    fn entry(
        &mut self,
        path: &[u8],
        directory: &Dir,
        kernels: bool,
        name: &[u8],
    ) -> Result<Option<(Stat, Entry)>, Failure> {
        let whole = join(path, name);
        let root = Arc::clone(&self.source.path);
        let failed = |action| {
            let (root, whole) = (&root, &whole);
            move |error| failed(action, &shown(root, whole))(error)
        };
        let stat = directory.stat(name).map_err(failed(Action::Read))?;
        let Some(stat) = stat else { return Ok(None) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        if temporary::is_temporary(name, is_directory) {
            return Ok(None);
        }
        if self.source.filter.excludes(&whole, is_directory) {
            if self.source.filter.rules_out(&whole, is_directory) {
                self.exclude(&whole);
            }
            return Ok(None);
        }
        self.left.remove(&whole);
        if !fits(path, name) {
            let long = Errno::NAMETOOLONG;
            return Err(failed(Action::Open)(long.into()));
        }
        if directory.shuns(&stat) {
            return Err(failed(Action::Open)(Errno::MLINK.into()));
        }
        let options = &self.source.options;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let (mut xattrs, mut hash) = (Vec::new(), None);
        if kind == FileType::RegularFile
            && (options.checksum && !kernels || options.preserve.xattrs)
        {
            let file = directory.open_file(name).map_err(failed(Action::Open))?;
            if options.preserve.xattrs {
                xattrs = read_xattrs(directory, &file)
                    .map_err(|errno| failed(Action::Read)(errno.into()))?;
            }
            if options.checksum && !kernels {
                hash = Some(whole::hash_rest(&file, size).map_err(failed(Action::Read))?);
            }
        } else if kind == FileType::Directory && options.preserve.xattrs {
            let inner = directory.enter(name).map_err(failed(Action::Open))?;
            xattrs = read_xattrs(directory, &inner)
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
        let like = self.source.filter.attributes_of(&whole).unwrap_or(stat);
        let mut metadata = owners::describe(&like, options.preserve, &mut self.owners);
        metadata.xattrs = xattrs;
        let described =
            acl::describe_name(directory, self.entered, name, &stat, options.preserve.acls);
        let described = described.map_err(|errno| failed(Action::Read)(errno.into()))?;
        self.owners.add_acls(described, &mut metadata);
        Ok(Some((stat, Entry { name: name.to_vec(), metadata, what })))
    }

    /// An excluded path of `--files-from` does not count as missing, nor do those below it.
    fn exclude(&mut self, path: &[u8]) {
        self.left.remove(path);
        let inside = join(path, b"");
        let behind = self.left.range(inside.clone()..).take_while(|path| path.starts_with(&inside));
        for path in behind.cloned().collect::<Vec<_>>() {
            self.left.remove(&path);
        }
    }

    /// Turns an entry into a link to an earlier one, if it is the same file.
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

    fn entries(&self, path: &DirectoryPath, entries: Vec<Entry>, last: bool) -> Result<(), Over> {
        self.send(Walked::Entries(Arc::clone(path), Entries { entries, last }))
    }

    fn send(&self, walked: Walked) -> Result<(), Over> {
        self.output.blocking_send(walked).map_err(|_| Over)
    }

    fn shown(&self, path: &[u8]) -> Vec<u8> {
        shown(&self.source.path, path)
    }
}

/// Reads the attributes that are sent of a file in this directory.
fn read_xattrs(directory: &Dir, file: impl AsFd) -> Result<Vec<Xattr>, Errno> {
    let spaces = if directory.is_strict() { Namespaces::User } else { Namespaces::All };
    xattrs::read(file, spaces)
}

/// About how many bytes an entry takes on the wire.
fn weigh(entry: &Entry) -> usize {
    let xattrs = entry.metadata.xattrs_len();
    let target = if let What::Link { target } = &entry.what { target.len() } else { 0 };
    64 + entry.name.len() + target + xattrs
}
