//! Runs both ends over a small buffer: complete, interrupted, honest and hostile.

mod attributes;
mod delta;
mod equal;
mod hostile;
mod lanes;
mod resume;
mod update;
mod verify;
mod whole;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::*;
use crate::confined::Base;
use crate::destination::Place;
use crate::receive::receive;
use lariat_base::name::KeyId;
use lariat_wire::frame::Header;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Link, LinkError, message_frame};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve};
use lariat_wire::protocol::transfer::{
    ChunkHead, Complete, Destination, Hashes, Have, Identity, Offer, Range, Sending,
};

const C: u64 = CHUNK as u64;

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A source of `size` bytes that differ from chunk to chunk and by `seed`.
    fn source(&self, size: u64, seed: u64) -> Source {
        let path = self.path("source");
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        reader.fill(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        Source::open(&path, Preserve::default()).unwrap()
    }

    fn place(&self) -> Place {
        let dest = Destination { path: b"dest".to_vec(), name: b"source".to_vec() };
        Place::resolve(&Base::at(self.directory.path()), &dest).unwrap()
    }

    fn owner() -> Owner {
        Owner { key: KeyId([7; 16]), user: rustix::process::geteuid().as_raw() }
    }

    fn target(&self, offer: &Offer) -> Target {
        // The hashing thread of an attempt may not have noticed its end.
        Target::File(Box::new(
            Opened::open(self.place(), Self::owner(), offer, Busy::Wait, false).unwrap(),
        ))
    }

    fn part(&self) -> PathBuf {
        self.path(&Partial::name(&self.place(), Self::owner()))
    }

    /// Transfers the source to `dest`, and cuts the connection after `cut` bytes towards the receiver.
    fn transfer(
        &self,
        source: &mut Source,
        cut: Option<u64>,
    ) -> (Result<Transferred, TransferError>, Result<Transferred, TransferError>) {
        self.transfer_with(source, cut, Sending::default(), &ResolvedOverrides::default())
    }

    fn transfer_with(
        &self,
        source: &mut Source,
        cut: Option<u64>,
        how: Sending,
        overrides: &ResolvedOverrides,
    ) -> (Result<Transferred, TransferError>, Result<Transferred, TransferError>) {
        let target = self.target(source.offer());
        Self::transfer_into(target, source, cut, how, overrides)
    }

    fn transfer_into(
        target: Target,
        source: &mut Source,
        cut: Option<u64>,
        how: Sending,
        overrides: &ResolvedOverrides,
    ) -> (Result<Transferred, TransferError>, Result<Transferred, TransferError>) {
        let metadata = source.offer().metadata.clone();
        let options = CommitOptions::new(overrides, Preserve::default(), metadata);
        Self::transfer_placing(target, source, cut, how, &options)
    }

    fn transfer_placing(
        target: Target,
        source: &mut Source,
        cut: Option<u64>,
        how: Sending,
        options: &CommitOptions,
    ) -> (Result<Transferred, TransferError>, Result<Transferred, TransferError>) {
        let (a, b) = duplex(1 << 16);
        let (mut from, mut to) = (Link::new(a), Link::new(Cut { stream: b, left: cut }));
        let offer = source.offer().clone();
        let never = Cancel::default();
        block_on(async {
            let sending = async {
                let mut sent = Transferred::default();
                let done = send(&mut from, source, how, &Unwatched, &never, &mut sent).await;
                drop(from);
                done.map(|_| sent)
            };
            let receiving = async {
                let mut got = Transferred::default();
                let never = Cancel::default();
                let done =
                    receive(&mut to, target, &offer, options, &Unwatched, &never, &mut got).await;
                drop(to);
                done.map(|()| got)
            };
            tokio::join!(sending, receiving)
        })
    }

    fn assert_copied(&self) {
        let (source, dest) = (self.path("source"), self.path("dest"));
        assert!(std::fs::read(&source).unwrap() == std::fs::read(&dest).unwrap());
        let (was, is) = (source.metadata().unwrap(), dest.metadata().unwrap());
        assert_eq!((was.mtime(), was.mtime_nsec()), (is.mtime(), is.mtime_nsec()));
        assert_eq!(was.mode(), is.mode());
        self.assert_nothing_left(2);
    }

    fn assert_nothing_left(&self, files: usize) {
        assert_eq!(std::fs::read_dir(self.directory.path()).unwrap().count(), files);
    }
}

/// A stream that ends silently after a number of bytes.
pub(super) struct Cut {
    pub(super) stream: DuplexStream,
    pub(super) left: Option<u64>,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some(left) = self.left else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        let mut bytes = vec![0; buf.remaining().min(usize::try_from(left).unwrap())];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        self.left = Some(left - part.filled().len() as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The attributes of a file with this offer, without options.
fn plain(offer: &Offer) -> CommitOptions {
    CommitOptions::new(&ResolvedOverrides::default(), Preserve::default(), offer.metadata.clone())
}

/// Runs this to its end. What hangs fails.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limit = Duration::from_secs(240);
    runtime.block_on(async { tokio::time::timeout(limit, work).await }).expect("it hangs")
}

/// A world in which `dest` exists, with these bytes.
fn world_with_dest(bytes: &[u8]) -> World {
    let world = World::new();
    std::fs::write(world.path("dest"), bytes).unwrap();
    world
}
