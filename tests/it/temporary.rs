//! Temporary files with the real binaries: those in use are never removed, none stay that can't be continued,
//! other users get at none that they may not read, and `clean`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};

const NOBODY: u32 = 65_534;

/// A directory's path with a slash at its end, which stands for its contents.
fn content(path: &Path) -> String {
    format!("{}/", path.display())
}

fn temporary_in(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".lariat-")).collect()
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn until(mut state: impl FnMut() -> bool) {
    wait::until("what the test needs", || state().then_some(()));
}

#[test]
fn a_tree_does_not_sweep_away_its_own_files() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (s, q) = (fleet.path("s"), fleet.path("q"));
    std::fs::create_dir(&s).unwrap();
    std::fs::create_dir(&q).unwrap();
    std::fs::write(s.join("a"), "new").unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    File::options().write(true).open(s.join("a")).unwrap().set_modified(old).unwrap();
    std::fs::write(q.join("a"), "old").unwrap();
    random_file(&s.join("z"), 600_000, 1);
    fleet.ok(["push".to_owned(), content(&s), remote(&q)]);
    assert_eq!(std::fs::read(q.join("a")).unwrap(), b"new");
    assert_eq!(temporary_in(&q), [""; 0]);
}

#[test]
fn delete_takes_a_directory_with_an_abandoned_partial() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (s, q) = (fleet.path("s"), fleet.path("q"));
    std::fs::create_dir(&s).unwrap();
    std::fs::create_dir_all(q.join("gone")).unwrap();
    let part = ".lariat-00112233445566778899aabbccddeeff.part";
    std::fs::write(q.join("gone").join(part), "").unwrap();
    fleet.ok(["push".to_owned(), content(&s), remote(&q), "--delete".to_owned()]);
    assert!(!q.join("gone").exists());
}

#[test]
fn a_retry_after_a_lost_done_keeps_what_was_backed_up() {
    let (fleet, agent) = TestFleet::with_agent();
    for size in [5, 700_000] {
        let new = fleet.path(format!("new{size}"));
        random_file(&new, size, 1);
        let push =
            |dest: &Path| ["push".to_owned(), text(&new), remote(dest), "--backup".to_owned()];
        // How many bytes go towards the controller in all.
        let faulty = Faulty::start(agent.address, Fault::default());
        fleet.set_address("web1", faulty.address);
        let measured = fleet.path("dest.");
        std::fs::write(&measured, "precious").unwrap();
        fleet.ok(push(&measured));
        let whole = faulty.bytes_down();
        // Done is among the last bytes.
        for before_end in [1, 30, 60, 90] {
            let dest = fleet.path("dest0");
            std::fs::write(&dest, "precious").unwrap();
            let cut_down = Some(whole - before_end);
            let faulty = Faulty::start(agent.address, Fault { cut_down, ..Fault::default() });
            fleet.set_address("web1", faulty.address);
            let mut push = fleet.lariat().args(push(&dest)).stderr(Stdio::null()).spawn().unwrap();
            // What follows the cut, or the end, is let through.
            until(|| faulty.accepted() > 1 || push.try_wait().unwrap().is_some());
            faulty.set(Fault::default());
            assert!(push.wait().unwrap().success());
            assert_eq!(std::fs::read(&dest).unwrap(), std::fs::read(&new).unwrap());
            let kept = std::fs::read(fleet.path("dest0~")).unwrap();
            assert_eq!(kept, b"precious", "{size} bytes, {before_end} before the end");
        }
    }
    fleet.set_address("web1", agent.address);
    let (c, n) = (fleet.path("c"), fleet.path("n"));
    std::fs::write(&c, "PRECIOUS").unwrap();
    std::fs::write(&n, "new").unwrap();
    for _ in 0..2 {
        fleet.ok(["push", &text(&n), &remote(&c), "--backup"]);
        fleet.ok(["pull", &remote(&n), &text(&c), "--backup"]);
    }
    assert_eq!(std::fs::read(fleet.path("c~")).unwrap(), b"PRECIOUS");
}

/// Opens every temporary file as the user nobody until it is stopped; returns the descriptors that it got.
fn thief(directory: &Path, stop: &AtomicBool) -> Vec<File> {
    nix::unistd::setfsgid(NOBODY.into());
    nix::unistd::setfsuid(NOBODY.into());
    let mut got: Vec<File> = Vec::new();
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
    while !stop.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".lariat-") {
                let mut open = OpenOptions::new();
                for write in [true, false] {
                    let open = open.read(true).write(write).custom_flags(nofollow.cast_signed());
                    got.extend(open.open(entry.path()).ok());
                }
            }
        }
    }
    got
}

