//! Files of another user: what a key that may act as one user can reach, and the worker process that does it.
//!
//! These tests need an agent that runs as root; otherwise they do nothing.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::{Pid, Signal, kill_process};

/// A user that every Linux has.
const OTHER: &str = "nobody";

/// Its user id, and its group's id.
const NUMBER: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A fleet whose key may act as [`OTHER`] only.
fn confined() -> (TestFleet, Agent) {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let verbs = "verbs = [\"run\", \"push\", \"pull\", \"jobs\"]";
    fleet.set_rules("web1", &format!("{verbs}\nusers = [\"{OTHER}\"]\n"));
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    // The directory is searchable, so that the user reaches what is in it with its own rights.
    let searchable = fs::Permissions::from_mode(0o711);
    fs::set_permissions(fleet.path("").parent().unwrap(), searchable).unwrap();
    (fleet, agent)
}

/// A directory that the user may write to.
fn open_directory(fleet: &TestFleet, name: &str) -> PathBuf {
    let directory = fleet.path(name);
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(NUMBER), Some(NUMBER)).unwrap();
    directory
}

/// Whether the user itself can do this.
fn user_can(program: &str, path: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(path).uid(NUMBER).gid(NUMBER).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// A process that is in a private directory and has a private file open, until it is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The worker that the agent has at present.
fn worker_of(agent: &Agent) -> Option<Pid> {
    let parent = format!("PPid:\t{}\n", agent.pid().as_raw_nonzero());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        if !words.starts_with(b"lariatd\0work\0") || !status.contains(&parent) {
            return None;
        }
        Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)
    })
}

/// A push of stdin, which lasts until that is closed.
fn endless_push(fleet: &TestFleet, dest: &Path) -> Child {
    let mut push = fleet.lariat();
    push.args(["push", "-", &format!("{OTHER}@web1:{}", dest.display())]);
    push.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut push = push.spawn().unwrap();
    push.stdin.as_mut().unwrap().write_all(&vec![7; 2 * 1024 * 1024]).unwrap();
    push
}

