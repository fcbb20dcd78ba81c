//! Sources that change or report a false size, and receivers without some rights, with the real binaries.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait::partial_reaches;

const MIB: u64 = 1 << 20;

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Changes a file again and again until `work` is done.
fn meanwhile<T>(mut change: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                change();
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program with a limit on the size of the files that it writes.
fn limited(bytes: u64, program: &Path) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--fsize={bytes}")).arg(program);
    command
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_nothing_dies_of_it() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let mut command = limited(2 * MIB, &binaries().lariatd);
    let listen = lariat_testing::agent::anywhere().to_string();
    command.arg("--config").arg(&config).args(["--listen", &listen]);
    let mut agent = Agent::spawn(command, config);
    fleet.set_address("web1", agent.address);

    let (large, tree) = (fleet.path("large"), fleet.path("tree"));
    random_file(&large, 3 * MIB, 1);
    let error = fleet.fails(255, ["push", &text(&large), &remote(&fleet.path("there"))]);
    assert!(error.contains("file too large"), "{error}");
    assert!(!fleet.path("there").exists());
    // A source whose size is known only at its end.
    let mut push = fleet.lariat();
    push.args(["push", "-", &remote(&fleet.path("there"))]).stdin(File::open(&large).unwrap());
    let push = push.output().unwrap();
    assert_eq!(push.status.code(), Some(255));
    assert!(String::from_utf8(push.stderr).unwrap().contains("file too large"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("small"), "x").unwrap();
    fs::hard_link(&large, tree.join("large")).unwrap();
    let error = fleet.run(["push", &format!("{}/", text(&tree)), &remote(&fleet.path("copy"))]);
    assert_eq!(error.status.code(), Some(255));
    assert_eq!(fs::read_dir(fleet.path("copy")).unwrap().count(), 1, "{error:?}");

    // A supervisor whose spool can't move to disk continues; its command has the system's default action.
    let output = fleet.run(["run", "web1", "--", "head -c 8000000 /dev/zero"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 8_000_000));
    let output = fleet.run(["run", "web1", "--", "exec head -c 8000000 /dev/zero > big"]);
    assert_eq!(output.status.code(), Some(128 + 25), "{output:?}");
    assert!(!agent.has_ended());

    let mut pull = limited(2 * MIB, &binaries().lariat);
    pull.env_clear().env("LARIAT_HOME", fleet.home()).stdin(Stdio::null());
    pull.arg("pull").arg(remote(&large)).arg(fleet.path("here"));
    let pull = pull.output().unwrap();
    let error = String::from_utf8(pull.stderr).unwrap();
    assert_eq!(pull.status.code(), Some(255), "{error}");
    assert!(error.contains("file too large") && !fleet.path("here").exists(), "{error}");
}

#[test]
fn a_growing_log_arrives_alone_and_in_a_tree() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    fs::create_dir(&source).unwrap();
    let (log, small) = (source.join("log"), source.join("small"));
    random_file(&log, 20 * MIB, 1);
    fs::write(&small, "begun\n").unwrap();
    let grow = || {
        for path in [&log, &small] {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"one more line\n").unwrap();
        }
    };
    let (copy, tree) = (fleet.path("copy"), fleet.path("tree"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("gone"), "x").unwrap();
    meanwhile(grow, || {
        for _ in 0..3 {
            fleet.ok(["pull", &remote(&log), &text(&copy)]);
            fleet.ok(["push", &text(&log), &remote(&copy)]);
        }
        let all = format!("{}/", text(&source));
        for _ in 0..3 {
            fleet.ok(["push", &all, &remote(&tree), "--delete"]);
        }
    });
    assert!(!tree.join("gone").exists(), "growth does not keep anything from being deleted");
    for (copy, log) in [(&copy, &log), (&tree.join("log"), &log), (&tree.join("small"), &small)] {
        let (copy, log) = (fs::read(copy).unwrap(), fs::read(log).unwrap());
        assert!(copy.len() > 6 && log.starts_with(&copy), "{} of {}", copy.len(), log.len());
    }
    fleet.ok(["pull", &remote(&log), &text(&copy)]);
    assert!(fs::read(&copy).unwrap() == fs::read(&log).unwrap());
}

#[test]
fn links_and_modes_of_a_source_under_way_may_change() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, other, dest) = (fleet.path("source"), fleet.path("other"), fleet.path("dest"));
    random_file(&source, 16 * MIB, 1);
    let mut mode = 0o600;
    let change = || {
        fs::hard_link(&source, &other).unwrap();
        set_mode(&source, mode);
        mode ^= 0o044;
        fs::rename(&other, fleet.path("again")).unwrap();
        fs::remove_file(fleet.path("again")).unwrap();
    };
    meanwhile(change, || {
        fleet.ok(["push", &text(&source), &remote(&dest)]);
        fleet.ok(["pull", &remote(&source), &text(&fleet.path("here"))]);
    });
    for copy in [dest, fleet.path("here")] {
        assert!(fs::read(copy).unwrap() == fs::read(&source).unwrap());
    }
}

