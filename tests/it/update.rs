//! Updates, streams and options of `push` and `pull` with the real binaries.

use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lariat_testing::agent::memory_kib;
use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use rustix::process::Pid;

const MIB: u64 = 1 << 20;

fn figures(json: &str) -> (u64, u64) {
    let object: serde_json::Value = serde_json::from_str(json).unwrap();
    (object["sent"].as_u64().unwrap(), object["reused"].as_u64().unwrap())
}

#[test]
fn a_byte_in_front_costs_next_to_nothing_both_ways() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 32 * MIB, 1);
    std::fs::copy(&source, &there).unwrap();
    let mut bytes = std::fs::read(&source).unwrap();
    bytes.insert(0, 1);
    std::fs::write(&source, &bytes).unwrap();
    let (sent, reused) =
        figures(&fleet.ok(["push".into(), "--json".into(), text(&source), remote(&there)]));
    assert!(sent < 32 * MIB / 200 && sent + reused == 32 * MIB + 1, "{sent} {reused}");
    assert!(std::fs::read(&there).unwrap() == bytes);

    bytes.truncate(31 * (1 << 20));
    std::fs::write(&source, &bytes).unwrap();
    let (sent, _) =
        figures(&fleet.ok(["pull".into(), "--json".into(), remote(&source), text(&there)]));
    assert!(sent < 32 * MIB / 200, "{sent}");
    assert!(std::fs::read(&there).unwrap() == bytes);
}

#[test]
fn stdin_becomes_a_file_and_a_file_stdout() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 3 * MIB + 5, 1);
    let stdin = std::fs::File::open(&source).unwrap();
    let pushed = fleet.lariat().args(["push", "-", &remote(&there)]).stdin(stdin).output().unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    assert!(std::fs::read(&there).unwrap() == std::fs::read(&source).unwrap());
    let pulled = fleet.run(["pull", &remote(&there), "-"]);
    assert!(pulled.status.success() && pulled.stdout == std::fs::read(&source).unwrap());
    let nameless = fleet.fails(255, ["push", "-", "web1:/tmp/"]);
    assert!(nameless.contains("name"), "{nameless}");
}

#[test]
fn stdin_that_stands_still_is_waited_for() {
    let (fleet, _agent) = TestFleet::with_agent();
    let there = fleet.path("there");
    let mut push = fleet.lariat();
    push.args(["push", "-", &remote(&there)]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = push.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first ").unwrap();
    std::thread::park_timeout(Duration::from_millis(300));
    stdin.write_all(b"second").unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read(there).unwrap(), b"first second");
}

#[test]
fn options_do_what_they_say() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    std::fs::write(&source, "text ".repeat(400_000)).unwrap();
    std::fs::write(&there, "old").unwrap();
    let (source_arg, there_arg) = (text(&source), remote(&there));
    let push =
        ["push", "--json", "--compress", "--backup", "--chmod", "0600", &source_arg, &there_arg];
    let (sent, reused) = figures(&fleet.ok(push));
    assert!(sent < 50_000 && reused == 0, "{sent} {reused}");
    assert_eq!(there.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::read(fleet.path("there~")).unwrap(), b"old");
    fleet.fails(255, ["push", "--chmod", "u+q", &source_arg, &there_arg]);
    let error =
        fleet.fails(255, ["push", "--chown", "nobody-of-this-name", &source_arg, &there_arg]);
    assert!(error.contains("nobody-of-this-name") && error.contains("web1"), "{error}");
    if rustix::process::geteuid().is_root() {
        fleet.ok(["push", "--chown", "12345:54321", &source_arg, &there_arg]);
        let metadata = there.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    }
    random_file(&source, 2 * MIB, 1);
    let began = Instant::now();
    fleet.ok(["push", "--bwlimit", "4M", &source_arg, &remote(&fleet.path("slow"))]);
    assert!(began.elapsed() > Duration::from_millis(350), "{:?}", began.elapsed());
}

#[test]
fn a_huge_hole_takes_neither_memory_nor_disk() {
    let (fleet, agent) = TestFleet::with_agent();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    let file = std::fs::File::create(&source).unwrap();
    file.set_len(512 << 20).unwrap();
    file.write_all_at(b"the one thing in it", 256 << 20).unwrap();
    let mut push = fleet.lariat();
    push.args(["push", &text(&source), &remote(&there)]).stderr(Stdio::null());
    let mut child = push.spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(memory_kib(Pid::from_child(&child), "VmHWM").unwrap_or_default());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak < 64 * 1024 && agent.memory_kib("VmHWM") < 64 * 1024, "{peak}");
    let metadata = there.metadata().unwrap();
    assert!(metadata.len() == 512 << 20 && metadata.blocks() < 4096, "{}", metadata.blocks());
    let mut found = [0; 19];
    std::fs::File::open(&there).unwrap().read_exact_at(&mut found, 256 << 20).unwrap();
    assert_eq!(&found, b"the one thing in it");
}

/// Where a source can have such a time, and the destination's disk can't hold it.
#[test]
fn a_time_that_the_disk_can_not_hold_changes_a_file_once() {
    let Ok(far) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not tested: there is no /dev/shm");
        return;
    };
    let (fleet, _agent) = TestFleet::with_agent();
    let source = far.path().join("source");
    std::fs::write(&source, "x").unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(16_741_000_000);
    std::fs::File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
    let there = fleet.path("there");
    let (up, down) = (
        ["push".to_owned(), "--json".to_owned(), text(&source), remote(&there)],
        ["pull".to_owned(), "--json".to_owned(), remote(&source), text(&fleet.path("back"))],
    );
    for transfer in [up, down] {
        for changed in [1, 0, 0] {
            let object: serde_json::Value = serde_json::from_str(&fleet.ok(&transfer)).unwrap();
            assert_eq!(object["changed"], changed, "{object}");
        }
    }
}
