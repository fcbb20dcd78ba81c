//! Both ends driven by hand over a small buffer, whole and cut, honest and hostile.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::destination::Place;
use super::*;
use crate::frame::Header;
use crate::limits::CHUNK;
use crate::link::{Link, LinkError, message_frame};
use crate::name::KeyId;
use crate::protocol::Kind;
use crate::protocol::failure::Cause;
use crate::protocol::transfer::{
    ChunkHead, Complete, Destination, Hash, Hashes, Have, Identity, Offer, Range, Sending, Time,
};

const C: u64 = CHUNK as u64;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A source of `size` bytes that differ from chunk to chunk and by `seed`.
    fn source(&self, size: u64, seed: u64) -> Source {
        let path = self.path("source");
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        reader.fill(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        Source::open(&path).unwrap()
    }

    fn place(&self) -> Place {
        let dest = Destination { path: b"dest".to_vec(), name: b"source".to_vec() };
        Place::resolve(self.folder.path(), &dest).unwrap()
    }

    fn owner() -> Owner {
        Owner { key: KeyId([7; 16]), user: rustix::process::geteuid().as_raw() }
    }

    fn target(&self, offer: &Offer) -> Target {
        Target::File(Partial::open(self.place(), Self::owner(), offer, Busy::Refuse).unwrap())
    }

    fn part(&self) -> PathBuf {
        self.path(&Partial::name(&self.place(), Self::owner()))
    }

    /// Moves the source to `dest`, cutting the wire after `cut` bytes towards the receiver.
    fn transfer(
        &self,
        source: &mut Source,
        cut: Option<u64>,
    ) -> (Result<Sent, TransferError>, Result<Received, TransferError>) {
        self.transfer_with(source, cut, Sending::default(), &Finish::default())
    }

    fn transfer_with(
        &self,
        source: &mut Source,
        cut: Option<u64>,
        how: Sending,
        finish: &Finish,
    ) -> (Result<Sent, TransferError>, Result<Received, TransferError>) {
        let (a, b) = duplex(1 << 16);
        let (mut from, mut to) = (Link::new(a), Link::new(Cut { stream: b, left: cut }));
        let offer = source.offer().clone();
        let target = self.target(&offer);
        let never = Cancel::default();
        block_on(async {
            let sending = async {
                let mut sent = Sent::default();
                let done = send(&mut from, source, how, &Unwatched, &never, &mut sent).await;
                drop(from);
                done.map(|_| sent)
            };
            let receiving = async {
                let mut got = Received::default();
                let never = Cancel::default();
                let done =
                    receive(&mut to, target, &offer, finish, &Unwatched, &never, &mut got).await;
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
        assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), files);
    }
}

/// A stream whose reads end without a word after a number of bytes.
struct Cut {
    stream: DuplexStream,
    left: Option<u64>,
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

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

#[test]
fn sizes_around_the_chunks_border_arrive_whole() {
    for size in [0, 1, C - 1, C, C + 1, 2 * C, 5 * C + 3] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let (sent, received) = world.transfer(&mut source, None);
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!((sent.sent, sent.moved, sent.size), (size, size, size));
        assert_eq!((received.sent, received.moved, received.size), (size, size, size));
        world.assert_copied();
    }
}

#[test]
fn mode_and_mtime_travel_and_special_bits_do_not() {
    let world = World::new();
    drop(world.source(10, 1));
    let path = world.path("source");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::new(5, 123_456_789);
    file.set_modified(before_1970).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4751)).unwrap();
    let mut source = Source::open(&path).unwrap();
    world.transfer(&mut source, None).1.unwrap();
    let dest = world.path("dest").metadata().unwrap();
    assert_eq!(dest.mode() & 0o7777, 0o751);
    assert_eq!(dest.modified().unwrap(), before_1970);
}

#[test]
fn a_cut_anywhere_goes_on_where_it_was() {
    let size = 4 * C + 7;
    let frame = 8 + ChunkHead::LEN as u64 + C;
    for cut in [0, 1, frame - 1, frame, frame + 1, 2 * frame + 9, 4 * frame, 4 * frame + 60] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let (sent, received) = world.transfer(&mut source, Some(cut));
        assert!(matches!(received, Err(TransferError::Link(LinkError::Cut))), "{received:?}");
        assert!(sent.is_err());
        assert!(!world.path("dest").exists());
        let last = 8 + ChunkHead::LEN as u64 + 7;
        let whole = if cut >= 4 * frame + last { size } else { cut / frame * C };
        assert_eq!(world.part().exists(), whole > 0, "nothing worth keeping, nothing kept");
        let (sent, received) = world.transfer(&mut source, None);
        assert_eq!(sent.unwrap().sent, size - whole, "cut after {cut}");
        assert_eq!(received.unwrap().moved, size - whole);
        world.assert_copied();
    }
}

