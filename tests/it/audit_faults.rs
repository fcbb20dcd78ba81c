//! Kills and failing disks: whatever happens to the agent, its audit is a whole chain afterwards, and no controller
//! raises a false alarm.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use lariat_base::audit::FileName;
use lariat_testing::agent::{Agent, anywhere, lariatd};
use lariat_testing::binaries::binaries;
use lariat_testing::files::edit;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::{strace, wait};
use rustix::process::Signal;

use crate::full_disk::SmallDisk;
use crate::keys::Operator;

/// The audit is whole, on the host and as this controller has seen it.
fn is_whole(fleet: &TestFleet, agent: &Agent) {
    let config = agent.state().parent().expect("a bundle").join("agent.toml");
    let here = lariatd(&config).args(["audit", "verify"]).output().unwrap();
    assert!(here.status.success(), "{}", text(&here.stderr));
    let output = fleet.run(["audit", "verify", "web1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn an_agent_that_is_killed_at_any_moment_leaves_a_whole_chain() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let output = fleet.run(["run", "web1", "--", "true"]);
                    let told = text(&output.stderr);
                    assert!(!told.contains("record"), "a false alarm: {told}");
                }
            });
        }
        for _ in 0..25 {
            let before = agent.log().len();
            // Somewhere within the lines of the requests that come now.
            for _ in 0..3 {
                agent.wait_for("run job");
            }
            assert!(agent.log().len() > before);
            agent.kill_and_restart();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    is_whole(&fleet, &agent);
}

/// Starts the agent with this fault of these files. Calls are counted for each thread, and so for each session.
fn faulty(fleet: &TestFleet, paths: &[PathBuf], call: &str, what: &str) -> Agent {
    let config = fleet.bundle("web1").join("agent.toml");
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-e", "signal=none", "--seccomp-bpf", "-o"]);
    command.arg(fleet.path("strace.log"));
    paths.iter().for_each(|path| _ = command.arg("-P").arg(path));
    command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}")]);
    command.arg(&binaries().lariatd).arg("--config").arg(&config);
    command.arg("--listen").arg(anywhere().to_string());
    let agent = Agent::spawn(command, config);
    fleet.set_address("web1", agent.address);
    agent
}

/// The audit's newest file, and the one that would follow it.
fn newest(fleet: &TestFleet) -> [PathBuf; 2] {
    let directory = fleet.bundle("web1").join("state/audit");
    let entries = std::fs::read_dir(&directory).unwrap();
    let newest = entries.map(|entry| entry.unwrap().path()).max().unwrap();
    let first: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let lines = std::fs::read_to_string(&newest).unwrap().lines().count() as u64;
    let next = directory.join(FileName(first + lines).to_string());
    [newest, next]
}

fn stop(mut agent: Agent) {
    agent.signal(Signal::TERM);
    agent.wait();
}

#[test]
fn a_write_that_fails_is_cut_off_and_an_owner_goes_on() {
    if !strace::is_here() {
        return;
    }
    let (fleet, agent) = TestFleet::with_agent();
    stop(agent);
    for (call, what) in [
        ("write", "error=ENOSPC"),
        ("write", "error=EIO"),
        ("write", "retval=10"),
        ("fdatasync", "error=EIO"),
        ("ftruncate", "error=EIO"),
    ] {
        for when in [1, 2] {
            let newest = &newest(&fleet)[..1];
            let agent = faulty(&fleet, newest, call, &format!("{what}:when={when}"));
            for _ in 0..3 {
                let output = fleet.run(["run", "web1", "--", "echo hi"]);
                assert_eq!(text(&output.stdout), "hi\n", "{call} {what} {when}");
                let told = text(&output.stderr);
                assert_eq!(told, "", "{call} {what} {when}");
            }
            stop(agent);
            let agent = fleet.start("web1");
            fleet.set_address("web1", agent.address);
            is_whole(&fleet, &agent);
            stop(agent);
        }
    }
}

