//! The sender's contents: wanted files are opened, read and hashed on a thread of its own, a little
//! ahead of the network. Small ones are packed together.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc as blocking};

use rustix::fs::{Stat, fstat};
use tokio::sync::mpsc;

use super::avoid::Avoid;
use super::order::DirectoryPath;
use super::pack::Packing;
use super::snapshot::{self, Read};
use crate::confined::shown;
use crate::confined::{Dir, join};
use crate::error::{failed, sys_failed};
use crate::metadata::acl;
use crate::metadata::attributes;
use crate::source::Source;
use crate::source::generated;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::tree::{MAX_PACKED, PackedHead};

/// Packs or files that are read ahead of the network.
const AHEAD: usize = 2;

/// How often a small file is read that changes meanwhile.
const ATTEMPTS: usize = 3;

/// A file that the receiver wants.
pub(super) struct Want {
    pub(super) number: u64,
    pub(super) directory: DirectoryPath,
    pub(super) name: Box<[u8]>,
    pub(super) weight: usize,
    /// Whether the receiver has a part of it.
    pub(super) difference: bool,
}

/// What was read. Each has the weight of the entries that it settles.
pub(super) enum Content {
    /// Small files.
    Pack { body: Vec<u8>, files: usize, weight: usize },
    /// A file that does not fit a pack.
    Large { number: u64, source: Box<Source>, difference: bool, weight: usize, path: Vec<u8> },
    /// A file that can't be read.
    Missed { number: u64, failure: Failure, weight: usize },
}

/// Starts the thread that reads wanted files. It ends when either channel is closed.
pub(super) fn start(
    root: Arc<Dir>,
    path: Arc<[u8]>,
    preserve: Preserve,
    avoid: Avoid,
) -> io::Result<(blocking::Sender<Want>, mpsc::Receiver<Content>)> {
    let (want, wanted) = blocking::channel();
    let (output, contents) = mpsc::channel(AHEAD);
    let reader = Reader {
        root,
        path,
        // OwnerNames and extended attributes came with the entries.
        preserve: Preserve { owner: false, xattrs: false, ..preserve },
        avoid,
        directory: None,
        packing: Packing::default(),
        packed: (0, 0),
        kernels: None,
        output,
    };
    std::thread::Builder::new().name("read".to_owned()).spawn(move || {
        // Fails only when the transfer is over.
        let _ = reader.run(&wanted);
    })?;
    Ok((want, contents))
}

struct Reader {
    root: Arc<Dir>,
    path: Arc<[u8]>,
    preserve: Preserve,
    avoid: Avoid,
    /// The directory that was read from last.
    directory: Option<(DirectoryPath, Dir)>,
    packing: Packing,
    /// Files in the pack, and their weight.
    packed: (usize, usize),
    /// The device that was read from last, and whether it is one of the kernel's own.
    kernels: Option<(u64, bool)>,
    output: mpsc::Sender<Content>,
}

/// The transfer is over.
struct Over;

/// How a wanted file is sent.
enum Found {
    /// In the current pack.
    Packed,
    /// By itself.
    Large(Box<Source>),
}

