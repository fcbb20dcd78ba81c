//! `--inplace` and ACLs, with the real binaries.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait::until;
use rustix::fs::XattrFlags;

const MIB: u64 = 1 << 20;

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn in_place_a_file_keeps_its_inode_and_only_what_differs_is_sent() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    fs::create_dir(&there).unwrap();
    let dest = there.join("dest");
    for (size, old) in [(5 * MIB, 6 * MIB), (6 * MIB, 5 * MIB + 3), (10, 3), (0, 10), (7, 7)] {
        random_file(&source, size, 1);
        random_file(&dest, old, 2);
        if size > MIB {
            let same = fs::read(&source).unwrap()[..4 << 20].to_vec();
            File::options().write(true).open(&dest).unwrap().write_all_at(&same, 0).unwrap();
        }
        let before = inode(&dest);
        let names = fs::read_dir(&there).unwrap().count();
        for args in [
            ["push", &text(&source), &remote(&dest), "--inplace", "--json"],
            ["pull", &remote(&source), &text(&dest), "--inplace", "--json"],
        ] {
            let told: serde_json::Value = serde_json::from_str(&fleet.ok(args)).unwrap();
            assert!(told["sent"].as_u64().unwrap() <= 2 * MIB + 4, "{told}");
            assert!(fs::read(&dest).unwrap() == fs::read(&source).unwrap(), "{size} {old}");
            assert_eq!((inode(&dest), fs::read_dir(&there).unwrap().count()), (before, names));
        }
    }
    fs::remove_file(&dest).unwrap();
    fleet.ok(["push", &text(&source), &remote(&dest), "--inplace"]);
    assert_eq!(fs::read(&dest).unwrap(), fs::read(&source).unwrap(), "without a file it is made");
}

#[test]
fn in_place_in_a_tree_small_files_and_large_ones_keep_their_inodes() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    for (root, seed) in [(&source, 1), (&dest, 2)] {
        fs::create_dir(root).unwrap();
        for (name, size) in [("small", 1000), ("middle", 300_000), ("large", 3 * MIB)] {
            random_file(&root.join(name), size + seed, seed);
        }
    }
    fs::write(source.join("new"), "x").unwrap();
    fs::write(dest.join("linked"), "old").unwrap();
    std::os::unix::fs::symlink("linked", dest.join("link")).unwrap();
    fs::write(source.join("link"), "a file now").unwrap();
    let names = ["small", "middle", "large"];
    let before = names.map(|name| inode(&dest.join(name)));
    let from = format!("{}/", text(&source));
    for _ in 0..2 {
        fleet.ok(["push", &from, &remote(&dest), "--inplace"]);
        assert_eq!(names.map(|name| inode(&dest.join(name))), before);
        for name in ["small", "middle", "large", "new", "link"] {
            let (is, was) = (fs::read(dest.join(name)), fs::read(source.join(name)));
            assert!(is.unwrap() == was.unwrap(), "{name}");
        }
        assert_eq!(fs::read(dest.join("linked")).unwrap(), b"old", "no link is followed");
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 6);
    }
}

#[test]
fn a_cut_in_place_says_that_the_file_is_a_mix_and_the_next_run_mends_it() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 8 * MIB, 1);
    random_file(&dest, 8 * MIB, 2);
    let mut push = fleet.lariat();
    push.args(["push", &text(&source), &remote(&dest), "--inplace", "--bwlimit", "4M"]);
    push.args(["--reconnect", "0"]);
    let push = push.stderr(Stdio::piped()).spawn().unwrap();
    let (old, mut now) = (fs::read(&dest).unwrap(), vec![0; 4096]);
    until("the beginning to be written", || {
        File::open(&dest).unwrap().read_exact_at(&mut now, 0).unwrap();
        (now[..] != old[..4096]).then_some(())
    });
    agent.kill_and_restart();
    let output = push.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255), "{error}");
    assert!(error.contains("mix of old and new"), "{error}");
    fleet.ok(["push", &text(&source), &remote(&dest), "--inplace"]);
    assert!(fs::read(&dest).unwrap() == fs::read(&source).unwrap());
    let error = fleet.fails(255, ["push", "a", "web1:b", "--inplace", "--backup"]);
    assert!(error.contains("--backup"), "{error}");
}

#[test]
fn what_can_t_be_replaced_can_be_written_in_place_and_the_error_says_so() {
    if !is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    let (source, dest) = (fleet.path("source"), directory.path().join("conf"));
    fs::write(&source, "new").unwrap();
    fs::write(&dest, "old").unwrap();
    chown(&dest, Some(65_534), None).unwrap();
    let args = ["push", &text(&source), &remote(&dest), "--user", "nobody"];
    let error = fleet.fails(255, args);
    assert!(error.contains("permission denied") && error.contains("--inplace"), "{error}");
    fleet.ok([&args[..], &["--inplace"]].concat());
    assert_eq!(fs::read(&dest).unwrap(), b"new");
    // The content of another user's file is written if the file is writable.
    chown(&dest, Some(0), None).unwrap();
    set_mode(&dest, 0o666);
    fs::write(&source, "newer").unwrap();
    fleet.ok([&args[..], &["--inplace"]].concat());
    assert_eq!((fs::read(&dest).unwrap(), dest.metadata().unwrap().uid()), (b"newer".to_vec(), 0));
}