#[test]
fn a_rewritten_source_is_an_error_and_what_arrived_is_used() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 8 * MIB, 1);
    fs::create_dir(&there).unwrap();
    let dest = there.join("dest");
    let mut push = fleet.lariat();
    push.args(["push", &text(&source), &remote(&dest), "--bwlimit", "8M"]);
    let push = push.stderr(Stdio::piped()).spawn().unwrap();
    partial_reaches(&there, 2 * MIB);
    let file = File::options().write(true).open(&source).unwrap();
    file.write_all_at(b"written over", 0).unwrap();
    let output = push.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255), "{error}");
    assert!(error.contains("changed while it was read") && !dest.exists(), "{error}");
    let told = fleet.ok(["push", "--json", &text(&source), &remote(&dest)]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["reused"].as_u64().unwrap() >= MIB, "{told}");
    assert!(fs::read(&dest).unwrap() == fs::read(&source).unwrap());
    assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
}

#[test]
fn files_of_the_kernel_are_read_to_their_end_in_trees_too() {
    let (fleet, _agent) = TestFleet::with_agent();
    let random = Path::new("/proc/sys/kernel/random");
    let copy = fleet.path("random");
    for options in [&[][..], &["--checksum"]] {
        fleet.ok([&["pull", "web1:/proc/sys/kernel/random/", &text(&copy)], options].concat());
        for name in ["boot_id", "poolsize"] {
            let (is, was) = (fs::read(copy.join(name)), fs::read(random.join(name)));
            assert_eq!(is.unwrap(), was.unwrap(), "{name}");
        }
    }
    let list = fleet.path("list");
    fs::write(&list, "filesystems\nkallsyms\n").unwrap();
    let some = fleet.path("some");
    fleet.ok(["push", "/proc/", &remote(&some), "--files-from", &text(&list)]);
    for name in ["filesystems", "kallsyms"] {
        let (is, was) = (some.join(name), Path::new("/proc").join(name));
        assert!(fs::read(is).unwrap() == fs::read(was).unwrap(), "{name}");
    }
    let sysfs = Path::new("/sys/kernel/mm/transparent_hugepage");
    if sysfs.is_dir() {
        let copy = fleet.path("sysfs");
        fleet.ok(["pull", &format!("{}/", remote(sysfs)), &text(&copy)]);
        let (is, was) = (fs::read(copy.join("enabled")), fs::read(sysfs.join("enabled")));
        assert_eq!(is.unwrap(), was.unwrap());
    }
}

/// A directory that belongs to the user nobody and that this user can reach.
fn of_nobody() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    directory
}

fn tree(root: &Path, inner: u32) {
    fs::create_dir_all(root.join("in/deep")).unwrap();
    for name in ["a", "in/b", "in/deep/c"] {
        fs::write(root.join(name), name).unwrap();
    }
    set_mode(&root.join("in"), inner);
}

#[test]
fn a_receiver_that_is_not_root_updates_and_clears_its_own_copy() {
    if !is_root() {
        // Only root can act as the user nobody.
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    for inner in [0o444, 0o333, 0o311, 0o111, 0o666, 0o600, 0o222, 0o555, 0o000] {
        let (source, home) = (fleet.path(format!("s{inner:o}")), of_nobody());
        let dest = home.path().join("d");
        tree(&source, inner);
        let from = format!("{}/", text(&source));
        let push = |more: &[&str]| {
            fleet.ok([&["push", &from, &remote(&dest), "--user", "nobody"], more].concat());
        };
        push(&[]);
        for name in ["a", "in/deep/c"] {
            fs::write(source.join(name), "another text").unwrap();
        }
        set_mode(&source, inner);
        push(&[]);
        push(&["--checksum"]);
        assert_eq!((mode(&dest), mode(&dest.join("in"))), (inner, inner), "{inner:o}");
        assert_eq!(fs::read(dest.join("in/deep/c")).unwrap(), b"another text");
        fs::remove_dir_all(source.join("in")).unwrap();
        push(&["--delete"]);
        assert!(!dest.join("in").exists(), "{inner:o}");
        assert_eq!(mode(&dest), inner);
    }
}

#[test]
fn a_file_of_ones_own_that_may_not_be_read_is_compared_and_gets_its_mode() {
    if !is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, home) = (fleet.path("source"), of_nobody());
    let dest = home.path().join("d");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "text").unwrap();
    let from = format!("{}/", text(&source));
    for options in [&[][..], &["--checksum"], &["-X"]] {
        for (before, after) in [(0o000, 0o640), (0o200, 0o000), (0o000, 0o200)] {
            set_mode(&source.join("f"), before);
            let args = ["push", &from, &remote(&dest), "--user", "nobody"];
            fleet.ok([&args[..], options].concat());
            set_mode(&source.join("f"), after);
            fleet.ok([&args[..], options].concat());
            assert_eq!(mode(&dest.join("f")), after, "{options:?}");
        }
    }
}

