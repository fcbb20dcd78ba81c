//! The sender's contents: wanted files are opened and read on a thread of its own, a little
//! ahead of the network. Small ones are packed together.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc as blocking};

use rustix::fs::{FileType, Stat, fstat};
use tokio::sync::mpsc;

use super::avoid::Avoid;
use super::content::{Content, Want};
use super::order::DirectoryPath;
use super::pack::Packing;
use super::snapshot::{self, Read};
use crate::confined::{Dir, join, shown};
use crate::error::{failed, sys_failed};
use crate::metadata::{acl, attributes};
use crate::source::{Source, generated};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::{Acls, Preserve};
use lariat_wire::protocol::tree::{MAX_PACKED, PackedHead};

/// Packs or files that are read ahead of the network.
const AHEAD: usize = 2;

/// How often a small file is read that changes meanwhile.
const ATTEMPTS: usize = 3;

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
        // Owners and extended attributes came with the entries.
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

/// What became of a file for the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    /// It is in the pack.
    Added,
    /// It was written to meanwhile.
    Torn,
    /// It is shorter than its size.
    Short,
    /// It has an ACL that is dropped, which its entry did not say. A pack can't say that either.
    DropsAcl,
}

/// Why a file was not added to the pack.
enum NotAdded {
    Because(Packed),
    Failed(Failure),
}

impl From<Failure> for NotAdded {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
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
                let &Want { number, difference, weight, acl_reported, .. } = want;
                let acl_dropped = source.offer().metadata.acls == Acls::Dropped && !acl_reported;
                let path = below;
                self.send(Content::Large {
                    number,
                    source,
                    difference,
                    weight,
                    path,
                    acl_dropped,
                })?;
                Ok(Ok(()))
            }
        }
    }

    fn read(&mut self, want: &Want, path: &[u8]) -> Result<Found, Unread> {
        let file = self.open(&want.directory, &want.name, path)?;
        for _ in 0..ATTEMPTS {
            let stat = fstat(&file).map_err(sys_failed(Action::Read, path))?;
            if !FileType::from_raw_mode(stat.st_mode).is_file() {
                // It was one when it was listed.
                let (path, cause) = (Some(path.to_vec()), Cause::SourceChanged);
                return Err(Failure { action: Action::Open, path, cause }.into());
            }
            if self.is_generated(&file, &stat) && !want.difference {
                return self.whole_content(file, want, &stat, path);
            }
            let len = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
            if want.difference || len > MAX_PACKED {
                return self.large(file, path);
            }
            let take = |bytes: &mut [u8]| snapshot::read(&file, &stat, bytes);
            match self.pack(&file, want, &stat, len, path, take)? {
                Packed::Added => return Ok(Found::Packed),
                Packed::Short => return self.whole_content(file, want, &stat, path),
                Packed::Torn => {}
                Packed::DropsAcl => return self.large(file, path),
            }
        }
        let cause = Cause::SourceChanged;
        Err(Failure { action: Action::Read, path: Some(path.to_vec()), cause }.into())
    }

    fn large(&self, file: File, path: &[u8]) -> Result<Found, Unread> {
        Ok(Found::Large(Box::new(Source::from_file(file, path.to_vec(), self.preserve)?)))
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
        if content.len() <= MAX_PACKED {
            let packed = self.pack(&file, want, stat, content.len(), path, |bytes| {
                bytes.copy_from_slice(&content);
                Ok(Read::Snapshot(*stat))
            })?;
            if packed == Packed::Added {
                return Ok(Found::Packed);
            }
        }
        let source = Source::generated(file, content, path, self.preserve)?;
        Ok(Found::Large(Box::new(source)))
    }

    /// Adds a file of `len` bytes to the pack, which `take` reads.
    fn pack(
        &mut self,
        file: &File,
        want: &Want,
        stat: &Stat,
        len: usize,
        path: &[u8],
        take: impl FnOnce(&mut [u8]) -> io::Result<Read>,
    ) -> Result<Packed, Unread> {
        if !self.packing.has_room(len) {
            self.send_pack()?;
        }
        let acls = self.preserve.acls;
        let (mask, mtime) = (attributes::mode_mask(self.preserve), attributes::mtime(stat));
        let added = self.packing.add(len, |bytes| {
            let after = match take(bytes).map_err(failed(Action::Read, path))? {
                Read::Snapshot(after) => after,
                Read::Torn => return Err(NotAdded::Because(Packed::Torn)),
                Read::Short => return Err(NotAdded::Because(Packed::Short)),
            };
            let described = acl::describe(file, &after, acls);
            let described = described.map_err(sys_failed(Action::Read, path))?;
            if described.acls == Acls::Dropped && !want.acl_reported {
                return Err(NotAdded::Because(Packed::DropsAcl));
            }
            Ok(PackedHead {
                number: want.number,
                mode: described.mode & mask,
                // The time before the read, so that a later change shows.
                mtime,
                len: u32::try_from(len).map_err(|_| NotAdded::Because(Packed::Short))?,
            })
        });
        match added {
            Ok(()) => {
                self.packed.0 += 1;
                self.packed.1 += want.weight;
                Ok(Packed::Added)
            }
            Err(NotAdded::Failed(failure)) => Err(failure.into()),
            Err(NotAdded::Because(packed)) => Ok(packed),
        }
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
        directory.open_file(name).map_err(&failed)
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
