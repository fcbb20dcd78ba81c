//! An interrupted push whose source, or whose partial, is another version when it is run again: that is
//! noticed, and the two are never mixed.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, remote};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::fs::FlockOperation;

const SIZE: u64 = 32 << 20;

/// A push that was killed halfway.
struct Killed {
    fleet: TestFleet,
    _agent: Agent,
    source: PathBuf,
    dest: PathBuf,
    partial: PathBuf,
}

impl Killed {
    fn new() -> Self {
        let (fleet, agent) = TestFleet::with_agent();
        // Slow enough to be killed in the middle.
        let slow = Faulty::start(agent.address, Fault { rate: Some(40 << 20), ..Fault::default() });
        fleet.set_address("web1", slow.address);
        let (source, directory) = (fleet.path("source"), fleet.path("directory"));
        std::fs::create_dir(&directory).unwrap();
        let dest = directory.join("dest");
        random_file(&source, SIZE, 1);
        let mut push = fleet.lariat();
        push.arg("push").arg(&source).arg(remote(&dest));
        let mut child = push.stderr(Stdio::null()).spawn().unwrap();
        let partial = wait::partial_reaches(&directory, SIZE / 4);
        child.kill().unwrap();
        child.wait().unwrap();
        // What is still in flight would reach the partial and complete it.
        slow.cut();
        let held = std::fs::File::open(&partial).unwrap();
        wait::until("the partial to be let go", || {
            rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).ok()
        });
        drop(held);
        fleet.set_address("web1", agent.address);
        Self { fleet, _agent: agent, source, dest, partial }
    }

    /// Runs the push again, and returns the bytes that it sent and reused.
    fn again(&self) -> (u64, u64) {
        let source = self.source.to_str().unwrap().to_owned();
        let json = self.fleet.ok(["push".into(), "--json".into(), source, remote(&self.dest)]);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(!self.partial.exists());
        (object["sent"].as_u64().unwrap(), object["reused"].as_u64().unwrap())
    }

    /// Whether the destination is this version, to the byte.
    fn is_there(&self, version: &Path) -> bool {
        std::fs::read(&self.dest).unwrap() == std::fs::read(version).unwrap()
    }
}

#[test]
fn a_source_that_kept_its_size_and_mtime_is_compared_by_content() {
    let killed = Killed::new();
    let mtime = killed.source.metadata().unwrap().modified().unwrap();
    // In every other chunk: an unchanged chunk must not make a changed one acceptable.
    let file = std::fs::File::options().write(true).open(&killed.source).unwrap();
    for at in (0..SIZE).step_by(1 << 20) {
        file.write_all_at(b"another version", at).unwrap();
    }
    file.set_modified(mtime).unwrap();
    assert_eq!(killed.source.metadata().unwrap().len(), SIZE);
    let (sent, reused) = killed.again();
    // The unchanged chunks are reused; at least every other one is changed.
    assert!(sent + reused == SIZE && reused > 0 && sent >= SIZE / 2, "{sent} {reused}");
    assert!(killed.is_there(&killed.source));
}

#[test]
fn a_partial_of_another_version_is_found_out_by_its_hashes() {
    let killed = Killed::new();
    // Its journal says that it is of this source.
    let other = killed.fleet.path("other");
    random_file(&other, SIZE, 2);
    let len = killed.partial.metadata().unwrap().len();
    let bytes = std::fs::read(&other).unwrap();
    let partial = std::fs::File::options().write(true).open(&killed.partial).unwrap();
    partial.write_all_at(&bytes[..usize::try_from(len).unwrap()], 0).unwrap();
    // The rest of a chunk that was cut off comes first, and then all of it.
    let (sent, reused) = killed.again();
    assert!((SIZE..SIZE + (512 << 10)).contains(&sent) && reused == 0, "{sent} {reused}");
    assert!(killed.is_there(&killed.source));
}
