//! `run` and `ping` as a user sees them: the real binary against a fake agent.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lariat_testing::binaries::binaries;
use lariat_testing::fake_agent::{FakeAgent, Heard};
use lariat_testing::wait;
use lariat_wire::protocol::exec::{self, Ack, Streams};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

struct World {
    directory: tempfile::TempDir,
    agent: FakeAgent,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        for arguments in [&["init"][..], &["enroll", "web1", "--address", &address]] {
            assert!(lariat(directory.path(), arguments).output().unwrap().status.success());
        }
        let agent = FakeAgent::start(&directory.path().join("web1.lariat"), listener);
        Self { directory, agent }
    }

    fn lariat(&self, arguments: &[&str]) -> Command {
        lariat(self.directory.path(), arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.lariat(&[&["run", "web1"], arguments].concat()).output().unwrap()
    }

    /// Status, stdout, and stderr without the agent's address and the job's id.
    fn told(&self, arguments: &[&str]) -> (i32, Vec<u8>, String) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let start = stderr.find("127.0.0.1:");
        let address = start.map(|start| stderr[start..].split(')').next().unwrap().to_owned());
        let whole = address.map_or(stderr.clone(), |address| stderr.replace(&address, "ADDRESS"));
        let stderr = &whole;
        let known = stderr.trim_end().split_once("lariat attach web1 ");
        let stderr = known.map(|(before, _)| format!("{before}lariat attach web1 JOB"));
        let stderr = stderr.unwrap_or_else(|| whole.trim_end().to_owned());
        (output.status.code().unwrap(), output.stdout, stderr)
    }

    fn asked(&self) -> exec::Run {
        match self.agent.heard.recv_timeout(Duration::from_secs(5)).unwrap() {
            Heard::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    fn next(&self) -> Heard {
        self.agent.heard.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

fn lariat(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(&binaries().lariat);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env_clear().env("LARIAT_HOME", directory.join("home"));
    command
}

fn status(mut child: Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

#[test]
fn bytes_and_statuses_are_the_commands_own() {
    let world = World::new();
    let output = world.run(&["--", "both"]);
    assert_eq!((output.stdout, output.stderr), (b"out\x00\xff\n".to_vec(), b"err\n".to_vec()));
    for (line, expected) in [("exit 0", 0), ("exit 7", 7), ("die 9", 137), ("timeout", 124)] {
        assert_eq!(world.told(&["--", line]), (expected, vec![], String::new()), "{line}");
    }
    let (status, _, stderr) = world.told(&["--", "missing", "x"]);
    assert_eq!(status, 127);
    insta::assert_snapshot!(stderr, @"lariat: run on web1: missing: command not found; where it is looked for: lariat run web1 -- 'echo $PATH'");
}

#[test]
fn the_request_says_what_was_asked_and_the_end_is_acknowledged() {
    let world = World::new();
    world.run(&["--", "both"]);
    assert_eq!(world.asked().command, exec::Command::Shell(b"both".to_vec()));
    assert_eq!(world.next(), Heard::LastAck(Ack { stdout: 6, stderr: 4 }));
    let options = ["--cwd", "/srv", "--env", "A=b=c", "--env", "B=", "--timeout", "1.5s"];
    world.run(&[&options[..], &["--reconnect", "5m", "--", "exit", "0"]].concat());
    let run = world.asked();
    assert_eq!(run.command, exec::Command::Argv(vec![b"exit".to_vec(), b"0".to_vec()]));
    assert_eq!(run.cwd.as_deref(), Some(&b"/srv"[..]));
    assert_eq!(run.env, [(b"A".to_vec(), b"b=c".to_vec()), (b"B".to_vec(), vec![])]);
    assert_eq!((run.timeout_ms, run.grace_ms), (Some(1500), 300_000));
}

#[test]
fn failures_of_lariat_are_255_and_one_line() {
    let world = World::new();
    let (status, stdout, stderr) = world.told(&["--", "cut"]);
    assert_eq!((status, stdout), (255, b"half".to_vec()));
    insta::assert_snapshot!(stderr, @"lariat: run on web1 (ADDRESS): the agent knows nothing of the command any more; the command was running, and how it ended is not known");
    let (status, stdout, stderr) = world.told(&["--reconnect", "0", "--", "cut"]);
    assert_eq!((status, stdout), (255, b"half".to_vec()));
    insta::assert_snapshot!(stderr, @"lariat: run on web1 (ADDRESS): the connection broke; the command was running, and how it ended is not known; try: lariat attach web1 JOB");
    let (status, stdout, stderr) = world.told(&["--", "gap"]);
    assert_eq!((status, stdout), (255, vec![]));
    insta::assert_snapshot!(stderr, @"lariat: run on web1 (ADDRESS): the peer misbehaved: output has a gap or comes twice; the command was running, and how it ended is not known; try: lariat attach web1 JOB");
    let (status, _, stderr) = world.told(&["--", "nodirectory"]);
    assert_eq!(status, 255);
    insta::assert_snapshot!(stderr, @"lariat: run on web1 (ADDRESS): enter directory /no: no such file or directory");
}

/// The request is sent along with the login: without an answer its outcome is unknown.
#[test]
fn a_request_without_an_answer_may_have_been_run_and_it_is_said() {
    let world = World::new();
    world.agent.cuts_logins.store(true, Ordering::Relaxed);
    let (status, stdout, stderr) = world.told(&["--reconnect", "300ms", "--", "exit", "0"]);
    assert_eq!((status, stdout), (255, vec![]));
    insta::assert_snapshot!(stderr, @"lariat: run on web1 (ADDRESS): the connection broke after the login was sent; it is not known whether the command ran; try: lariat attach web1 JOB");
    let output = world.run(&["--reconnect", "0", "--json", "--", "exit", "0"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = value["error"].as_str().unwrap();
    assert!(error.contains("; it is not known whether the command ran; try: "), "{error}");
}

#[test]
fn a_host_that_was_restarted_is_not_asked_again() {
    let world = World::new();
    for (line, fate) in [
        ("reboot before", "it is not known whether the command ran"),
        ("reboot", "the command was running, and how it ended is not known"),
    ] {
        let (status, _, stderr) = world.told(&["--", line]);
        let expected = "lariat: run on web1 (ADDRESS): the host was restarted meanwhile; ";
        assert_eq!((status, stderr), (255, format!("{expected}{fate}")));
        let run = world.asked();
        let Heard::Attach(attach) = world.next() else { panic!("it did not come back") };
        assert_eq!(attach.job, run.job);
    }
}

#[test]
fn a_request_that_did_not_arrive_is_repeated_as_it_was() {
    let world = World::new();
    world.agent.cuts_logins.store(true, Ordering::Relaxed);
    let mut run = world.lariat(&["run", "web1", "--", "both"]);
    let child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    while world.agent.cut.load(Ordering::Relaxed) < 2 {
        std::thread::yield_now();
    }
    world.agent.cuts_logins.store(false, Ordering::Relaxed);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"out\x00\xff\n".to_vec()));
    let Heard::Attach(attach) = world.next() else { panic!("it must look first") };
    assert_eq!(world.asked().job, attach.job);
}

/// A host that applies a command's time limit reports that; one that only sends single bytes reports nothing.
#[test]
fn a_time_limit_does_not_depend_on_the_host_alone() {
    for line in ["dribble", "nothing"] {
        let world = World::new();
        world.agent.dribbles.store(line == "dribble", Ordering::Relaxed);
        let began = Instant::now();
        let (status, _, stderr) = world.told(&["--timeout", "1s", "--", line]);
        let took = began.elapsed();
        assert_eq!(status, 124, "{line}: {stderr}");
        assert!(stderr.contains("timed out after 1 s") && stderr.contains("may still run there"));
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(8)).contains(&took),
            "{line}: {took:?}"
        );
    }
}

#[test]
fn json_is_one_object() {
    let world = World::new();
    let json = |line: &str| -> serde_json::Value {
        let output = world.run(&["--json", "--", line]);
        assert!(output.stderr.is_empty());
        let mut value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(value.as_object_mut().unwrap().remove("seconds").unwrap().is_f64());
        value
    };
    insta::assert_snapshot!(json("both"), @r#"{"error":null,"exit":0,"host":"web1","kind":"ok","ok":true,"signal":null,"stderr":"err\n","stdout_base64":"b3V0AP8K"}"#);
    insta::assert_snapshot!(json("die 15"), @r#"{"error":null,"exit":143,"host":"web1","kind":"failed","ok":false,"signal":15,"stderr":"","stdout":""}"#);
    insta::assert_snapshot!(json("missing"), @r#"{"error":"run on web1: start missing: no such file or directory","exit":null,"host":"web1","kind":"failed","ok":false,"signal":null,"stderr":"","stdout":""}"#);
    let big = json("big 17000000");
    assert_eq!(big["truncated"], true);
    assert_eq!(big["stdout"].as_str().unwrap().len(), 16 * 1024 * 1024);
}

/// For each kind of stdin: a file, a pipe, a socket.
#[test]
fn stdin_arrives_whole_whatever_it_is() {
    let world = World::new();
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let file = world.directory.path().join("stdin");
    std::fs::write(&file, &bytes).unwrap();
    for kind in ["file", "pipe", "socket"] {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut command = world.lariat(&["run", "web1", "-i", "--", "cat"]);
        match kind {
            "file" => command.stdin(File::open(&file).unwrap()),
            "pipe" => command.stdin(Stdio::piped()),
            _ => command.stdin(std::os::fd::OwnedFd::from(far)),
        };
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(command);
        let (pipe, ours) = (child.stdin.take(), bytes.clone());
        let writer = std::thread::spawn(move || match (kind, pipe) {
            ("pipe", Some(mut pipe)) => pipe.write_all(&ours).unwrap(),
            ("socket", _) => {
                near.write_all(&ours).unwrap();
                drop(near);
            }
            _ => {}
        });
        let mut got = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{kind}: {} bytes", got.len());
        assert_eq!(status(child), 0);
        writer.join().unwrap();
        assert_eq!(world.asked().streams, Streams::Followed { stdin: true });
        assert!(world.next() == Heard::Stdin(bytes.clone()));
        assert!(matches!(world.next(), Heard::LastAck(_)));
    }
}

#[test]
fn a_reader_that_goes_away_ends_us_and_the_command() {
    let world = World::new();
    for socket in [false, true] {
        let (near, far) = UnixStream::pair().unwrap();
        let mut command = world.lariat(&["run", "web1", "--", "big 100000000000"]);
        if socket {
            command.stdout(std::os::fd::OwnedFd::from(far));
        } else {
            command.stdout(Stdio::piped());
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut some = [0; 100];
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_exact(&mut some).unwrap();
        } else {
            (&near).read_exact(&mut some).unwrap();
        }
        drop(near);
        let began = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(output.status.code(), Some(141));
        assert!(output.stderr.is_empty(), "{output:?}");
        world.asked();
        assert_eq!(world.next(), Heard::Signal(13));
        while !matches!(world.next(), Heard::LastAck(_)) {}
    }
}

#[test]
fn a_full_disk_is_told_and_ends_the_command() {
    let world = World::new();
    let mut command = world.lariat(&["run", "web1", "--", "big 100000000000"]);
    let output = command.stdout(File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.ends_with("write stdout: no space left on device\n"), "{stderr}");
}

#[test]
fn an_unreadable_stdin_is_no_end_of_it() {
    let world = World::new();
    let mut command = world.lariat(&["run", "web1", "-i", "--", "cat"]);
    let output = command.stdin(File::open("/").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.ends_with("read stdin: is a directory\n"), "{stderr}");
    world.asked();
    assert_eq!(world.next(), Heard::Signal(13));
}

#[test]
fn the_first_ctrl_c_goes_to_the_command_and_the_second_leaves() {
    let world = World::new();
    let mut child = world
        .lariat(&["run", "web1", "--", "sleep"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 9]).unwrap();
    world.asked();
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(world.next(), Heard::Signal(2));
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap().trim_end(), @"lariat: run on web1: left; what still runs there is ended in 30 s");

    for signal in [Signal::TERM, Signal::HUP] {
        // The tests may have been started with the signal ignored.
        let mut command = Command::new("env");
        command
            .args([
                "--default-signal=HUP",
                binaries().lariat.to_str().unwrap(),
                "run",
                "web1",
                "--",
                "sleep",
            ])
            .env("LARIAT_HOME", world.directory.path().join("home"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 9]).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(status(child), 128 + signal.as_raw());
    }
}

#[test]
fn a_controller_that_is_to_outlive_its_terminal_does() {
    let world = World::new();
    let lariat = binaries().lariat.to_str().unwrap();
    let mut command = Command::new("nohup");
    command
        .args([lariat, "run", "web1", "--", "sleep"])
        .env("LARIAT_HOME", world.directory.path().join("home"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 9]).unwrap();
    world.asked();
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(world.next(), Heard::Signal(15));
    assert_eq!(status(child), 128 + 15);
}

#[test]
fn a_signal_goes_to_a_command_that_was_asked_for_and_is_not_known_to_run_yet() {
    let world = World::new();
    let mut child =
        world.lariat(&["run", "web1", "--", "late"]).stdout(Stdio::null()).spawn().unwrap();
    world.asked();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(world.next(), Heard::Signal(15));
}

#[test]
fn three_hundred_megabytes_pass_through_ten() {
    let world = World::new();
    let mut child = world
        .lariat(&["run", "web1", "--", "big 300000000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    // A slow reader first: what it does not read must not accumulate here. It begins once the pipe is full and the
    // controller's memory has not grown for a while.
    let (mut peak, mut steady) = (0, 0);
    wait::until("the controller to wait", || {
        let (is_full, now) = (ioctl_fionread(&stdout).unwrap() > 0, peak_memory(child.id())?);
        steady = if is_full && now == peak { steady + 1 } else { 0 };
        peak = now;
        (steady == 50).then_some(())
    });
    loop {
        let len = stdout.read(&mut buffer).unwrap();
        if len == 0 {
            break;
        }
        total += len;
        peak = peak_memory(child.id()).unwrap_or(peak);
    }
    assert_eq!(total, 300_000_000);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // An unoptimised binary is larger than a release.
    let limit = if cfg!(debug_assertions) { 40_000 } else { 10_000 };
    println!("peak {peak} KiB");
    assert!(peak < limit, "{peak} KiB");
}

/// The peak resident memory of a process, in KiB.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn ping_says_how_long_it_took() {
    let world = World::new();
    let output = world.lariat(&["ping", "web1"]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("web1: ") && line.contains(" ms (connect "), "{line}");
    let output = world.lariat(&["ping", "web1", "--json"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value["ok"] == true && value["seconds"].is_f64() && value["error"].is_null());
}

#[test]
fn a_host_that_names_what_it_likes_writes_nothing_outside() {
    let world = World::new();
    let file = |name: &str| world.directory.path().join(name);
    for attack in ["dotdot", "up", "absolute", "empty", "nul", "long", "twice", "unasked", "data"] {
        let output = world.lariat(&["pull", &format!("web1:{attack}"), "copy"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255), "{attack}: {told}");
        assert!(told.contains("the peer misbehaved"), "{attack}: {told}");
        assert!(!file("made").exists() && !Path::new("/tmp/lariat-made").exists(), "{attack}");
        let made = std::fs::read_dir(file("copy").join(attack)).unwrap().count();
        assert!(made <= 1, "{attack}: {made}");
        std::fs::remove_dir_all(file("copy")).unwrap();
    }
    let excluded = ["pull", "web1:unasked-name", "copy", "--exclude", ".ssh"];
    let output = world.lariat(&excluded).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("a name that is excluded"), "{told}");
    assert!(!file("copy/.ssh").exists());
}

#[test]
fn a_host_gives_a_file_nothing_that_was_not_asked_for() {
    let world = World::new();
    let copy = world.directory.path().join("copy");
    for attack in [
        &["web1:file-bits"][..],
        &["web1:file-attributes", "-X"],
        &["web1:file", "--exclude", "file"],
        &["web1:left-out"],
        &["web1:described"],
    ] {
        let args = [&["pull"], attack, &["copy"]].concat();
        let output = world.lariat(&args).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255), "{attack:?}: {told}");
        let blamed = told.contains("misbehaved") || told.contains("unexpected");
        assert!(blamed && !copy.exists(), "{attack:?}: {told}");
    }
}
