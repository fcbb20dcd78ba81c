//! Everything odd that a directory may have.

use super::*;
use crate::metadata::acl::{self, Raw};
use crate::metadata::subject::Subject;
use lariat_wire::protocol::metadata::Preserve;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The walk does not read the ACL of a file whose mode it could not widen: the reader finds it.
#[test]
fn an_acl_that_leaves_the_mode_is_reported_when_its_file_is_sent() {
    let world = World::new();
    let small = world.file("small", "text");
    let large = world.file("sub/large", vec![7; 200_000]);
    world.file("without", "text");
    let raw = |tag, perm, id| Raw { tag, perm, id };
    let none = u32::MAX;
    let entries = [
        raw(1, 6, none),
        raw(2, 4, 65_534),
        raw(4, 4, none),
        raw(0x10, 4, none),
        raw(0x20, 4, none),
    ];
    for path in [&small, &large] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
        let set = acl::compare(
            Subject::new(&std::fs::File::open(path).unwrap()),
            acl::ACCESS,
            &acl::encode(&entries),
            true,
        );
        if set.is_err() {
            // The file system has no ACLs.
            return;
        }
    }
    let outcome = world.copied();
    world.assert_same();
    for notes in [&outcome.sender, &outcome.receiver] {
        assert_eq!(*notes.skipped.borrow(), ["ACL of small", "ACL of sub/large"]);
    }
    assert_eq!(outcome.sent.unwrap().files, 3);
    assert_eq!(world.copied().counts.sent, 0);
}

#[test]
fn a_tree_of_everything_odd_is_the_same_afterwards() {
    let options = TreeOptions {
        hard_links: true,
        preserve: Preserve { xattrs: true, owner: true, special: true, acls: true },
        ..TreeOptions::default()
    };
    let world = World::with(options);
    world.file("empty", "");
    world.file("deep/er/and/deeper/file", "deep");
    std::fs::create_dir(world.source("empty directory")).unwrap();
    for name in [&b"\xff\xfe not utf-8"[..], b"new\nline", b"-rf", b"...", b" ", b"\x1b[31m"] {
        std::fs::write(world.source("").join(OsStr::from_bytes(name)), name).unwrap();
    }
    std::fs::write(world.source("").join("x".repeat(255)), "long").unwrap();
    symlink("../nowhere", world.source("dangling")).unwrap();
    symlink("/etc/passwd", world.source("absolute")).unwrap();
    symlink("deep/er", world.source("to a directory")).unwrap();
    set_mtime(&world.source("dangling"), 5, 6);
    for size in [1, 4096, 131_072, 131_073, 524_288, 524_289, 3_000_000] {
        let content: Vec<u8> = (0..size).map(|i: u32| (i % 251).to_le_bytes()[0]).collect();
        world.file(&format!("sizes/{size}"), content);
    }
    let sparse = std::fs::File::create(world.source("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    let one = world.file("one", "two names");
    std::fs::hard_link(&one, world.source("two")).unwrap();
    std::fs::hard_link(&one, world.source("deep/three")).unwrap();
    for (name, mode) in [("one", 0o400), ("empty", 0o6755), ("deep", 0o1755), ("deep/er", 0o500)] {
        std::fs::set_permissions(world.source(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    set_mtime(&world.source("sizes/1"), 1, 999_999_999);
    set_mtime(&world.source("sizes/4096"), -1, 1);
    set_mtime(&world.source("sizes"), 1_000_000_000, 123_456_789);
    set_mtime(&world.source("empty directory"), 1_000_000_000, 1);
    set_mtime(&world.source(""), 1_000_000_001, 1);
    let flags = rustix::fs::XattrFlags::empty();
    let xattrs = rustix::fs::setxattr(world.source("sparse"), "user.a", b"1\0", flags).is_ok();

    let outcome = world.copied();
    world.assert_same();
    assert_eq!(outcome.sent.unwrap().files, 20);
    let inode = |name: &str| world.dest(name).metadata().unwrap().ino();
    assert!(inode("one") == inode("two") && inode("one") == inode("deep/three"));
    assert!(world.dest("sparse").metadata().unwrap().blocks() < 1000);
    if xattrs {
        let mut value = [0; 9];
        let len = rustix::fs::getxattr(world.dest("sparse"), "user.a", &mut value[..]).unwrap();
        assert_eq!(&value[..len], b"1\0");
    }
    // Once more, nothing is sent, and nothing changes.
    let before = described(&world.dest(""));
    let again = world.copied();
    assert_eq!((again.counts.sent, again.counts.moved), (0, 0));
    assert_eq!(described(&world.dest("")), before);
}

#[test]
fn setuid_setgid_and_sticky_stay_behind_unless_asked_for() {
    let world = World::new();
    let file = world.file("directory/file", "x");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o6755)).unwrap();
    std::fs::set_permissions(world.source("directory"), PermissionsExt::from_mode(0o3777)).unwrap();
    world.copied();
    let mode = |name: &str| world.dest(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("directory/file"), mode("directory")), (0o755, 0o777));
}

#[test]
fn what_is_no_file_is_passed_over_and_told() {
    let world = World::with(TreeOptions { delete: true, ..TreeOptions::default() });
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, world.source("fifo"), mode).unwrap();
    std::fs::create_dir(world.dest("")).unwrap();
    std::fs::write(world.dest("fifo"), "stays").unwrap();
    let outcome = world.copied();
    assert_eq!(*outcome.sender.skipped.borrow(), ["fifo"]);
    assert_eq!(std::fs::read(world.dest("fifo")).unwrap(), b"stays");
}

#[test]
fn many_directories_and_many_files_in_one() {
    let world = World::new();
    for directory in 0..300 {
        world.file(&format!("{directory}/a/b"), directory.to_string());
    }
    for file in 0..3000 {
        world.file(&format!("many/{file}"), vec![7; file % 700]);
    }
    let settled = world.copied().received.unwrap();
    assert_eq!(settled.files, 3300);
    world.assert_same();
}

#[test]
fn a_file_that_can_t_be_read_stops_no_other() {
    if rustix::process::geteuid().is_root() {
        // Root may read everything; a path that is too long can't be read by anybody.
        let world = World::new();
        let (deep, mut path) = ("d".repeat(250), String::new());
        let root = std::fs::File::open(world.source("")).unwrap();
        let mut directory = root;
        while path.len() < 4096 {
            rustix::fs::mkdirat(&directory, &deep, rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY;
            let mode = rustix::fs::Mode::empty();
            directory = rustix::fs::openat(&directory, &deep, flags, mode).unwrap().into();
            path = format!("{path}/{deep}");
        }
        world.file("z", "last");
        let outcome = world.copy();
        assert!(outcome.sent.is_ok());
        let missed = outcome.sender.missed.borrow();
        assert!(missed.len() == 1 && missed[0].0.contains("file name too long"), "{missed:?}");
        assert_eq!(std::fs::read(world.dest("z")).unwrap(), b"last");
        return;
    }
    let world = World::new();
    let file = world.file("a", "secret");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    world.file("b", "open");
    let outcome = world.copy();
    assert!(outcome.sent.is_ok());
    assert_eq!(outcome.sender.missed.borrow().len(), 1);
    assert_eq!(names(&world.dest("")), ["b"]);
}