#[test]
fn a_directory_that_may_be_written_but_not_read_takes_files_and_trees() {
    if !is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let drop = of_nobody();
    chown(drop.path(), Some(0), Some(0)).unwrap();
    set_mode(drop.path(), 0o1733);
    let (small, large, source) = (fleet.path("small"), fleet.path("large"), fleet.path("source"));
    fs::write(&small, "text").unwrap();
    random_file(&large, 3 * MIB, 1);
    tree(&source, 0o755);
    let there = |name: &str| drop.path().join(name);
    let push = |from: &Path, name: &str| {
        fleet.ok(["push", &text(from), &remote(&there(name)), "--user", "nobody"]);
    };
    for _ in 0..2 {
        push(&small, "small");
        push(&large, "large");
        push(&source, "tree/");
    }
    assert_eq!(fs::read(there("small")).unwrap(), b"text");
    assert!(fs::read(there("large")).unwrap() == fs::read(&large).unwrap());
    assert_eq!(there("large").metadata().unwrap().uid(), 65_534);
}

#[test]
fn special_bits_of_directories_that_are_there_stay() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    tree(&source, 0o4755);
    tree(&dest, 0o2775);
    set_mode(&dest, 0o1777);
    let from = format!("{}/", text(&source));
    for _ in 0..2 {
        fleet.ok(["push", &from, &remote(&dest)]);
        assert_eq!((mode(&dest), mode(&dest.join("in"))), (0o1755, 0o2755));
        // New directories inherit the group, as anything does that is created there.
        assert_eq!(mode(&dest.join("in/deep")) & 0o777, 0o755);
    }
    fleet.ok(["push", &from, &remote(&dest), "--special"]);
    assert_eq!((mode(&dest), mode(&dest.join("in"))), (0o755, 0o4755));
}

/// The times of a name that change whenever it is touched.
fn touched(path: &Path) -> (i64, i64) {
    let metadata = path.symlink_metadata().unwrap();
    (metadata.ctime(), metadata.ctime_nsec())
}

#[test]
fn what_is_equal_is_not_touched_whatever_travels() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    tree(&source, 0o750);
    let value = rustix::fs::XattrFlags::empty();
    let has = rustix::fs::setxattr(source.join("a"), "user.a", b"1", value).is_ok();
    let from = format!("{}/", text(&source));
    let options: &[&str] = if is_root() { &["-X", "--owner", "--special"] } else { &["-X"] };
    let push = || fleet.ok([&["push", &from, &remote(&dest)], options].concat());
    push();
    let names = ["", "a", "in", "in/b", "in/deep"];
    let before = names.map(|name| touched(&dest.join(name)));
    push();
    assert_eq!(names.map(|name| touched(&dest.join(name))), before);
    if has {
        rustix::fs::setxattr(source.join("a"), "user.a", b"2", value).unwrap();
        push();
        let mut got = [0; 4];
        let len = rustix::fs::getxattr(dest.join("a"), "user.a", &mut got[..]).unwrap();
        assert_eq!(&got[..len], b"2");
    }
}

#[test]
fn times_that_no_disk_holds_are_not_sent_again_and_again() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (Path::new("/dev/shm"), fleet.path("dest"));
    let Ok(source) = tempfile::tempdir_in(source) else { return };
    let names = ["far", "early"];
    for (name, secs) in names.into_iter().zip([16_725_225_600, -9_000_000_000]) {
        fs::write(source.path().join(name), name).unwrap();
        let file = File::options().write(true).open(source.path().join(name)).unwrap();
        let time = rustix::fs::Timespec { tv_sec: secs, tv_nsec: 5 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).unwrap();
    }
    let from = format!("{}/", text(source.path()));
    fleet.ok(["push", &from, &remote(&dest)]);
    let before = names.map(|name| touched(&dest.join(name)));
    assert_eq!(fleet.ok(["push", &from, &remote(&dest), "--dry-run"]), "");
    fleet.ok(["push", &from, &remote(&dest)]);
    assert_eq!(names.map(|name| touched(&dest.join(name))), before);
}

#[test]
fn a_number_that_means_nobody_is_refused_before_anything_is_asked() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    fs::write(fleet.path("f"), "x").unwrap();
    for owner in ["4294967295", ":4294967295", "0:4294967295", "4294967296"] {
        let error = fleet.fails(255, ["push", "f", "web1:/tmp/f", "--chown", owner]);
        assert!(error.contains("number") && error.contains("--chown"), "{error}");
    }
}

#[test]
fn a_source_that_can_t_be_opened_is_called_what_it_is() {
    let (fleet, _agent) = TestFleet::with_agent();
    let path = fleet.path("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let said = |path: &Path| fleet.fails(255, ["push", &text(path), "web1:/tmp/x"]);
    assert!(said(&path).contains("is a socket"));
    for device in ["/dev/tty", "/dev/null"] {
        let error = said(Path::new(device));
        assert!(error.contains("is a device"), "{error}");
    }
}