/// Why a wanted file was not read.
enum Unread {
    Failed(Failure),
    Over,
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Over> for Unread {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

impl Reader {
    fn run(mut self, wanted: &blocking::Receiver<Want>) -> Result<(), Over> {
        loop {
            let want = if let Ok(want) = wanted.try_recv() {
                want
            } else {
                // Nothing else is wanted now, so the pack is sent.
                self.send_pack()?;
                let Ok(want) = wanted.recv() else { return Ok(()) };
                want
            };
            let (number, weight) = (want.number, want.weight);
            if let Err(failure) = self.content(&want)? {
                self.send(Content::Missed { number, failure, weight })?;
            }
        }
    }

    fn content(&mut self, want: &Want) -> Result<Result<(), Failure>, Over> {
        let below = join(&want.directory, &want.name);
        if let Some(failure) = self.avoid.get(&below) {
            return Ok(Err(failure.clone()));
        }
        let path = shown(&self.path, &below);
        match self.read(want, &path) {
            Err(Unread::Failed(failure)) => Ok(Err(failure)),
            Err(Unread::Over) => Err(Over),
            Ok(Found::Packed) => Ok(Ok(())),
            Ok(Found::Large(source)) => {
                self.send_pack()?;
                let &Want { number, difference, weight, .. } = want;
                self.send(Content::Large { number, source, difference, weight, path: below })?;
                Ok(Ok(()))
            }
        }
    }

    fn read(&mut self, want: &Want, path: &[u8]) -> Result<Found, Unread> {
        let file = self.open(&want.directory, &want.name, path)?;
        for _ in 0..ATTEMPTS {
            let stat = fstat(&file).map_err(sys_failed(Action::Read, path))?;
            if self.is_generated(&file, &stat) && !want.difference {
                return self.whole_content(file, want, &stat, path);
            }
            let len = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
            if want.difference || len > MAX_PACKED {
                return Ok(Found::Large(Box::new(Source::from_file(
                    file,
                    path.to_vec(),
                    self.preserve,
                )?)));
            }
            let take = |bytes: &mut [u8]| snapshot::read(&file, &stat, bytes);
            match self.pack(&file, want, &stat, len, path, take)? {
                Read::Snapshot(_) => return Ok(Found::Packed),
                Read::Short => return self.whole_content(file, want, &stat, path),
                Read::Torn => {}
            }
        }
        let cause = Cause::SourceChanged;
        Err(Failure { action: Action::Read, path: Some(path.to_vec()), cause }.into())
    }

    /// Whether a file's size does not tell where its content ends.
    fn is_generated(&mut self, file: &File, stat: &Stat) -> bool {
        let kernels = match self.kernels {
            Some((device, kernels)) if device == stat.st_dev => kernels,
            _ => self.kernels.insert((stat.st_dev, generated::is_on_kernels(file))).1,
        };
        let says_empty = || {
            stat.st_size == 0
                && matches!(file.read_at(&mut [0], 0), Ok(1))
                // Its first byte may have been written just now.
                && fstat(file).is_ok_and(|stat| stat.st_size == 0)
        };
        kernels && stat.st_size < generated::LARGEST || says_empty()
    }

    /// Reads a file whose size does not tell where its content ends.
    fn whole_content(
        &mut self,
        mut file: File,
        want: &Want,
        stat: &Stat,
        path: &[u8],
    ) -> Result<Found, Unread> {
        let mut content = Vec::new();
        let most = MAX_PACKED as u64 + 1;
        let read = file.by_ref().take(most).read_to_end(&mut content);
        read.map_err(failed(Action::Read, path))?;
        if content.len() > MAX_PACKED {
            let source = Source::generated(file, content, path, self.preserve)?;
            return Ok(Found::Large(Box::new(source)));
        }
        self.pack(&file, want, stat, content.len(), path, |bytes| {
            bytes.copy_from_slice(&content);
            Ok(Read::Snapshot(*stat))
        })?;
        Ok(Found::Packed)
    }

    /// Adds a file of `len` bytes to the pack, which `take` reads. If that is no snapshot, nothing is added.
    fn pack(
        &mut self,
        file: &File,
        want: &Want,
        stat: &Stat,
        len: usize,
        path: &[u8],
        take: impl FnOnce(&mut [u8]) -> io::Result<Read>,
    ) -> Result<Read, Unread> {
        if !self.packing.has_room(len) {
            self.send_pack()?;
        }
        let acls = self.preserve.acls;
        let (mask, mtime) = (attributes::mode_mask(self.preserve), attributes::mtime(stat));
        let mut found = Read::Torn;
        let added = self.packing.add(len, |bytes| {
            found = take(bytes).map_err(failed(Action::Read, path))?;
            let Read::Snapshot(after) = &found else { return Err(None) };
            let mode =
                acl::describe(file, after, acls).map_err(sys_failed(Action::Read, path))?.mode;
            Ok::<_, Option<Failure>>(PackedHead {
                number: want.number,
                mode: mode & mask,
                // The time before the read, so that a later change shows.
                mtime,
                len: u32::try_from(len).map_err(|_| None)?,
                hash: blake3::hash(bytes).into(),
            })
        });
        match added {
            Ok(()) => {
                self.packed.0 += 1;
                self.packed.1 += want.weight;
            }
            Err(Some(failure)) => return Err(failure.into()),
            Err(None) => {}
        }
        Ok(found)
    }

    fn open(
        &mut self,
        directory: &DirectoryPath,
        name: &[u8],
        path: &[u8],
    ) -> Result<File, Failure> {
        let failed = failed(Action::Open, path);
        if self.directory.as_ref().is_none_or(|(open, _)| open != directory) {
            self.directory = None;
            let entered = self.root.enter(directory).map_err(&failed)?;
            self.directory = Some((Arc::clone(directory), entered));
        }
        let (_, directory) = self.directory.as_ref().expect("it was just opened");
        let file = directory.open_file(name).map_err(&failed)?;
        if file.metadata().map_err(&failed)?.is_file() {
            Ok(file)
        } else {
            // It was one when it was listed.
            let cause = Cause::SourceChanged;
            Err(Failure { action: Action::Open, path: Some(path.to_vec()), cause })
        }
    }

    fn send_pack(&mut self) -> Result<(), Over> {
        if self.packing.is_empty() {
            return Ok(());
        }
        let (files, weight) = std::mem::take(&mut self.packed);
        let body = self.packing.take();
        self.send(Content::Pack { body, files, weight })
    }

    fn send(&self, content: Content) -> Result<(), Over> {
        self.output.blocking_send(content).map_err(|_| Over)
    }
}