#[test]
fn a_host_that_cannot_write_its_audit_does_nothing_for_other_keys() {
    if !strace::is_here() {
        return;
    }
    let (fleet, agent) = TestFleet::with_agent();
    stop(agent);
    edit(&fleet.bundle("web1").join("keyring.toml"), "\"keys\", ", "");
    let config = fleet.bundle("web1").join("agent.toml");
    for (more, goes_on) in [("", false), ("[audit]\nfull = \"warn\"\n", true)] {
        let plain = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{plain}{more}")).unwrap();
        // The agent's own first line goes to the reserve, and the session's first one nowhere.
        let agent = faulty(&fleet, &newest(&fleet), "write", "error=ENOSPC:when=1");
        let ran = fleet.path("ran");
        let output = fleet.run(["run", "web1", "--", &format!("touch {}", ran.display())]);
        assert_eq!(output.status.success(), goes_on, "{}", text(&output.stderr));
        assert_eq!(ran.exists(), goes_on);
        if !goes_on {
            let told = text(&output.stderr);
            assert!(told.contains("can't write into its audit"), "{told}");
        }
        agent.wait_for("lines can't be written to");
        stop(agent);
        assert!(strace::happened(&fleet.path("strace.log")));
    }
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    is_whole(&fleet, &agent);
}

#[test]
fn where_each_line_waits_for_the_disk_one_that_does_not_get_there_is_no_line() {
    if !strace::is_here() {
        return;
    }
    let (fleet, agent) = TestFleet::with_agent();
    stop(agent);
    let (bundle, ran) = (fleet.bundle("web1"), fleet.path("ran"));
    let (config, keyring) = (bundle.join("agent.toml"), bundle.join("keyring.toml"));
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (plain, owner) = (read(&config), read(&keyring));
    let other = owner.replace("\"keys\", ", "");
    for (full, keys, goes_on) in
        [("refuse", &other, false), ("warn", &other, true), ("refuse", &owner, true)]
    {
        let audit = format!("{plain}[audit]\nsync = \"each\"\nfull = \"{full}\"\n");
        std::fs::write(&config, audit).unwrap();
        std::fs::write(&keyring, keys).unwrap();
        let agent = faulty(&fleet, &newest(&fleet), "fdatasync", "error=EIO");
        // The first request finds out, the second knows.
        for _ in 0..2 {
            let output = fleet.run(["run", "web1", "--", &format!("touch {}", ran.display())]);
            let told = text(&output.stderr);
            assert_eq!(output.status.success(), goes_on, "{full}: {told}");
            assert!(goes_on || told.contains("can't write into its audit"), "{told}");
            assert_eq!(std::fs::remove_file(&ran).is_ok(), goes_on);
        }
        stop(agent);
        assert!(strace::happened(&fleet.path("strace.log")));
    }
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    is_whole(&fleet, &agent);
}

#[test]
fn on_a_disk_that_is_full_only_owners_go_on() {
    let (fleet, agent) = TestFleet::with_agent();
    let (bob, address) = (Operator::added(&fleet, "bob", &["--verbs", "pull"]), agent.address);
    stop(agent);
    let Some(disk) = SmallDisk::at(fleet.bundle("web1").join("state"), "64m") else { return };
    let agent = Agent::start(fleet.bundle("web1").join("agent.toml"), address);
    for home in [fleet.home(), bob.home.clone()] {
        // Its record is another one from now on.
        let _ = std::fs::remove_dir_all(home.join("seen"));
    }
    std::fs::write(fleet.path("file"), "content").unwrap();
    let source = format!("web1:{}", fleet.path("file").display());
    let words = ["pull", &source, "-"];
    assert_eq!(bob.ok(&words), "content");
    let filler = disk.fill();
    // The last block of the newest file has room for some lines.
    let told = wait::until("the audit to be full", || {
        let output = bob.run(&words);
        (!output.status.success()).then(|| text(&output.stderr).to_owned())
    });
    assert!(told.contains("can't write into its audit"), "{told}");
    for _ in 0..20 {
        assert_eq!(fleet.ok(words), "content");
    }
    assert!(bob.refused(&words).contains("can't write into its audit"));
    std::fs::remove_file(filler).unwrap();
    wait::until("others to go on", || bob.run(&words).status.success().then_some(()));
    is_whole(&fleet, &agent);
}