#[test]
fn damage_to_a_partial_is_found_and_mended() {
    let world = World::new();
    let mut source = world.source(4 * C, 1);
    let _ = world.transfer(&mut source, Some(3 * (C + 100)));
    let mut part = std::fs::read(world.part()).unwrap();
    part[CHUNK + 5] ^= 1;
    std::fs::write(world.part(), part).unwrap();
    let sent = world.transfer(&mut source, None).0.unwrap();
    // One damaged, one or two that never came.
    assert!(sent.sent >= 2 * C && sent.sent < 4 * C, "{sent:?}");
    world.assert_copied();
}

#[test]
fn a_shortened_partial_or_a_lost_journal_is_no_harm() {
    for damage in ["short", "no journal", "garbage"] {
        let world = World::new();
        let mut source = world.source(4 * C, 1);
        let _ = world.transfer(&mut source, Some(3 * (C + 100)));
        let journal = world.part().with_extension("journal");
        match damage {
            "short" => {
                let part = std::fs::File::options().write(true).open(world.part()).unwrap();
                part.set_len(C + 1).unwrap();
            }
            "no journal" => std::fs::remove_file(journal).unwrap(),
            _ => std::fs::write(journal, [b'x'; 1000]).unwrap(),
        }
        world.transfer(&mut source, None).1.unwrap();
        world.assert_copied();
    }
}

#[test]
fn a_source_that_changed_between_attempts_is_never_mixed() {
    let world = World::new();
    let mut source = world.source(4 * C, 1);
    let _ = world.transfer(&mut source, Some(3 * (C + 100)));
    let mtime = source.file().metadata().unwrap().modified().unwrap();
    // The same size, mtime and inode, other bytes.
    let changed = world.source(4 * C, 2);
    changed.file().metadata().unwrap();
    let file = std::fs::File::options().write(true).open(world.path("source")).unwrap();
    file.set_modified(mtime).unwrap();
    let mut changed = Source::open(&world.path("source")).unwrap();
    world.transfer(&mut changed, None).1.unwrap();
    world.assert_copied();
}

#[test]
fn a_source_that_changes_or_shrinks_meanwhile_is_noticed() {
    for shrink in [false, true] {
        let world = World::new();
        let mut source = world.source(3 * C, 1);
        let file = std::fs::File::options().write(true).open(world.path("source")).unwrap();
        if shrink {
            file.set_len(C).unwrap();
        } else {
            std::os::unix::fs::FileExt::write_all_at(&file, b"other", 0).unwrap();
        }
        let (sent, received) = world.transfer(&mut source, None);
        let expected = if shrink { Cause::SourceShrank } else { Cause::SourceChanged };
        assert!(
            matches!(&sent, Err(TransferError::Local(failure)) if failure.cause == expected),
            "{sent:?}"
        );
        assert!(
            matches!(&received, Err(TransferError::Remote(failure)) if failure.cause == expected),
            "{received:?}"
        );
        world.assert_nothing_left(1);
    }
}

#[test]
fn only_regular_files_are_read_or_replaced() {
    let world = World::new();
    let fifo = world.path("dest");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    assert!(matches!(Source::open(&fifo), Err(f) if matches!(f.cause, Cause::NotAFile(_))));
    assert!(
        matches!(Source::open(world.folder.path()), Err(f) if matches!(f.cause, Cause::NotAFile(_)))
    );
    assert!(
        matches!(Source::open(Path::new("/dev/null")), Err(f) if matches!(f.cause, Cause::NotAFile(_)))
    );
    let source = world.source(1, 1);
    let opened = Partial::open(world.place(), World::owner(), source.offer(), Busy::Refuse);
    assert!(matches!(opened, Err(f) if matches!(f.cause, Cause::NotAFile(_))));
    assert!(fifo.exists());
}

#[test]
fn a_link_in_the_destinations_place_is_replaced_and_not_followed() {
    let world = World::new();
    let canary = tempfile::NamedTempFile::new().unwrap();
    symlink(canary.path(), world.path("dest")).unwrap();
    let mut source = world.source(10, 1);
    world.transfer(&mut source, None).1.unwrap();
    assert_eq!(canary.as_file().metadata().unwrap().len(), 0);
    world.assert_copied();
}