#[test]
fn a_key_for_one_user_reaches_no_file_that_the_user_does_not() {
    if !is_root() {
        return;
    }
    let (fleet, agent) = confined();
    let private = fleet.path("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(private.join("secret"), "the secret").unwrap();
    let mut holder = Command::new("sleep");
    let opened = fs::File::open(private.join("secret")).unwrap();
    holder.arg("1000").current_dir(&private).stdin(opened);
    let holder = Holder(holder.spawn().unwrap());
    let (root, agent_id) = (holder.0.id(), agent.pid().as_raw_nonzero());
    let own = fs::File::open(private.join("secret")).unwrap();
    let test = std::process::id();

    let mut files: Vec<String> = vec![
        private.join("secret").to_str().unwrap().to_owned(),
        format!("/proc/{root}/cwd/secret"),
        format!("/proc/{root}/root{}", private.join("secret").display()),
        format!("/proc/{root}/fd/0"),
        format!("/proc/{root}/environ"),
        format!("/proc/{root}/maps"),
        format!("/proc/{root}/task/{root}/cwd/secret"),
        format!("/proc/{test}/fd/{}", own.as_raw_fd()),
        format!("/proc/{agent_id}/environ"),
        format!("/proc/{agent_id}/mem"),
        format!("/proc/{agent_id}/exe"),
        "/proc/self/environ".to_owned(),
        "/proc/self/mem".to_owned(),
        "/proc/kcore".to_owned(),
        "/proc/sys/kernel/cad_pid".to_owned(),
        "/sys/kernel/security/lsm/../../debug/x".to_owned(),
        "/dev/mem".to_owned(),
        "/dev/stdin".to_owned(),
        "/etc/shadow".to_owned(),
        fleet.bundle("web1").join("keyring.toml").to_str().unwrap().to_owned(),
        fleet.bundle("web1").join("state/../host.key").to_str().unwrap().to_owned(),
    ];
    files.extend((0..8).map(|number| format!("/proc/self/fd/{number}")));
    files.extend((3..5).map(|number| format!("/dev/fd/{number}")));
    files.extend((0..6).map(|number| format!("/proc/{agent_id}/fd/{number}")));
    for path in &files {
        let plain = path.contains("/self/") || path.starts_with("/dev/");
        assert!(plain || !user_can("cat", path), "{path} is no secret");
        let source = format!("{OTHER}@web1:{path}");
        for more in [&[][..], &["--dry-run"]] {
            let args = [&["pull", &source, "got"], more].concat();
            assert_eq!(fleet.run(args).status.code(), Some(255), "pull {path} {more:?}");
        }
        assert!(!fleet.path("got").exists(), "{path}");
    }
    let directories = [
        private.to_str().unwrap().to_owned(),
        format!("/proc/{root}/cwd"),
        format!("/proc/{root}/cwd/"),
        format!("/proc/{agent_id}/root/root"),
        "/proc/self/fd/".to_owned(),
        "/proc/self/cwd/root".to_owned(),
        format!("/proc/{root}/map_files"),
        agent.state().to_str().unwrap().to_owned(),
        "/proc/sys/vm".to_owned(),
    ];
    fs::create_dir(fleet.path("tree")).unwrap();
    fs::write(fleet.path("tree/file"), "mine").unwrap();
    fs::write(fleet.path("list"), "secret\nfile\n").unwrap();
    for path in &directories {
        let source = format!("{OTHER}@web1:{path}");
        for more in [&[][..], &["--dry-run"], &["--files-from", "list"]] {
            let got = fleet.path("got");
            let output = fleet.run([&["pull", &source, "got"], more].concat());
            let secret = wait_for_secret(&got);
            assert!(secret.is_none(), "pull {path} {more:?}: {secret:?}");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!told.contains("secret"), "{told}");
            let _ = fs::remove_dir_all(&got);
        }
        let dest = format!("{OTHER}@web1:{}/new", path.trim_end_matches('/'));
        for source in ["tree/", "tree/file"] {
            for more in [&[][..], &["--dry-run"], &["--delete"]] {
                let output = fleet.run([&["push", source, &dest], more].concat());
                let refused = output.status.code() == Some(255);
                assert!(refused || more == ["--dry-run"], "push {source} {path} {more:?}");
            }
        }
    }
    let left: Vec<_> = fs::read_dir(&private).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    wait::until("the workers to end", || worker_of(&agent).is_none().then_some(()));
}

/// Where the secret is below a directory that was pulled.
fn wait_for_secret(directory: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = wait_for_secret(&path) {
                return Some(found);
            }
        } else if fs::read(&path).is_ok_and(|text| text == b"the secret") {
            return Some(path);
        }
    }
    None
}

#[test]
fn what_goes_both_ways_as_another_user_is_that_users() {
    if !is_root() {
        return;
    }
    let (fleet, _agent) = confined();
    let directory = open_directory(&fleet, "theirs");
    fs::create_dir_all(fleet.path("tree/sub")).unwrap();
    fs::write(fleet.path("tree/file"), "one").unwrap();
    lariat_testing::files::random_file(&fleet.path("tree/sub/large"), 3_000_000, 1);
    let dest = format!("{OTHER}@web1:{}", directory.join("copy").display());
    for more in [&["--dry-run"][..], &[], &["--checksum", "--delete"]] {
        fleet.ok([&["push", "tree/", &dest], more].concat());
        assert_eq!(directory.join("copy").exists(), more != ["--dry-run"]);
    }
    for path in ["copy", "copy/file", "copy/sub/large"] {
        let metadata = fs::metadata(directory.join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (NUMBER, NUMBER), "{path}");
    }
    let link = fleet.path("link");
    std::os::unix::fs::symlink(&directory, &link).unwrap();
    let linked = format!("{OTHER}@web1:{}", link.join("copy/sub/large").display());
    fleet.ok(["pull", &linked, "back"]);
    assert_eq!(
        fs::read(fleet.path("back")).unwrap(),
        fs::read(fleet.path("tree/sub/large")).unwrap()
    );
    fleet.ok(["pull", &format!("{dest}/"), "whole"]);
    let file = format!("{OTHER}@web1:{}/file", directory.display());
    for more in [&["--dry-run"][..], &[], &["--checksum", "--dry-run"]] {
        fleet.ok([&["push", "tree/file", &file], more].concat());
        assert_eq!(directory.join("file").exists(), more != ["--dry-run"]);
    }
    let error = fleet.fails(255, ["pull", &format!("{OTHER}@web1:/etc/shadow"), "got"]);
    assert!(error.contains("/etc/shadow: permission denied"), "{error}");
}

