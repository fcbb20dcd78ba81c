//! Files that wait for their names: nobody takes them away meanwhile, and none is left.

use super::*;
use crate::file::temporary::{self, PartialNames, TreeNames};
use rustix::fs::FlockOperation;

/// Bytes that do not fit a pack.
const LARGE: usize = 700_000;

fn temporary_in(directory: &Path) -> Vec<String> {
    let is_temporary = |name: &String| temporary::is_temporary(name.as_bytes(), false);
    names(directory).into_iter().filter(is_temporary).collect()
}

/// The name under which a file of `dest` waits.
fn staged(world: &World, name: &str) -> String {
    let root = rustix::fs::stat(world.dest("")).unwrap();
    let names = TreeNames::of_root(World::owner(), &root);
    String::from_utf8(names.staged(name.as_bytes())).unwrap()
}

fn locked(world: &World) -> TreeArrival {
    let mut arrival = world.arrival(world.open().root().clone());
    arrival.target.lock().unwrap();
    arrival
}

#[test]
fn what_waits_for_its_name_is_not_swept_however_old_its_content_is() {
    for lock in [false, true] {
        let world = World::new();
        std::fs::create_dir(world.dest("")).unwrap();
        for name in ["a", "b"] {
            set_mtime(&world.file(name, "new"), 1_000_000, 0);
            std::fs::write(world.dest(name), "old one").unwrap();
        }
        world.file("z", vec![7; LARGE]);
        let outcome = if lock { world.copy_into(locked(&world)) } else { world.copied() };
        assert!(outcome.received.is_ok() && outcome.sender.missed.borrow().is_empty());
        world.assert_same();
    }
}

#[test]
fn what_a_killed_attempt_left_goes_with_the_next_one_also_where_the_source_has_nothing() {
    let world = World::new();
    world.file("a", "new");
    std::fs::create_dir_all(world.dest("not in the source")).unwrap();
    std::fs::write(world.dest("a"), "old one").unwrap();
    let root = rustix::fs::stat(world.dest("")).unwrap();
    let marker = TreeNames::of_root(World::owner(), &root).marker();
    std::fs::write(world.dest(str::from_utf8(&marker).unwrap()), "").unwrap();
    std::fs::write(world.dest(&staged(&world, "a")), "half").unwrap();
    symlink("x", world.dest(&staged(&world, "link"))).unwrap();
    let inside = world.dest("not in the source").join(staged(&world, "b"));
    std::fs::write(inside, "left").unwrap();
    assert!(world.copy_into(locked(&world)).received.is_ok());
    assert_eq!(names(&world.dest("")), ["a", "not in the source"]);
    assert_eq!(names(&world.dest("not in the source")), [""; 0]);
    assert_eq!(std::fs::read(world.dest("a")).unwrap(), b"new");
    // The root has its time in spite of what was in it.
    assert_eq!(described(&world.source(""))[0], described(&world.dest(""))[0]);
}

#[test]
fn without_a_marker_the_same_name_takes_up_what_was_left() {
    let world = World::new();
    world.file("a", "new");
    std::fs::create_dir(world.dest("")).unwrap();
    std::fs::write(world.dest("a"), "old one").unwrap();
    std::fs::write(world.dest(&staged(&world, "a")), "left").unwrap();
    assert!(world.copy_into(locked(&world)).received.is_ok());
    world.assert_same();
}

#[test]
fn however_it_ends_nothing_is_left_under_a_temporary_name() {
    for cancel in [false, true] {
        let mut world = World::new();
        std::fs::create_dir(world.dest("")).unwrap();
        for file in 0..100 {
            let mut content = vec![0; 10_000];
            blake3::Hasher::new().update(&[file]).finalize_xof().fill(&mut content);
            world.file(&format!("{file:02}"), content);
            std::fs::write(world.dest(&format!("{file:02}")), "old").unwrap();
        }
        if cancel {
            let arrival = locked(&world);
            let never = Cancel::default();
            never.cancel(Cause::Stopping);
            let (a, _peer) = duplex(1 << 16);
            let mut link = Link::new(a);
            let (notes, mut counts) = (Notes::default(), Counts::default());
            let done = block_on(async {
                let work = receive_tree(&mut link, arrival, &notes, &never, &mut counts);
                tokio::time::timeout(std::time::Duration::from_secs(20), work).await
            });
            assert!(done.unwrap().is_err());
        } else {
            world.cut = Some(600_000);
            assert!(world.copy_into(locked(&world)).received.is_err());
            let replaced = |name: &String| std::fs::read(world.dest(name)).unwrap() != b"old";
            assert!(names(&world.dest("")).iter().filter(|name| replaced(name)).count() > 30);
        }
        assert_eq!(temporary_in(&world.dest("")), [""; 0]);
    }
}