#[test]
fn who_had_the_replaced_file_never_gets_hold_of_the_new_one() {
    let (fleet, _agent) = TestFleet::with_agent();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (source, q) = (fleet.path("source"), fleet.path("q"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&q).unwrap();
    let names = ["small", "large"];
    random_file(&source.join("small"), 100, 1);
    random_file(&source.join("large"), 1_000_000, 2);
    // An ACL by which the user nobody may read and write.
    let list: Vec<u8> = [(1, 6, u32::MAX), (2, 6, NOBODY), (4, 4, u32::MAX), (16, 6, u32::MAX)]
        .into_iter()
        .chain([(32, 4, u32::MAX)])
        .fold(2_u32.to_le_bytes().to_vec(), |mut list, (tag, bits, id): (u16, u16, u32)| {
            list.extend_from_slice(&tag.to_le_bytes());
            list.extend_from_slice(&bits.to_le_bytes());
            list.extend_from_slice(&id.to_le_bytes());
            list
        });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thief = scope.spawn(|| thief(&q, &stop));
        let mut ends = Vec::new();
        for round in 0..24 {
            for name in names {
                let dest = q.join(name);
                let _ = std::fs::remove_file(&dest);
                std::fs::write(&dest, "old").unwrap();
                if round % 2 == 0 {
                    chown(&dest, Some(NOBODY), Some(NOBODY)).unwrap();
                } else {
                    let flags = rustix::fs::XattrFlags::empty();
                    let _ = rustix::fs::setxattr(&dest, "system.posix_acl_access", &list, flags);
                }
            }
            let given = ["--chown", "root:root", "--chmod", "600"];
            if round % 4 < 2 {
                fleet.ok([&["push", &content(&source), &remote(&q)][..], &given].concat());
            } else {
                for name in names {
                    let (from, to) = (text(&source.join(name)), remote(&q.join(name)));
                    fleet.ok([&["push", &from, &to][..], &given].concat());
                }
            }
            for name in names {
                let is = q.join(name).metadata().unwrap();
                assert_eq!((is.uid(), is.mode() & 0o777), (0, 0o600));
                // It stays open, so that no other file gets its inode number.
                ends.push(File::open(q.join(name)).unwrap());
            }
        }
        stop.store(true, Ordering::Relaxed);
        let got = thief.join().unwrap();
        let id = |file: &File| file.metadata().unwrap().ino();
        let ends: Vec<u64> = ends.iter().map(id).collect();
        let stolen = got.iter().filter(|file| ends.contains(&id(file))).count();
        assert_eq!(stolen, 0, "of {} that were opened", got.len());
    });
}

/// A directory whose files all replace others.
fn to_replace(fleet: &TestFleet) -> (PathBuf, PathBuf) {
    let (source, q) = (fleet.path("source"), fleet.path("q"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&q).unwrap();
    for file in 0..400 {
        random_file(&source.join(format!("{file:03}")), 4000, file);
    }
    make_old(&q);
    (source, q)
}

fn make_old(q: &Path) {
    for file in 0..400 {
        std::fs::write(q.join(format!("{file:03}")), "old").unwrap();
    }
}

fn start(fleet: &TestFleet, source: &Path, q: &Path, options: &[&str]) -> Child {
    let mut pull = fleet.interruptible();
    pull.args(["pull", &remote(source).replace("source", "source/"), &text(q)]);
    pull.args(["--bwlimit", "300K"]).args(options);
    pull.stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_pull_that_is_ended_leaves_nothing_and_keeps_what_came() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, q) = to_replace(&fleet);
    let left = || std::fs::read_dir(&q).unwrap().count();
    for (number, how) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let mut pull = start(&fleet, &source, &q, &[]);
        until(|| !temporary_in(&q).is_empty());
        signal(&pull, how);
        let status = pull.wait().unwrap();
        assert_eq!(status.code(), Some(128 + how.as_raw()), "{status}");
        assert_eq!(temporary_in(&q), [""; 0], "{number}");
        assert_eq!(left(), 400);
        make_old(&q);
    }
    // A busy machine may need all of a short limit to connect, so a longer one follows. At this rate all files take over
    // five seconds, so each limit ends the pull.
    let has_kept = |limit: &str| {
        let mut pull = start(&fleet, &source, &q, &["--timeout", limit]);
        assert_eq!(pull.wait().unwrap().code(), Some(124));
        assert_eq!(temporary_in(&q), [""; 0]);
        let files = std::fs::read_dir(&q).unwrap();
        files.filter(|file| file.as_ref().unwrap().metadata().unwrap().len() > 3).count() > 3
    };
    assert!(["2s", "3s", "4s", "5s"].into_iter().any(has_kept), "what came is kept");
}

