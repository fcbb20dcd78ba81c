//! Whole transfers over a good wire.

use super::*;
use lariat_wire::protocol::transfer::ModeChange;

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
    let mut source = Source::open(&path, Preserve::default()).unwrap();
    world.transfer(&mut source, None).1.unwrap();
    let dest = world.path("dest").metadata().unwrap();
    assert_eq!(dest.mode() & 0o7777, 0o751);
    assert_eq!(dest.modified().unwrap(), before_1970);
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
        assert!(!world.path("dest").exists());
        // What arrived is not thrown away.
        let mut again = Source::open(&world.path("source"), Preserve::default()).unwrap();
        let sent = world.transfer(&mut again, None).0.unwrap();
        assert!(sent.sent <= C, "{shrink} {sent:?}");
        world.assert_copied();
    }
}

#[test]
fn a_source_that_only_grew_arrives_as_it_was_when_it_was_opened() {
    for size in [0, 1, C - 7, C, 3 * C, 3 * C + 5] {
        let world = World::new();
        let mut source = world.source(size, 1);
        let was = std::fs::read(world.path("source")).unwrap();
        let log = || std::fs::File::options().append(true).open(world.path("source")).unwrap();
        std::io::Write::write_all(&mut log(), b"one more line\n").unwrap();
        let (sent, received) = world.transfer(&mut source, None);
        assert_eq!((sent.unwrap().size, received.unwrap().size), (size, size));
        assert!(std::fs::read(world.path("dest")).unwrap() == was, "{size}");
        // The next time it is whole.
        let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
        world.transfer(&mut source, None).1.unwrap();
        world.assert_copied();
    }
}

#[test]
fn changes_beside_the_content_of_a_source_are_no_harm() {
    let world = World::new();
    let mut source = world.source(3 * C, 1);
    std::fs::hard_link(world.path("source"), world.path("name")).unwrap();
    std::fs::set_permissions(world.path("name"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(world.path("name"), world.path("other")).unwrap();
    world.transfer(&mut source, None).1.unwrap();
    let read = |name| std::fs::read(world.path(name)).unwrap();
    assert!(read("source") == read("dest"));
}

#[test]
fn a_source_that_grew_after_it_was_written_over_is_another() {
    // Its beginning is read and sent before somebody writes there.
    struct Writes(PathBuf);
    impl Progress for Writes {
        fn begin(&self, _: Option<u64>, _: u64) {}
        fn moved(&self, _: u64) {
            let mut bytes = std::fs::read(&self.0).unwrap();
            bytes[0] ^= 1;
            bytes.push(0);
            std::fs::write(&self.0, bytes).unwrap();
        }
    }
    let world = World::new();
    let mut source = world.source(3 * C, 1);
    let (target, offer) = (world.target(source.offer()), source.offer().clone());
    let (a, b) = duplex(1 << 16);
    let (mut from, mut to) = (Link::new(a), Link::new(b));
    let (sent, received) = block_on(async {
        let sending = async {
            let (never, mut sent, how) =
                (Cancel::default(), Transferred::default(), Sending::default());
            let writes = Writes(world.path("source"));
            let done = send(&mut from, &mut source, how, &writes, &never, &mut sent).await;
            drop(from);
            done
        };
        let (never, plain, mut got) = (Cancel::default(), plain(&offer), Transferred::default());
        let receiving = receive(&mut to, target, &offer, &plain, &Unwatched, &never, &mut got);
        tokio::join!(sending, receiving)
    });
    let changed = |failure: &Failure| failure.cause == Cause::SourceChanged;
    assert!(matches!(&sent, Err(TransferError::Local(failure)) if changed(failure)), "{sent:?}");
    assert!(received.is_err() && !world.path("dest").exists());
}

#[test]
fn a_directory_that_was_removed_meanwhile_is_called_that() {
    let world = World::new();
    let mut source = world.source(10, 1);
    std::fs::create_dir(world.path("directory")).unwrap();
    let dest = Destination { path: b"directory/dest".to_vec(), name: b"source".to_vec() };
    let place = Place::resolve(world.directory.path(), &dest).unwrap();
    let opened = Opened::open(place, World::owner(), source.offer(), Busy::Refuse, false).unwrap();
    std::fs::remove_dir_all(world.path("directory")).unwrap();
    let target = Target::File(Box::new(opened));
    let (how, overrides) = (Sending::default(), ResolvedOverrides::default());
    let (_, received) = World::transfer_into(target, &mut source, None, how, &overrides);
    let gone = Cause::Os(rustix::io::Errno::NOENT.raw_os_error());
    assert!(
        matches!(&received, Err(TransferError::Local(failure)) if failure.cause == gone),
        "{received:?}"
    );
}

#[test]
fn only_regular_files_are_read_or_replaced() {
    let world = World::new();
    let fifo = world.path("dest");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    assert!(
        matches!(Source::open(&fifo, Preserve::default()), Err(f) if matches!(f.cause, Cause::NotAFile(_)))
    );
    assert!(
        matches!(Source::open(world.directory.path(), Preserve::default()), Err(f) if matches!(f.cause, Cause::NotAFile(_)))
    );
    assert!(
        matches!(Source::open(Path::new("/dev/null"), Preserve::default()), Err(f) if matches!(f.cause, Cause::NotAFile(_)))
    );
    let source = world.source(1, 1);
    let opened = Opened::open(world.place(), World::owner(), source.offer(), Busy::Refuse, false);
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
fn a_file_of_text_is_compressed_and_counted_truly() {
    let world = World::new();
    std::fs::write(world.path("source"), b"all work and no play ".repeat(200_000)).unwrap();
    let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
    let how = Sending { compress: true, rate: None, hash: false };
    let (sent, received) =
        world.transfer_with(&mut source, None, how, &ResolvedOverrides::default());
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
    let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
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
        let (how, mut sent) = (Sending::default(), Transferred::default());
        let sending = send(&mut from, &mut source, how, &Unwatched, &never, &mut sent);
        let (plain, mut got) = (plain(&offer), Transferred::default());
        let other = Cancel::default();
        let receiving = receive(&mut to, target, &offer, &plain, &Unwatched, &other, &mut got);
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
    let how = Sending { compress: false, rate: Some(4 * C), hash: false };
    let began = std::time::Instant::now();
    world.transfer_with(&mut source, None, how, &ResolvedOverrides::default()).0.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
}

#[test]
fn mode_and_backup_as_asked() {
    let world = world_with_dest(b"old");
    let mut source = world.source(10, 1);
    let overrides = ResolvedOverrides {
        mode: Some(ModeChange::exactly(0o604)),
        backup: true,
        ..ResolvedOverrides::default()
    };
    world.transfer_with(&mut source, None, Sending::default(), &overrides).1.unwrap();
    assert_eq!(world.path("dest").metadata().unwrap().mode() & 0o7777, 0o604);
    assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"old");
}
