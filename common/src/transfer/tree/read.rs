//! The sender's contents: wanted files are opened, read and hashed on a thread of its own, a little
//! ahead of the network. Small ones are packed together.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, mpsc as blocking};

use rustix::fs::fstat;
use tokio::sync::mpsc;

use super::order::FolderPath;
use super::pack::Packing;
use super::walk::{not_regular, shown};
use crate::beneath::{Folder, join};
use crate::protocol::failure::{Action, Cause, Failure};
use crate::protocol::metadata::Travels;
use crate::protocol::tree::{MAX_PACKED, PackedHead};
use crate::transfer::Source;
use crate::transfer::attributes;
use crate::transfer::error::failed;

/// Packs or files that are ready before the network is.
const AHEAD: usize = 2;

/// Times that a small file is read anew when it changes meanwhile.
const ATTEMPTS: usize = 3;

/// A file that the receiver wants.
pub(super) struct Want {
    pub(super) number: u64,
    pub(super) folder: FolderPath,
    pub(super) name: Box<[u8]>,
    pub(super) weight: usize,
    /// Whether the receiver has something of it.
    pub(super) difference: bool,
}

/// What is ready to be sent. Weights are those of the entries that are settled by it.
pub(super) enum Content {
    /// Small files.
    Pack { body: Vec<u8>, files: usize, weight: usize },
    /// One file.
    Alone { number: u64, source: Box<Source>, difference: bool, weight: usize, path: Vec<u8> },
    /// A file that can't be read.
    Missed { number: u64, failure: Failure, weight: usize },
}

/// Files, by their paths below the root, that are not to be tried again, and why.
pub type Avoid = HashMap<Vec<u8>, Failure>;

/// Starts to read what is wanted. It ends when either channel is closed.
pub(super) fn start(
    root: Arc<Folder>,
    path: Arc<[u8]>,
    travels: Travels,
    avoid: Avoid,
) -> io::Result<(blocking::Sender<Want>, mpsc::Receiver<Content>)> {
    let (want, wanted) = blocking::channel();
    let (tell, told) = mpsc::channel(AHEAD);
    let reading = Reading {
        root,
        path,
        // Owners and extended attributes came with the entries.
        travels: Travels { owner: false, xattrs: false, ..travels },
        avoid,
        folder: None,
        packing: Packing::default(),
        packed: (0, 0),
        tell,
    };
    std::thread::Builder::new().name("read".to_owned()).spawn(move || {
        // It fails only when nobody wants to know any more.
        let _ = reading.run(&wanted);
    })?;
    Ok((want, told))
}

struct Reading {
    root: Arc<Folder>,
    path: Arc<[u8]>,
    travels: Travels,
    avoid: Avoid,
    /// The folder that was read from last.
    folder: Option<(FolderPath, Folder)>,
    packing: Packing,
    /// Files in the pack, and their weight.
    packed: (usize, usize),
    tell: mpsc::Sender<Content>,
}

/// Nobody listens any more.
struct Unheard;

impl Reading {
    fn run(mut self, wanted: &blocking::Receiver<Want>) -> Result<(), Unheard> {
        loop {
            let want = if let Ok(want) = wanted.try_recv() {
                want
            } else {
                // Nothing to read at this moment, so what is packed need not wait.
                self.send_pack()?;
                let Ok(want) = wanted.recv() else { return Ok(()) };
                want
            };
            let (number, weight) = (want.number, want.weight);
            if let Err(failure) = self.content(&want)? {
                self.tell(Content::Missed { number, failure, weight })?;
            }
        }
    }

    fn content(&mut self, want: &Want) -> Result<Result<(), Failure>, Unheard> {
        let below = join(&want.folder, &want.name);
        if let Some(failure) = self.avoid.get(&below) {
            return Ok(Err(failure.clone()));
        }
        let path = shown(&self.path, &below);
        let file = match self.open(&want.folder, &want.name, &path) {
            Ok(file) => file,
            Err(failure) => return Ok(Err(failure)),
        };
        let len = file.metadata().map_or(0, |metadata| metadata.size());
        match usize::try_from(len) {
            Ok(len) if len <= MAX_PACKED && !want.difference => {
                if !self.packing.has_room(len) {
                    self.send_pack()?;
                }
                let mask = attributes::mode_mask(self.travels);
                let packed = pack(&mut self.packing, &file, len, want.number, mask, &path);
                if packed.is_ok() {
                    self.packed.0 += 1;
                    self.packed.1 += want.weight;
                }
                Ok(packed)
            }
            _ => {
                let source = match Source::of(file, path, self.travels) {
                    Ok(source) => Box::new(source),
                    Err(failure) => return Ok(Err(failure)),
                };
                self.send_pack()?;
                let &Want { number, difference, weight, .. } = want;
                self.tell(Content::Alone { number, source, difference, weight, path: below })?;
                Ok(Ok(()))
            }
        }
    }

    fn open(&mut self, folder: &FolderPath, name: &[u8], path: &[u8]) -> Result<File, Failure> {
        let failed = failed(Action::Open, path);
        if self.folder.as_ref().is_none_or(|(open, _)| open != folder) {
            self.folder = None;
            let entered = self.root.enter(folder).map_err(&failed)?;
            self.folder = Some((Arc::clone(folder), entered));
        }
        let (_, folder) = self.folder.as_ref().expect("it was just opened");
        let file = folder.open_file(name).map_err(&failed)?;
        if file.metadata().map_err(&failed)?.is_file() {
            Ok(file)
        } else {
            Err(not_regular(path.to_vec()))
        }
    }

    fn send_pack(&mut self) -> Result<(), Unheard> {
        if self.packing.is_empty() {
            return Ok(());
        }
        let (files, weight) = std::mem::take(&mut self.packed);
        let body = self.packing.take();
        self.tell(Content::Pack { body, files, weight })
    }

    fn tell(&self, content: Content) -> Result<(), Unheard> {
        self.tell.blocking_send(content).map_err(|_| Unheard)
    }
}

/// Adds a small file as it is at one instant.
fn pack(
    packing: &mut Packing,
    file: &File,
    len: usize,
    number: u64,
    mask: u32,
    path: &[u8],
) -> Result<(), Failure> {
    let failed = failed(Action::Read, path);
    let changed =
        || Failure { action: Action::Read, path: Some(path.to_vec()), cause: Cause::SourceChanged };
    packing.add(len, |bytes| {
        for _ in 0..ATTEMPTS {
            let before = fstat(file).map_err(|errno| failed(errno.into()))?;
            if usize::try_from(before.st_size) != Ok(len) {
                break;
            }
            match file.read_exact_at(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read.map_err(&failed)?,
            }
            let after = fstat(file).map_err(|errno| failed(errno.into()))?;
            let when = |stat: &rustix::fs::Stat| (stat.st_ctime, stat.st_ctime_nsec, stat.st_size);
            if when(&before) == when(&after) {
                return Ok(PackedHead {
                    number,
                    mode: after.st_mode & mask,
                    mtime: attributes::mtime(&after),
                    len: u32::try_from(len).map_err(|_| changed())?,
                    hash: blake3::hash(bytes).into(),
                });
            }
        }
        Err(changed())
    })
}