#[test]
fn a_worker_has_nothing_but_the_users_rights_and_its_end_is_told() {
    if !is_root() {
        return;
    }
    let (fleet, mut agent) = confined();
    let directory = open_directory(&fleet, "theirs");
    let push = endless_push(&fleet, &directory.join("file"));
    let worker = wait::until("a worker", || worker_of(&agent));
    wait::partial_reaches(&directory, 1024 * 1024);
    let at = |name: &str| format!("/proc/{}/{name}", worker.as_raw_nonzero());
    let status = fs::read_to_string(at("status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for name in ["Uid", "Gid"] {
        assert_eq!(line(name), [NUMBER.to_string().as_str(); 4].join(" "), "{name}");
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(line(name), "0000000000000000", "{name}");
    }
    assert_eq!(line("NoNewPrivs"), "1");
    assert_eq!(line("Groups"), NUMBER.to_string());
    // Of a process that can't be dumped, these files belong to root.
    assert_eq!(fs::metadata(at("maps")).unwrap().uid(), 0);
    let mut sockets = 0;
    for entry in fs::read_dir(at("fd")).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap();
        let target = target.to_str().unwrap().to_owned();
        sockets += usize::from(target.starts_with("socket:"));
        let own = target.starts_with(directory.to_str().unwrap());
        let harmless = ["socket:", "anon_inode:[event", "/dev/null"].iter();
        assert!(own || harmless.into_iter().any(|what| target.starts_with(what)), "{target}");
    }
    // One is to the agent, the others are the runtime's own pair for signals.
    assert!(sockets <= 4, "{sockets}");
    let session = |pid: Pid| fs::read_to_string(format!("/proc/{}/environ", pid.as_raw_nonzero()));
    assert_eq!(session(worker).unwrap(), "", "no variable of the agent's");

    kill_process(worker, Signal::KILL).unwrap();
    let output = push.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(255), "{error}");
    assert!(error.contains("web1") && error.contains("as another user died"), "{error}");
    fleet.ok(["ping", "web1"]);

    // The agent's end also ends its worker.
    let mut push = endless_push(&fleet, &directory.join("other"));
    let worker = wait::until("a worker", || worker_of(&agent));
    agent.signal(Signal::TERM);
    agent.wait();
    wait::until("the worker to end", || rustix::process::test_kill_process(worker).err());
    push.kill().unwrap();
    push.wait().unwrap();
}

#[test]
fn the_newest_push_ends_the_older_one_and_an_agent_that_is_killed_leaves_no_worker() {
    if !is_root() {
        return;
    }
    let (fleet, agent) = confined();
    let directory = open_directory(&fleet, "theirs");
    let first = endless_push(&fleet, &directory.join("file"));
    let worker = wait::until("a worker", || worker_of(&agent));
    wait::partial_reaches(&directory, 1024 * 1024);
    let mut second = endless_push(&fleet, &directory.join("./file"));
    drop(second.stdin.take());
    assert!(second.wait_with_output().unwrap().status.success());
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("a newer request took over"), "{error}");
    wait::until("the older worker to end", || rustix::process::test_kill_process(worker).err());

    let mut push = endless_push(&fleet, &directory.join("other"));
    let worker = wait::until("a worker", || worker_of(&agent));
    agent.signal(Signal::KILL);
    wait::until("the worker to end", || rustix::process::test_kill_process(worker).err());
    push.kill().unwrap();
    push.wait().unwrap();
}