#[test]
fn delete_takes_a_directory_with_what_was_left_in_it_but_not_what_is_in_use() {
    let world = World::with(TreeOptions { delete: true, ..TreeOptions::default() });
    world.file("a", "x");
    let another = Owner { key: KeyId([9; 16]), ..World::owner() };
    let fill = || {
        std::fs::create_dir_all(world.dest("gone/below")).unwrap();
        for owner in [World::owner(), another] {
            let names = PartialNames::of(b"file", owner);
            std::fs::write(world.dest("gone/below").join(names.part), "part").unwrap();
            std::fs::write(world.dest("gone/below").join(names.journal), "journal").unwrap();
        }
        std::fs::write(world.dest("gone").join(staged(&world, "x")), "left").unwrap();
        // No file of ours, whatever its name is.
        let odd = ".lariat-00112233445566778899aabbccddeeff.part";
        std::fs::create_dir(world.dest("gone").join(odd)).unwrap();
    };
    fill();
    world.copied();
    assert_eq!(names(&world.dest("")), ["a"]);

    fill();
    let part = world.dest("gone/below").join(PartialNames::of(b"file", another).part);
    let held = std::fs::File::open(&part).unwrap();
    rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
    let outcome = world.copy();
    let missed = outcome.sender.missed.borrow().clone();
    assert!(missed[0].0.contains("under way") && part.exists(), "{missed:?}");
    drop(held);
    world.copied();
    assert_eq!(names(&world.dest("")), ["a"]);

    // What another tree has staged above it or in it.
    fill();
    let nested = std::fs::File::open(world.dest("gone")).unwrap();
    rustix::fs::flock(&nested, FlockOperation::LockExclusive).unwrap();
    assert!(world.copy().sender.missed.borrow()[0].0.contains("under way"));
    assert!(world.dest("gone").join(staged(&world, "x")).exists());
}

#[test]
fn a_directory_of_a_temporary_file_s_name_is_copied_and_a_file_is_not() {
    let world = World::new();
    let name = ".lariat-00112233445566778899aabbccddeeff.part";
    world.file(&format!("{name}/a"), "x");
    world.file(".lariat-00112233445566778899aabbccddeeff.staged", "x");
    world.copied();
    assert_eq!(names(&world.dest("")), [name]);
}

/// Small files and large ones take the same ways: this is so for every kind of thing, and all sizes.
#[test]
fn whatever_is_in_a_file_s_way_gives_way_whatever_its_size() {
    for size in [1, 131_072, 131_073, LARGE, 3_000_000] {
        let world = World::with(TreeOptions { delete: true, ..TreeOptions::default() });
        std::fs::create_dir_all(world.dest("directory/full")).unwrap();
        std::fs::write(world.dest("directory/full/file"), "x").unwrap();
        std::fs::create_dir(world.dest("empty directory")).unwrap();
        std::fs::create_dir(world.dest("extra")).unwrap();
        symlink("extra", world.dest("link to a directory")).unwrap();
        symlink("looping link", world.dest("looping link")).unwrap();
        symlink("/dev/null", world.dest("link to a device")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, world.dest("fifo"), mode).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(world.dest("socket")).unwrap();
        let all = [
            "directory",
            "empty directory",
            "link to a directory",
            "looping link",
            "link to a device",
            "fifo",
            "socket",
        ];
        for (at, name) in all.iter().enumerate() {
            world.file(name, vec![u8::try_from(at).unwrap(); size]);
        }
        world.copied();
        world.assert_same();
        drop(socket);
    }
}

#[test]
fn without_delete_a_full_directory_stays_whatever_the_file_s_size() {
    for size in [1, LARGE] {
        let world = World::new();
        std::fs::create_dir_all(world.dest("directory/full")).unwrap();
        world.file("directory", vec![7; size]);
        let outcome = world.copy();
        assert!(outcome.sender.missed.borrow()[0].0.contains("directory"));
        assert_eq!(names(&world.dest("")), ["directory"]);
        assert_eq!(names(&world.dest("directory")), ["full"]);
    }
}

#[test]
fn a_directory_deeper_than_descriptors_go_is_removed() {
    let world = World::with(TreeOptions { delete: true, ..TreeOptions::default() });
    let mut path = world.dest("gone");
    std::fs::create_dir_all(&path).unwrap();
    for _ in 0..300 {
        path.push("d");
    }
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("file"), "x").unwrap();
    world.copied();
    assert_eq!(names(&world.dest("")), [""; 0]);
}