#[test]
fn somebody_elses_partial_is_replaced_and_not_written_to() {
    let world = World::new();
    let mut source = world.source(2 * C, 1);
    let canary = tempfile::NamedTempFile::new().unwrap();
    symlink(canary.path(), world.part()).unwrap();
    world.transfer(&mut source, None).1.unwrap();
    assert_eq!(canary.as_file().metadata().unwrap().len(), 0);
    std::fs::hard_link(world.path("dest"), world.path("other")).unwrap();
    std::fs::hard_link(world.path("other"), world.part()).unwrap();
    let before = std::fs::read(world.path("other")).unwrap();
    let mut source = world.source(2 * C, 3);
    world.transfer(&mut source, None).1.unwrap();
    assert!(std::fs::read(world.path("other")).unwrap() == before);
}

#[test]
fn two_at_once_are_told_apart() {
    let world = World::new();
    let mut source = world.source(2 * C, 1);
    let held = world.target(source.offer());
    let second = Partial::open(world.place(), World::owner(), source.offer(), Busy::Refuse);
    assert!(second.is_err_and(|failure| failure.to_string().contains("under way")));
    drop(held);
    world.transfer(&mut source, None).1.unwrap();
    world.assert_copied();
}

/// Plays a sender: these frames, then the end, unless it waits for the answer as an honest one does.
fn receive_from(
    frames: &[Vec<u8>],
    offer: &Offer,
    honest: bool,
) -> (Result<Received, TransferError>, World) {
    let world = World::new();
    let target = world.target(offer);
    let (mut peer, ours) = duplex(1 << 23);
    let received = block_on(async {
        peer.write_all(&frames.concat()).await.unwrap();
        if !honest {
            peer.shutdown().await.unwrap();
        }
        let mut link = Link::new(ours);
        let (finish, never, mut got) = (Finish::default(), Cancel::default(), Received::default());
        let done = receive(&mut link, target, offer, &finish, &Unwatched, &never, &mut got).await;
        done.map(|()| got)
    });
    (received, world)
}

fn chunk_frame(index: u64, hash: Hash, bytes: &[u8]) -> Vec<u8> {
    let header = Header { kind: Kind::Chunk, len: ChunkHead::LEN + bytes.len() }.encode();
    [&header[..], &ChunkHead { index, hash, encoding: 0 }.encode(), bytes].concat()
}

fn offer(size: u64) -> Offer {
    let (mtime, identity) = (Time::default(), Identity::default());
    Offer { size: Some(size), sparse: false, mode: 0o600, mtime, identity }
}

#[test]
fn a_hostile_sender_writes_nothing_under_the_name() {
    let bytes = vec![1; CHUNK];
    let good = |index| chunk_frame(index, hash::chunk(index, &bytes), &bytes);
    let complete = |size, hash| message_frame(&Complete { size, hash }).unwrap();
    let two = hash::file(&[hash::chunk(0, &bytes), hash::chunk(1, &bytes)], hash::empty());
    let attacks: [(&str, Vec<Vec<u8>>); 9] = [
        ("a wrong hash", vec![chunk_frame(0, [9; 32], &bytes)]),
        ("an index past the end", vec![good(2)]),
        ("an index that wraps", vec![chunk_frame(u64::MAX, [9; 32], &bytes)]),
        ("a chunk twice", vec![good(0), good(0)]),
        ("a short chunk", vec![chunk_frame(0, [9; 32], &bytes[1..])]),
        (
            "a frame without a head",
            vec![Header { kind: Kind::Chunk, len: 3 }.encode().to_vec(), vec![0; 3]],
        ),
        ("a chunk left out", vec![good(0), complete(2 * C, two)]),
        ("another file's hash", vec![good(0), good(1), complete(2 * C, [9; 32])]),
        ("another size", vec![good(0), good(1), complete(2 * C + 1, two)]),
    ];
    for (name, frames) in attacks {
        let (received, world) = receive_from(&frames, &offer(2 * C), false);
        assert!(received.is_err(), "{name}");
        assert!(!world.path("dest").exists(), "{name}");
    }
    let (received, world) =
        receive_from(&[good(0), good(1), complete(2 * C, two)], &offer(2 * C), true);
    received.unwrap();
    assert!(world.path("dest").exists());
}

