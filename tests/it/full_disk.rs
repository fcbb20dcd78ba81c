//! A full state disk, filled by a key that may push: its revocation works all the same, owners go on, and the record
//! tells both.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lariat_testing::agent::Agent;
use lariat_testing::files::{random_file, remote};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::wait;
use rustix::process::Signal;

use crate::audit::of_request;
use crate::keys::Operator;

/// A small file system, gone with this.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it here; `None` if that can't be done.
    pub(crate) fn at(path: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    /// Writes to a file until no byte has room.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for piece in [&[0; 8192][..], &[0]] {
            while file.write_all(piece).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The agent of `web1`, with its state on a small disk of its own, and a key that may push there.
fn on_a_small_disk(fleet: &TestFleet) -> Option<(Agent, SmallDisk)> {
    let disk = SmallDisk::at(fleet.bundle("web1").join("state"), "64m")?;
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    Some((agent, disk))
}

fn stop(mut agent: Agent) {
    agent.signal(Signal::TERM);
    agent.wait();
}

fn has_room(path: &Path) -> bool {
    let probe = path.join("probe");
    let has = std::fs::write(&probe, [0; 4096]).is_ok();
    let _ = std::fs::remove_file(probe);
    has
}

/// Waits until the audit has no room for lines of this key: its last block has some for a while.
fn is_full(operator: &Operator<'_>) {
    wait::until("the audit to be full", || {
        let output = operator.run(&["run", "web1", "--", "true"]);
        let told = text(&output.stderr);
        told.contains("can't write into its audit").then_some(())
    });
}

#[test]
fn a_key_that_fills_the_disk_is_revoked_all_the_same() {
    let (fleet, agent) = TestFleet::with_agent();
    stop(agent);
    let Some((mut agent, disk)) = on_a_small_disk(&fleet) else { return };
    // Its record is another one from now on.
    let _ = std::fs::remove_dir_all(fleet.home().join("seen"));
    let filler = disk.0.join("filled-by-bob");
    let bob = Operator::added(&fleet, "bob", &["--verbs", "push,run"]);
    let carol = Operator::added(&fleet, "carol", &["--verbs", "run"]);
    random_file(&fleet.path("large"), 80 << 20, 1);
    let told = bob.refused(&["push", "large", &remote(&filler)]);
    assert!(told.contains("no space left on device"), "{told}");
    // The partial of the push is gone or stays; no byte has room in any case.
    disk.fill();
    assert!(!has_room(&disk.0));
    is_full(&bob);

    // More than once, and each counts at once and after a restart.
    let told = fleet.ok(["key", "revoke", "bob", "web1"]);
    assert!(told.contains("revoked bob"), "{told}");
    assert!(bob.refused(&["ping", "web1"]).contains("denied the login"));
    fleet.ok(["key", "revoke", "carol", "web1"]);
    for _ in 0..3 {
        fleet.ok(["key", "rotate", "web1"]);
    }
    disk.fill();
    agent.kill_and_restart();
    for operator in [&bob, &carol] {
        assert!(operator.refused(&["ping", "web1"]).contains("denied the login"));
    }
    assert_eq!(of_request(&agent, "revoke key").len(), 4);

    // An owner's command makes room again.
    for word in ["one", "two", "three"] {
        assert_eq!(fleet.ok(["run", "web1", "--", "echo", word]), format!("{word}\n"));
    }
    let line = fleet.ok(["run", "web1", "--detach", "--", "echo detached"]);
    let job = line.split_whitespace().last().unwrap();
    assert_eq!(fleet.ok(["attach", "web1", job]), "detached\n");
    let remove = format!("rm {}/filler", disk.0.display());
    fleet.ok(["run", "web1", "--", &remove]);
    wait::until("room", || has_room(&disk.0).then_some(()));
    fleet.ok(["audit", "verify", "web1"]);
}

#[test]
fn an_audit_on_a_full_disk_of_its_own_has_the_lines_of_owners() {
    let (fleet, agent) = TestFleet::with_agent();
    let (bob, address) = (Operator::added(&fleet, "bob", &["--verbs", "run"]), agent.address);
    stop(agent);
    let audit = fleet.bundle("web1").join("state/audit");
    let Some(disk) = SmallDisk::at(audit.clone(), "48m") else { return };
    let agent = Agent::start(fleet.bundle("web1").join("agent.toml"), address);
    for home in [fleet.home(), bob.home.clone()] {
        // Its record is another one from now on.
        let _ = std::fs::remove_dir_all(home.join("seen"));
    }
    // A name of another kind is passed over.
    let filler = disk.fill();
    is_full(&bob);
    let before = of_request(&agent, "run").len();
    for _ in 0..20 {
        fleet.ok(["run", "web1", "--", "true"]);
    }
    wait::until("two lines for each", || {
        (of_request(&agent, "run").len() == before + 40).then_some(())
    });
    std::fs::remove_file(filler).unwrap();
    fleet.ok(["audit", "verify", "web1"]);
    let is_of_audit = |path: PathBuf| path.extension().is_some_and(|end| end == "jsonl");
    let mut entries = std::fs::read_dir(&audit).unwrap();
    assert!(entries.all(|entry| is_of_audit(entry.unwrap().path())));
    assert!(!fleet.bundle("web1").join("state/audit-reserve").exists());
}