#[test]
fn what_a_killed_pull_left_goes_with_the_next_one() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, q) = to_replace(&fleet);
    let mut pull = start(&fleet, &source, &q, &[]);
    until(|| temporary_in(&q).len() > 5);
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert!(temporary_in(&q).len() > 5);
    // The partials are of files that the source no longer has.
    for file in 0..200 {
        std::fs::remove_file(source.join(format!("{file:03}"))).unwrap();
    }
    fleet.ok(["pull", &format!("{}/", remote(&source)), &text(&q)]);
    assert_eq!(temporary_in(&q), [""; 0]);
}

#[test]
fn clean_removes_what_is_abandoned_and_says_how_much() {
    let (fleet, agent) = TestFleet::with_agent();
    let (big, there) = (fleet.path("big"), fleet.path("there"));
    random_file(&big, 4 << 20, 1);
    std::fs::create_dir_all(there.join("a/b")).unwrap();
    std::fs::create_dir(fleet.path("beside")).unwrap();
    symlink(fleet.path("beside"), there.join("link")).unwrap();
    let faulty = Faulty::start(agent.address, Fault { cut_up: Some(2 << 20), ..Fault::default() });
    fleet.set_address("web1", faulty.address);
    for dest in ["there/x", "there/a/b/y", "beside/z"] {
        let dest = remote(&fleet.path(dest));
        fleet.fails(255, ["push", &text(&big), &dest, "--reconnect", "0"]);
    }
    fleet.set_address("web1", agent.address);
    // A partial of another key, by its name.
    let others = ".lariat-00112233445566778899aabbccddeeff.part";
    std::fs::write(there.join(others), "12345").unwrap();
    // A partial in use.
    random_file(&big, 4 << 20, 2);
    let args = ["push", &text(&big), &remote(&there.join("used")), "--bwlimit", "1M"];
    let mut push = fleet.lariat().args(args).stderr(Stdio::null()).spawn().unwrap();
    until(|| temporary_in(&there).len() > 3);

    let clean = |options: &[&str]| -> serde_json::Value {
        let place = remote(&there);
        let args = [&["clean", &place, "--json"][..], options].concat();
        serde_json::from_str(&fleet.ok(args)).unwrap()
    };
    let dry = clean(&["--dry-run"]);
    assert_eq!(
        (&dry["host"], &dry["ok"], &dry["files"]),
        (&"web1".into(), &true.into(), &2.into())
    );
    assert!(dry["bytes"].as_u64().unwrap() > 1 << 20, "{dry}");
    let output = fleet.run(["clean", &remote(&there)]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.starts_with("web1: removed 2 "), "{told}");
    assert_eq!(clean(&[])["files"], 0);
    assert_eq!(temporary_in(&there.join("a/b")), [""; 0]);
    assert_eq!(temporary_in(&there).len(), 3, "another's, and the one in use with its journal");
    assert_eq!(temporary_in(&fleet.path("beside")).len(), 2);
    push.kill().unwrap();
    push.wait().unwrap();

    let nowhere = fleet.fails(255, ["clean", &remote(&fleet.path("nowhere"))]);
    assert!(nowhere.contains("nowhere") && nowhere.contains("no such file"), "{nowhere}");
}

#[test]
fn clean_goes_over_many_hosts_and_needs_the_verb_push() {
    let (fleet, agent) = TestFleet::with_agent();
    let _second = fleet.agent("web2");
    let there = fleet.path("there");
    std::fs::create_dir(&there).unwrap();
    let lines = fleet.ok(["clean", &format!("all:{}", there.display()), "--json"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let told = fleet.run(["clean", &format!("web1,web2:{}", there.display())]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("2 ok") && told.contains("0 abandoned partials"), "{told}");
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = std::fs::read_to_string(&keyring).unwrap();
    let line = text.lines().find(|line| line.starts_with("verbs")).unwrap();
    std::fs::write(&keyring, text.replace(line, "verbs = [\"run\", \"pull\"]")).unwrap();
    drop(agent);
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let refused = fleet.fails(255, ["clean", &remote(&there)]);
    assert!(refused.contains("not permitted to push"), "{refused}");
    let mode = there.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}