/// An ACL in its binary form: owner rw, the user nobody by name, the group, the mask and others.
fn acl(named: u16, group: u16, mask: u16) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, perm, id) in
        [(1, 6, none), (2, named, 65_534), (4, group, none), (16, mask, none), (32, 0, none)]
    {
        bytes.extend_from_slice(&u16::to_le_bytes(tag));
        bytes.extend_from_slice(&u16::to_le_bytes(perm));
        bytes.extend_from_slice(&u32::to_le_bytes(id));
    }
    bytes
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let len = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

#[test]
fn acls_travel_when_asked_for_and_else_a_word_is_said_and_nobody_gets_more() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    fs::create_dir_all(source.join("in")).unwrap();
    for name in ["plain", "acl", "in/large"] {
        random_file(&source.join(name), if name == "in/large" { MIB } else { 10 }, 1);
        set_mode(&source.join(name), 0o600);
    }
    let flags = XattrFlags::empty();
    let set = |name: &str, which: &str, value: &[u8]| {
        rustix::fs::setxattr(source.join(name), which, value, flags)
    };
    if set("acl", ACCESS, &acl(6, 0, 6)).is_err() {
        // A file system without ACLs.
        return;
    }
    set("in/large", ACCESS, &acl(4, 0, 4)).unwrap();
    set("in", DEFAULT, &acl(7, 5, 7)).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode(&source.join("acl")), 0o660, "the mask is where the group's rights are");
    let from = format!("{}/", text(&source));

    let with = fleet.path("with");
    for _ in 0..2 {
        fleet.ok(["push", &from, &remote(&with), "-A"]);
        for name in ["acl", "in/large", "plain", "in"] {
            for which in [ACCESS, DEFAULT] {
                let (is, was) = (get(&with.join(name), which), get(&source.join(name), which));
                assert_eq!(is, was, "{name} {which}");
            }
            assert_eq!(mode(&with.join(name)), mode(&source.join(name)));
        }
    }
    rustix::fs::removexattr(source.join("acl"), ACCESS).unwrap();
    set_mode(&source.join("acl"), 0o600);
    fleet.ok(["push", &from, &remote(&with), "-A"]);
    assert_eq!((get(&with.join("acl"), ACCESS), mode(&with.join("acl"))), (None, 0o600));

    set("acl", ACCESS, &acl(6, 0, 6)).unwrap();
    let without = fleet.path("without");
    for verb in ["push", "pull"] {
        let args = match verb {
            "push" => [verb, &from, &remote(&without)],
            _ => [verb, &format!("{}/", remote(&source)), &text(&without)],
        };
        for _ in 0..2 {
            let output = fleet.run(args);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            assert_eq!(said.matches(" -A").count(), 1, "{said}");
            for name in ["acl", "in/large"] {
                assert_eq!(mode(&without.join(name)), 0o600, "{name}");
                assert_eq!(get(&without.join(name), ACCESS), None);
            }
        }
        fs::remove_dir_all(&without).unwrap();
    }

    let alone = fleet.path("alone");
    let output = fleet.run(["push", &text(&source.join("acl")), &remote(&alone)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.matches(" -A").count() == 1, "{said}");
    assert_eq!((mode(&alone), get(&alone, ACCESS)), (0o600, None));
    fleet.ok(["pull", &remote(&source.join("acl")), &text(&alone), "-A"]);
    assert_eq!(get(&alone, ACCESS), Some(acl(6, 0, 6)));
}

#[test]
fn extended_attributes_that_are_too_large_are_called_that() {
    let (fleet, _agent) = TestFleet::with_agent();
    let Ok(large) = tempfile::tempdir_in("/dev/shm") else { return };
    let source = large.path().join("source");
    fs::write(&source, "x").unwrap();
    let set = |name: &str, len| {
        rustix::fs::setxattr(&source, name, &vec![b'x'; len], XattrFlags::empty())
    };
    if set("user.a", 20_000).is_err() {
        return;
    }
    let dest = fleet.path("dest");
    if rustix::fs::statfs(fleet.path("")).unwrap().f_type == 0xef53 {
        let error = fleet.fails(255, ["push", &text(&source), &remote(&dest), "-X"]);
        assert!(error.contains("attributes are too large"), "{error}");
    }
    if set("user.b", 60_000).is_ok() {
        let error = fleet.fails(255, ["push", &text(&source), &remote(&dest), "-X"]);
        assert!(error.contains("attributes are too large"), "{error}");
    }
}

#[test]
fn a_reader_of_stdout_that_has_gone_is_no_error_to_tell() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    random_file(&source, 8 * MIB, 1);
    let mut pull = fleet.lariat();
    pull.args(["pull", &remote(&source), "-"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut pull = pull.spawn().unwrap();
    drop(pull.stdout.take());
    let output = pull.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{output:?}");
}
