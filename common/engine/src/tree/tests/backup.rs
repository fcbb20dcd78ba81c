//! What `--backup` keeps of a directory, and that `--delete` does not take it.

use super::*;
use ChangeKind::{Change, Delete};

#[test]
fn a_replaced_file_is_kept_if_asked_for() {
    let mut world = World::new();
    world.file("a", "new one");
    std::fs::create_dir(world.dest("")).unwrap();
    std::fs::write(world.dest("a"), "old").unwrap();
    world.overrides.backup = true;
    world.copied();
    assert_eq!(std::fs::read(world.dest("a~")).unwrap(), b"old");
    assert_eq!(std::fs::read(world.dest("a")).unwrap(), b"new one");
}

#[test]
fn a_backup_is_safe_from_delete_and_what_that_removes_becomes_one() {
    let mut world = World::new();
    world.file("a", "new one");
    std::fs::create_dir_all(world.dest("old directory")).unwrap();
    for (name, content) in [("a", "old"), ("a~", "older"), ("b~", "kept"), ("old directory/c", "c")]
    {
        std::fs::write(world.dest(name), content).unwrap();
    }
    std::fs::create_dir(world.dest("empty")).unwrap();
    symlink("x", world.dest("link")).unwrap();
    (world.overrides.backup, world.options.delete, world.options.dry_run) = (true, true, true);
    let mut told = world.copied().told();
    // Its time may be that of the source by chance.
    told.retain(|(kind, _)| *kind != ChangeKind::Touch);
    let root = world.dest("").to_str().unwrap().trim_end_matches('/').to_owned();
    // A directory in which a backup stays is not deleted.
    let expected =
        [(Change, "/a"), (Delete, "/empty"), (Delete, "/link"), (Delete, "/old directory/c")];
    assert_eq!(told, expected.map(|(kind, name)| (kind, format!("{root}{name}"))));
    world.options.dry_run = false;
    for _ in 0..2 {
        world.copied();
        assert_eq!(names(&world.dest("")), ["a", "a~", "b~", "link~", "old directory"]);
        assert_eq!(names(&world.dest("old directory")), ["c~"]);
        assert_eq!(std::fs::read(world.dest("a~")).unwrap(), b"old");
    }
    world.overrides.backup = false;
    world.copied();
    world.assert_same();
}

#[test]
fn what_makes_room_is_kept_if_asked_for() {
    let mut world = World::new();
    world.file("was a file/x", "x");
    world.file("was a directory", "x");
    let first = world.file("first", "x");
    std::fs::hard_link(first, world.source("second")).unwrap();
    symlink("x", world.source("link was a file")).unwrap();
    symlink("x", world.source("link was a directory")).unwrap();
    for directory in ["was a directory", "link was a directory", "second"] {
        std::fs::create_dir_all(world.dest(directory).join("full")).unwrap();
        // A directory does not replace a file by itself.
        std::fs::write(world.dest(&format!("{directory}~")), "older").unwrap();
    }
    for file in ["was a file", "link was a file"] {
        std::fs::write(world.dest(file), "old").unwrap();
    }
    world.overrides.backup = true;
    (world.options.delete, world.options.hard_links) = (true, true);
    world.copied();
    for directory in ["was a directory~", "link was a directory~", "second~"] {
        assert_eq!(names(&world.dest(directory)), ["full"], "{directory}");
    }
    for file in ["was a file~", "link was a file~"] {
        assert_eq!(std::fs::read(world.dest(file)).unwrap(), b"old", "{file}");
    }
    assert_eq!(std::fs::read(world.dest("was a directory")).unwrap(), b"x");
    assert_eq!(std::fs::read(world.dest("was a file/x")).unwrap(), b"x");

    // A directory that was kept is not given up for another one.
    std::fs::remove_file(world.dest("was a directory")).unwrap();
    std::fs::create_dir_all(world.dest("was a directory/newer")).unwrap();
    let outcome = world.copy();
    let missed = outcome.sender.missed.borrow().clone();
    assert!(missed.iter().any(|(what, _)| what.contains("was a directory~")), "{missed:?}");
    assert_eq!(names(&world.dest("was a directory~")), ["full"]);
    assert_eq!(names(&world.dest("was a directory")), ["newer"]);
}

/// What is equal is not replaced, and what an earlier backup has is not given up for it.
#[test]
fn what_is_equal_already_is_not_backed_up_again() {
    let options = TreeOptions { hard_links: true, ..TreeOptions::default() };
    let mut world = World::with(options);
    world.overrides.backup = true;
    for (name, size) in [("small", 10), ("large", 700_000), ("same", 20)] {
        world.file(name, vec![7; size]);
    }
    std::fs::hard_link(world.source("same"), world.source("the same")).unwrap();
    std::fs::create_dir(world.dest("")).unwrap();
    let all = ["small", "large", "same", "the same"];
    for name in all {
        std::fs::write(world.dest(name), "precious").unwrap();
    }
    world.copied();
    let inode = |name: &str| world.dest(name).metadata().unwrap().ino();
    let before = all.map(inode);
    for secs in [5, 6] {
        // Only its time tells that it may be another one.
        all.iter().for_each(|name| set_mtime(&world.source(name), secs, 0));
        world.copied();
        world.assert_backups(&all);
        assert_eq!(all.map(inode), before);
        for name in all {
            let is = world.dest(name).metadata().unwrap();
            assert_eq!((is.mtime(), is.mtime_nsec()), (secs, 0), "{name}");
        }
    }
    // Equal names that become one file are worth no backup, and neither is another mode.
    std::fs::remove_file(world.dest("the same")).unwrap();
    std::fs::copy(world.dest("same"), world.dest("the same")).unwrap();
    for name in all {
        std::fs::set_permissions(world.source(name), PermissionsExt::from_mode(0o600)).unwrap();
        set_mtime(&world.source(name), 7, 0);
    }
    world.copied();
    world.assert_backups(&all);
    assert_eq!(inode("same"), inode("the same"));
    assert_eq!(world.dest("large").metadata().unwrap().mode() & 0o777, 0o600);
}

impl World {
    fn assert_backups(&self, names: &[&str]) {
        for name in names {
            let kept = std::fs::read(self.dest(&format!("{name}~"))).unwrap();
            assert_eq!(kept, b"precious", "{name}");
        }
    }
}