#[test]
fn a_hostile_receiver_gets_an_error_and_no_memory() {
    let attacks: [(&str, Vec<Vec<u8>>); 4] = [
        ("ranges past the end", vec![have(&[(0, 3)])]),
        ("ranges that wrap", vec![have(&[(1, u64::MAX)])]),
        (
            "hashes of chunks it does not have",
            vec![have(&[]), message_frame(&Hashes { first: 0, hashes: vec![[0; 32]] }).unwrap()],
        ),
        ("a frame that has no place here", vec![have(&[]), chunk_frame(0, [0; 32], b"")]),
    ];
    for (name, frames) in attacks {
        let world = World::new();
        let mut source = world.source(2 * C, 1);
        let (mut peer, ours) = duplex(1 << 23);
        let sent = block_on(async {
            peer.write_all(&frames.concat()).await.unwrap();
            let mut link = Link::new(ours);
            let (never, mut sent) = (Cancel::default(), Sent::default());
            let how = Sending::default();
            send(&mut link, &mut source, how, &Unwatched, &never, &mut sent).await
        });
        assert!(
            matches!(
                sent,
                Err(TransferError::Link(LinkError::Misbehaved(_) | LinkError::Unexpected(_)))
            ),
            "{name}: {sent:?}"
        );
    }
}

fn have(ranges: &[(u64, u64)]) -> Vec<u8> {
    let chunks = ranges.iter().map(|&(first, count)| Range { first, count }).collect();
    message_frame(&Have { chunks, basis: None }).unwrap()
}

/// Ends the transfer as soon as something has come.
struct After<'a>(&'a Cancel);

impl Progress for After<'_> {
    fn begin(&self, _: Option<u64>, _: u64) {}
    fn moved(&self, _: u64) {
        self.0.cancel(Cause::Superseded);
    }
}

#[test]
fn a_cancelled_transfer_tells_the_other_end_and_keeps_what_came() {
    let world = World::new();
    let mut source = world.source(8 * C, 1);
    let target = world.target(source.offer());
    let offer = source.offer().clone();
    let (a, b) = duplex(1 << 16);
    let (mut from, mut to) = (Link::new(a), Link::new(b));
    let cancel = Cancel::default();
    let (sent, received) = block_on(async {
        let sending = async {
            let (never, mut sent) = (Cancel::default(), Sent::default());
            let how = Sending::default();
            let done = send(&mut from, &mut source, how, &Unwatched, &never, &mut sent).await;
            drop(from);
            done
        };
        let (watch, finish, mut got) = (After(&cancel), Finish::default(), Received::default());
        let receiving = receive(&mut to, target, &offer, &finish, &watch, &cancel, &mut got);
        tokio::join!(sending, receiving)
    });
    assert!(
        matches!(&sent, Err(TransferError::Remote(f)) if f.cause == Cause::Superseded),
        "{sent:?}"
    );
    assert!(matches!(&received, Err(TransferError::Local(f)) if f.cause == Cause::Superseded));
    assert!(world.part().exists());
    let sent = world.transfer(&mut source, None).0.unwrap();
    assert!(sent.moved <= 7 * C);
    world.assert_copied();
}

/// A world whose `dest` is there already, with these bytes.
fn world_with_dest(bytes: &[u8]) -> World {
    let world = World::new();
    std::fs::write(world.path("dest"), bytes).unwrap();
    world
}

#[test]
fn an_update_sends_what_the_old_file_does_not_have() {
    let world = World::new();
    drop(world.source(20 * C + 5, 1));
    let mut bytes = std::fs::read(world.path("source")).unwrap();
    std::fs::write(world.path("dest"), &bytes).unwrap();
    bytes.insert(0, b'x');
    bytes[9_000_000..9_004_096].fill(7);
    std::fs::write(world.path("source"), bytes).unwrap();
    let mut source = Source::open(&world.path("source")).unwrap();
    let (sent, received) = world.transfer(&mut source, None);
    let sent = sent.unwrap();
    assert!(sent.moved < 100_000, "{sent:?}");
    assert_eq!(received.unwrap().moved, sent.moved);
    world.assert_copied();
}

#[test]
fn an_update_that_was_cut_goes_on_and_stays_an_update() {
    let frame = 8 + ChunkHead::LEN as u64 + C;
    for cut in [500, 100_000, 3 * frame, 6 * frame, 10 * frame] {
        let old: Vec<u8> = (0..20 * C).map(|i| (i / 7 * i).to_le_bytes()[1]).collect();
        let world = world_with_dest(&old);
        drop(world.source(10 * C, 2));
        let mut bytes = std::fs::read(world.path("source")).unwrap();
        bytes.extend_from_slice(&old[CHUNK / 3..]);
        std::fs::write(world.path("source"), bytes).unwrap();
        let mut source = Source::open(&world.path("source")).unwrap();
        assert!(world.transfer(&mut source, Some(cut)).1.is_err());
        let sent = world.transfer(&mut source, None).0.unwrap();
        let already = cut / frame * C;
        assert!(sent.moved < 10 * C - already + C, "cut after {cut}: {sent:?}");
        world.assert_copied();
    }
}

