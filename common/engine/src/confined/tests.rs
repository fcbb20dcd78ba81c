//! Attempts to get out.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::symlink;

fn root() -> (tempfile::TempDir, Dir) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(directory.path().join("outside")).unwrap();
    std::fs::write(directory.path().join("outside/secret"), "secret").unwrap();
    let root = Dir::open(&root).unwrap();
    (directory, root)
}

#[test]
fn a_path_stays_below_and_follows_no_link() {
    let (directory, root) = root();
    let at = |name: &str| directory.path().join("root").join(name);
    std::fs::create_dir_all(at("a/b")).unwrap();
    symlink("b", at("a/inside")).unwrap();
    symlink("../outside", at("up")).unwrap();
    symlink(directory.path().join("outside"), at("absolute")).unwrap();
    assert!(root.enter(b"a/b").is_ok() && root.enter(b"").is_ok());
    for bad in [
        &b"a/inside"[..],
        b"up",
        b"absolute",
        b"up/x",
        b"..",
        b"a/../a",
        b"a/b/../../..",
        b"/",
        b"/etc",
        b"a//b",
        b"a/",
        b"./a",
        b"a\0b",
    ] {
        assert!(root.enter(bad).is_err(), "{}", bad.escape_ascii());
    }
    assert!(root.enter(&b"a/".repeat(2100)).is_err());
}

#[test]
fn names_are_one_component_for_everything_that_is_done_with_them() {
    let (directory, root) = root();
    symlink("../outside/secret", directory.path().join("root/link")).unwrap();
    assert!(root.open_file(b"link").is_err());
    let file = root.create_file(b"good").unwrap();
    for bad in [&b""[..], b".", b"..", b"../outside/secret", b"a/b", b"a\0", &[b'x'; 256]] {
        assert!(root.open_file(bad).is_err() && root.create_file(bad).is_err());
        assert!(root.stat(bad).is_err() && root.read_link(bad).is_err());
        assert!(root.make_directory(bad).is_err() && root.make_link(bad, b"x").is_err());
        assert!(root.remove(bad).is_err() && root.remove_directory(bad).is_err());
        assert!(root.rename(b"good", bad).is_err() && root.rename(bad, b"good").is_err());
        assert!(root.rename_new(b"good", bad).is_err() && root.name_file(&file, bad).is_err());
        assert!(root.link(bad, &root, b"good").is_err());
        assert!(root.link(b"new", &root, bad).is_err());
        assert!(root.set_owner(bad, None, None).is_err());
    }
    assert_eq!(std::fs::read(directory.path().join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn a_nameless_file_gets_a_name_that_is_free_and_no_other() {
    let (directory, root) = root();
    let Ok(file) = root.create_nameless() else { return };
    io::Write::write_all(&mut &file, b"text").unwrap();
    root.name_file(&file, b"name").unwrap();
    assert_eq!(std::fs::read(directory.path().join("root/name")).unwrap(), b"text");
    let taken = root.name_file(&root.create_nameless().unwrap(), b"name").unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    let taken = root.rename_new(b"name", b"name2").and_then(|()| {
        root.create_file(b"name").unwrap();
        root.rename_new(b"name", b"name2")
    });
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn names_come_sorted_by_bytes_and_without_the_dots() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, root) = root();
    for name in [&b"b"[..], b"a", b"\xff", b"a-", b"B", b"..."] {
        let name = std::ffi::OsStr::from_bytes(name);
        std::fs::write(directory.path().join("root").join(name), "").unwrap();
    }
    let mut names = root.names().unwrap();
    names.sort();
    assert_eq!(names.iter().collect::<Vec<_>>(), [&b"..."[..], b"B", b"a", b"a-", b"b", b"\xff"]);
}

proptest! {
    #[test]
    fn no_path_leads_out(path in "[a./\\x00-]{0,20}") {
        let (_directory, root) = root();
        if let Ok(entered) = root.enter(path.as_bytes()) {
            let (root, entered) = (root.stat_self().unwrap(), entered.stat_self().unwrap());
            prop_assert_eq!((root.st_dev, root.st_ino), (entered.st_dev, entered.st_ino));
        }
    }
}
