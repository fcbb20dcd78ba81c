//! Transfers that go on after they broke off.

use super::*;
use crate::file::private_file;

#[test]
fn a_cut_anywhere_goes_on_where_it_was() {
    let size = 4 * C + 7;
    let frame = 8 + ChunkHead::LEN as u64 + C;
    let head = frame - C;
    for cut in
        [0, 1, head, frame - 1, frame, frame + 1, 2 * frame + 9, 4 * frame, 4 * frame + head + 8]
    {
        let world = World::new();
        let mut source = world.source(size, 1);
        let (sent, received) = world.transfer(&mut source, Some(cut));
        assert!(matches!(received, Err(TransferError::Link(LinkError::Cut))), "{received:?}");
        assert!(sent.is_err());
        assert!(!world.path("dest").exists());
        // All that came is there, the beginning of a chunk included.
        let came = (cut / frame * C + (cut % frame).saturating_sub(head)).min(size);
        assert_eq!(world.part().exists(), came > 0, "nothing worth keeping, nothing kept");
        let (sent, received) = world.transfer(&mut source, None);
        assert_eq!(sent.unwrap().sent, size - came, "cut after {cut}");
        assert_eq!(received.unwrap().moved, size - came);
        world.assert_copied();
    }
}

/// Whatever the size, a link that never lasts for a chunk gets there, and nothing is sent twice.
#[test]
fn cut_after_cut_gets_there() {
    for (size, compress) in
        [(1, false), (C - 1, false), (C, true), (C + 1, false), (3 * C + 7, true)]
    {
        let world = World::new();
        let mut source = world.source(size, 1);
        let how = Sending { compress, rate: None, hash: false };
        let (mut attempts, mut moved) = (0, 0);
        loop {
            let before = moved;
            let cut = Some(100_000);
            let (sent, received) =
                world.transfer_with(&mut source, cut, how, &ResolvedOverrides::default());
            attempts += 1;
            assert!(attempts < 30, "it gets nowhere");
            if let Ok(received) = received {
                moved += sent.unwrap().moved;
                assert_eq!(received.size, size);
                break;
            }
            let there = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
            moved = there(world.part());
            assert!(moved > before);
            assert!(there(world.part().with_extension("journal")) < 300);
        }
        assert_eq!(moved, size);
        world.assert_copied();
    }
}

#[test]
fn a_stream_that_was_cut_leaves_nothing() {
    let world = World::new();
    let bytes = std::io::Cursor::new(vec![7; 2 * CHUNK]);
    let mut source = Source::stream(bytes, Time { secs: 1, nanos: 2 }).unwrap();
    assert!(world.transfer(&mut source, Some(C + 100_000)).1.is_err());
    world.assert_nothing_left(0);
}

#[test]
fn damage_to_the_beginning_of_a_chunk_is_found_and_mended() {
    for size in [C / 2, 2 * C] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let cut = (size - C / 2) + 100_000;
        assert!(world.transfer(&mut source, Some(cut)).1.is_err());
        let mut part = std::fs::read(world.part()).unwrap();
        *part.last_mut().unwrap() ^= 1;
        let begun = (part.len() as u64) % C;
        std::fs::write(world.part(), part).unwrap();
        let sent = world.transfer(&mut source, None).0.unwrap();
        // The rest of it, and then all of it.
        let chunk = size.min(C);
        assert_eq!(sent.sent, size - (size - chunk) - begun + chunk);
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
    // One damaged, and nearly one that never came.
    assert!(sent.sent > C + C / 2 && sent.sent < 2 * C, "{sent:?}");
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
    let mut changed = Source::open(&world.path("source"), Preserve::default()).unwrap();
    world.transfer(&mut changed, None).1.unwrap();
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
    let second = Opened::open(world.place(), World::owner(), source.offer(), Busy::Refuse, false);
    assert!(second.is_err_and(|failure| failure.to_string().contains("under way")));
    drop(held);
    world.transfer(&mut source, None).1.unwrap();
    world.assert_copied();
}