#[test]
fn a_basis_that_has_nothing_in_common_costs_nothing() {
    let world = world_with_dest(&vec![9; 3 * CHUNK]);
    let mut source = world.source(3 * C + 9, 1);
    assert_eq!(world.transfer(&mut source, None).0.unwrap().sent, 3 * C + 9);
    world.assert_copied();
}

#[test]
fn a_file_of_text_is_compressed_and_counted_truly() {
    let world = World::new();
    std::fs::write(world.path("source"), b"all work and no play ".repeat(200_000)).unwrap();
    let mut source = Source::open(&world.path("source")).unwrap();
    let how = Sending { compress: true, rate: None };
    let (sent, received) = world.transfer_with(&mut source, None, how, &Finish::default());
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.moved, received.moved), (4_200_000, 4_200_000));
    assert!(sent.sent < 100_000 && sent.sent == received.sent, "{sent:?}");
    world.assert_copied();
}

#[test]
fn holes_stay_holes() {
    use std::os::unix::fs::FileExt;
    let world = World::new();
    let file = std::fs::File::create(world.path("source")).unwrap();
    file.set_len(40 * C + 12345).unwrap();
    file.write_all_at(b"in the middle", 7 * C + 100_000).unwrap();
    file.write_all_at(b"near the end", 40 * C + 5000).unwrap();
    let mut source = Source::open(&world.path("source")).unwrap();
    let sent = world.transfer(&mut source, None).0.unwrap();
    assert!(sent.sent <= 2 * C, "{sent:?}");
    world.assert_copied();
    let blocks = |name| world.path(name).metadata().unwrap().blocks();
    assert!(blocks("dest") <= blocks("source") + 16, "{} {}", blocks("dest"), blocks("source"));
}

#[test]
fn a_stream_of_any_length_becomes_a_file() {
    for size in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK, 3 * CHUNK + 17] {
        let world = World::new();
        let mut bytes = vec![0; size];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes[..size / 2]);
        let now = Time { secs: 5, nanos: 6 };
        let mut source = Source::stream(std::io::Cursor::new(bytes.clone()), now).unwrap();
        let (sent, received) = world.transfer(&mut source, None);
        assert_eq!((sent.unwrap().size, received.unwrap().size), (size as u64, size as u64));
        assert!(std::fs::read(world.path("dest")).unwrap() == bytes, "{size}");
        world.assert_nothing_left(1);
    }
}

#[test]
fn a_file_goes_down_a_stream_in_order() {
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let world = World::new();
    let mut source = world.source(4 * C + 3, 1);
    let out = std::sync::Arc::default();
    let target = Target::Stream(Stream::new(Shared(std::sync::Arc::clone(&out))).unwrap());
    let offer = source.offer().clone();
    let (a, b) = duplex(1 << 16);
    let (mut from, mut to) = (Link::new(a), Link::new(b));
    let never = Cancel::default();
    block_on(async {
        let (how, mut sent) = (Sending::default(), Sent::default());
        let sending = send(&mut from, &mut source, how, &Unwatched, &never, &mut sent);
        let (finish, mut got) = (Finish::default(), Received::default());
        let other = Cancel::default();
        let receiving = receive(&mut to, target, &offer, &finish, &Unwatched, &other, &mut got);
        let (sent, got) = tokio::join!(sending, receiving);
        sent.unwrap();
        got.unwrap();
    });
    assert!(*out.lock().unwrap() == std::fs::read(world.path("source")).unwrap());
}

#[test]
fn a_rate_is_kept() {
    let world = World::new();
    let mut source = world.source(2 * C, 1);
    let how = Sending { compress: false, rate: Some(4 * C) };
    let began = std::time::Instant::now();
    world.transfer_with(&mut source, None, how, &Finish::default()).0.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
}

#[test]
fn mode_and_backup_as_asked() {
    let world = world_with_dest(b"old");
    let mut source = world.source(10, 1);
    let finish = Finish { mode: Some(0o604), backup: true, ..Finish::default() };
    world.transfer_with(&mut source, None, Sending::default(), &finish).1.unwrap();
    assert_eq!(world.path("dest").metadata().unwrap().mode() & 0o7777, 0o604);
    assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"old");
}