#[test]
fn a_later_attempt_waits_until_one_has_got_its_name() {
    let world = World::new();
    let (place, part) = (world.place(), Partial::name(&world.place(), World::owner()));
    let open = || private_file::open_locked(&place, &part, World::owner().user, Busy::Refuse);
    let complete = open().unwrap();
    let guard = private_file::rename_aside(&place, &part, "aside").unwrap();
    // However it looks by now.
    complete.set_permissions(PermissionsExt::from_mode(0o644)).unwrap();
    assert!(open().is_err());
    assert!(private_file::is_at(&place.directory, b"aside", &complete).unwrap());
    drop((guard, complete));
    std::fs::remove_file(world.path("aside")).unwrap();
    // One that was killed there leaves nothing to the next.
    let mut source = world.source(2 * C, 1);
    world.transfer(&mut source, None).1.unwrap();
    world.assert_copied();
}

#[test]
fn a_link_that_stands_for_no_file_is_not_replaced() {
    let world = World::new();
    let mut source = world.source(C, 1);
    for end in ["/dev/null", "/proc/self/fd/1", "/dev/stdout"] {
        symlink(end, world.path("dest")).unwrap();
        let refused =
            Opened::open(world.place(), World::owner(), source.offer(), Busy::Refuse, false);
        assert!(refused.is_err_and(|failure| matches!(failure.cause, Cause::NotAFile(_))), "{end}");
        assert_eq!(std::fs::read_link(world.path("dest")).unwrap(), Path::new(end));
        std::fs::remove_file(world.path("dest")).unwrap();
    }
    symlink("/no/such/file", world.path("dest")).unwrap();
    world.transfer(&mut source, None).1.unwrap();
    world.assert_copied();
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
            let (never, mut sent) = (Cancel::default(), Transferred::default());
            let how = Sending::default();
            let done = send(&mut from, &mut source, how, &Unwatched, &never, &mut sent).await;
            drop(from);
            done
        };
        let (watch, plain, mut got) = (After(&cancel), plain(&offer), Transferred::default());
        let receiving = receive(&mut to, target, &offer, &plain, &watch, &cancel, &mut got);
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

/// Leaves a partial and its journal as a transfer of `offer` that was killed would.
fn leave(world: &World, offer: &Offer, bytes: &[u8], journal: &[u8]) {
    let made = world.target(offer);
    let file = world.part().with_extension("journal");
    let begun = std::fs::read(&file).unwrap_or_default();
    drop(made);
    for (path, bytes) in [(world.part(), bytes.to_vec()), (file, [&begun, journal].concat())] {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
}

#[test]
fn zeros_replace_what_a_crash_kept_without_a_note() {
    for sparse in [false, true] {
        let world = World::new();
        let file = std::fs::File::create(world.path("source")).unwrap();
        if sparse {
            file.set_len(4 * C).unwrap();
        } else {
            std::fs::write(world.path("source"), vec![0; 4 * CHUNK]).unwrap();
        }
        let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
        // What was rebuilt wrongly from a file that changed is on the disk, and what tells of it not.
        leave(&world, source.offer(), &vec![9; 3 * CHUNK], &2_u64.to_le_bytes());
        world.transfer(&mut source, None).1.unwrap();
        world.assert_copied();
    }
}

#[test]
fn a_small_file_in_between_does_not_get_into_a_large_one() {
    let world = World::new();
    std::fs::write(world.path("source"), vec![0; 4 * CHUNK]).unwrap();
    let mut large = Source::open(&world.path("source"), Preserve::default()).unwrap();
    leave(&world, large.offer(), &vec![0; 2 * CHUNK], &[0; 8]);
    std::fs::write(world.path("small"), b"small").unwrap();
    let small = Source::open(&world.path("small"), Preserve::default()).unwrap();
    let begun = world.target(small.offer());
    assert!(!world.part().with_extension("journal").exists());
    drop(begun);
    std::fs::remove_file(world.path("small")).unwrap();
    world.transfer(&mut large, None).1.unwrap();
    world.assert_copied();
}
