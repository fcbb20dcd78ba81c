//! `lariat-ssh`: the program by the name of ssh, and the real programs that start it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lariat_testing::binaries::binaries;
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;

use crate::forward::{ask, bytes, server};

/// Where the program has a name of ssh's.
fn program(fleet: &TestFleet, name: &str) -> PathBuf {
    let path = fleet.path(name);
    if !path.exists() {
        symlink(&binaries().lariat, &path).unwrap();
    }
    path
}

/// A command in the fleet's environment.
fn command(fleet: &TestFleet, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LARIAT_HOME", fleet.home()).env("HOME", fleet.path(""));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(fleet.path("")).stdin(Stdio::null());
    command
}

fn ssh(fleet: &TestFleet, words: &[&str]) -> Command {
    let mut ssh = command(fleet, program(fleet, "lariat-ssh"));
    ssh.args(words);
    ssh
}

/// The status, and what was written to stdout and stderr.
fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Gives a program this input.
fn fed(command: &mut Command, input: &[u8]) -> (Option<i32>, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Whether this machine has a program.
fn has(program: &str, question: &str) -> bool {
    let mut asking = Command::new(program);
    asking.arg(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asking.status().is_ok()
}

#[test]
fn it_is_ssh_by_its_name() {
    let (fleet, agent) = TestFleet::with_agent();
    for name in ["lariat-ssh", "ssh"] {
        let mut called = command(&fleet, program(&fleet, name));
        called.args(["-vvv", "-q", "-x", "-a", "-A", "-C", "-4", "-2", "-E", "/x", "-F", "/y"]);
        called.args([
            "-o",
            "BatchMode=yes",
            "-M",
            "-S",
            "/z",
            "web1",
            "echo",
            "$((1+1))",
            "&&",
            "exit 7",
        ]);
        let (status, stdout, _) = said(&mut called);
        assert_eq!((status, stdout.as_str()), (Some(7), "2\n"), "{name}");
    }
    let (status, _, version) = said(&mut ssh(&fleet, &["-V"]));
    assert!(status == Some(0) && version.contains("OpenSSH_"), "{version}");
    let (status, text, _) = said(&mut ssh(&fleet, &["-G", "-l", "bob", "web1"]));
    let address = format!("hostname {}\nport {}\n", agent.address.ip(), agent.address.port());
    assert!(status == Some(0) && text.contains(&address) && text.contains("user bob\n"), "{text}");
    // git asks with the port of its URL, and takes a failure for a program that has no ports.
    let (status, other, error) = said(&mut ssh(&fleet, &["-G", "-p", "22", "-l", "bob", "web1"]));
    assert_eq!((status, other), (Some(0), text), "{error}");
    assert_eq!(said(&mut ssh(&fleet, &["-O", "exit", "-S", "/x", "web1"])).0, Some(0));
    assert_eq!(said(&mut ssh(&fleet, &["-O", "stop", "web1"])).0, Some(0));
    assert_eq!(said(&mut ssh(&fleet, &["-O", "check", "web1"])).0, Some(255));
    for (words, part) in [
        (&["-f", "web1", "true"][..], "ssh's option -f is not supported"),
        (&["-w", "0", "web1", "true"], "option -w is not supported"),
        (&["-o", "ProxyCommand=nc x", "web1", "true"], "hosts.toml has addresses, via and proxy"),
        (&["-J", "nope", "web1", "true"], "no host nope"),
        (&["-p", "22", "web1", "true"], "port 22 is not web1's"),
        (&["web9", "true"], "no host web9"),
        (&["-Z", "web1"], "there is no option -Z"),
    ] {
        let (status, _, error) = said(&mut ssh(&fleet, words));
        assert!(status == Some(255) && error.contains(part), "{error}");
    }
    let port = agent.address.port().to_string();
    assert_eq!(said(&mut ssh(&fleet, &["-p", &port, "web1", "true"])).0, Some(0));
}

#[test]
fn a_shell_reads_its_lines_and_a_terminal_is_given_where_it_is_asked_for() {
    let (fleet, _agent) = TestFleet::with_agent();
    let lines = b"echo out; test -t 0 || echo none\nexit 3\n";
    let (status, stdout, error) = fed(&mut ssh(&fleet, &["-T", "web1"]), lines);
    assert_eq!((status, stdout.as_str()), (Some(3), "out\nnone\n"), "{error}");
    let asked = "test -t 0 && test -t 1 && echo a terminal; exit 4";
    let (status, stdout, _) = said(&mut ssh(&fleet, &["-tt", "web1", asked]));
    assert_eq!((status, stdout.as_str()), (Some(4), "a terminal\r\n"));
    let (status, stdout, error) = said(&mut ssh(&fleet, &["-t", "web1", asked]));
    assert_eq!((status, stdout.as_str()), (Some(4), ""));
    assert!(error.contains("stdin is no terminal"), "{error}");
    let (status, stdout, _) = fed(&mut ssh(&fleet, &["-n", "web1", "cat"]), b"");
    assert_eq!((status, stdout.as_str()), (Some(0), ""));
}

#[test]
fn stdin_and_stdout_are_a_connection_with_w() {
    let (fleet, _agent) = TestFleet::with_agent();
    let to = server().to_string();
    // Its length is text too.
    let sent = "x".repeat(0x0a_2121);
    let (status, stdout, error) = fed(&mut ssh(&fleet, &["-W", &to, "web1"]), sent.as_bytes());
    assert!(status == Some(0) && stdout[8..] == sent, "{error}");
    // A server that says something and hangs up: whoever waits for the end of stdout sees it, though stdin is open.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"bye").unwrap());
    let mut piped = ssh(&fleet, &["-W", &to, "web1"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut came = String::new();
    child.stdout.take().unwrap().read_to_string(&mut came).unwrap();
    assert_eq!(came, "bye");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().code().is_some());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (status, _, error) = said(&mut ssh(&fleet, &["-W", &closed, "web1"]));
    assert!(status == Some(255) && error.contains("connection refused"), "{error}");
}

/// A free port of this machine.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn ports_are_forwarded_beside_a_command_or_alone() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (to, here, there, proxy) = (server(), free(), free(), free());
    let words = [
        "-T",
        "-L",
        &format!("{}:{to}", here.port()),
        "-R",
        &format!("{}:{to}", there.port()),
        "-D",
        &proxy.port().to_string(),
        "web1",
        "echo ready; read line; exit $line",
    ];
    let mut child =
        ssh(&fleet, &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    ask(here, &bytes(300_000));
    lariat_testing::wait::until("the host's port", || std::net::TcpStream::connect(there).ok());
    ask(there, &bytes(300_000));
    let mut client = std::net::TcpStream::connect(proxy).unwrap();
    let asked =
        [&[5, 1, 0, 5, 1, 0, 1][..], &Ipv4Addr::LOCALHOST.octets(), &to.port().to_be_bytes()];
    client.write_all(&asked.concat()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], [5, 0, 5, 0]);
    drop(client);
    child.stdin.take().unwrap().write_all(b"9\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    // Alone, until it is ended.
    let mut child =
        ssh(&fleet, &["-N", "-L", &format!("{}:{to}", here.port()), "web1"]).spawn().unwrap();
    lariat_testing::wait::until("the port", || std::net::TcpStream::connect(here).ok());
    ask(here, b"x");
    child.kill().unwrap();
    child.wait().unwrap();
    // What can't be forwarded is no success.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("{}:{to}", taken.local_addr().unwrap().port());
    let (status, _, error) = said(&mut ssh(&fleet, &["-L", &spec, "web1", "true"]));
    assert!(status == Some(255) && error.contains("address already in use"), "{error}");
}

#[test]
fn a_file_of_a_key_selects_it_and_other_files_are_ignored() {
    let (fleet, _agent) = TestFleet::with_agent();
    let keys = fleet.home().join("keys");
    let own = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let other = fleet.path("id_ed25519");
    fs::write(&other, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let run = |words: &[&str]| said(&mut ssh(&fleet, &[words, &["web1", "true"]].concat()));
    let [own, other] = [&own, &other].map(|path| path.to_str().unwrap());
    assert_eq!(run(&["-i", own]).0, Some(0));
    let (status, _, error) = run(&["-v", "-i", other]);
    assert!(status == Some(0) && error.contains("is ignored: it is no key of lariat's"), "{error}");
    assert_eq!(run(&["-i", other]), (Some(0), String::new(), String::new()));
    let (status, _, error) = run(&["-o", "IdentitiesOnly=yes", "-i", other]);
    assert!(status == Some(255) && error.contains("it is no key of lariat's"), "{error}");
    assert_eq!(run(&["-o", "IdentitiesOnly=yes", "-i", own]).0, Some(0));
    // A key that the host does not know, and one that is not in use here.
    fleet.ok(["key", "new", "stranger"]);
    let stranger = keys.join("stranger.key");
    let (status, _, error) = run(&["-i", stranger.to_str().unwrap()]);
    assert!(status == Some(255) && error.contains("denied"), "{error}");
    let away = fleet.home().join("away.key");
    fs::rename(&stranger, &away).unwrap();
    let (status, _, error) = run(&["-i", away.to_str().unwrap()]);
    assert!(status == Some(255) && error.contains("it is not in use here"), "{error}");
}

#[test]
fn sshfs_mounts_a_directory() {
    if !has("sshfs", "-V") || !std::path::Path::new("/dev/fuse").exists() {
        eprintln!("not tested: sshfs needs itself and /dev/fuse");
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let [there, here] = ["there", "here"].map(|name| fleet.path(name));
    [&there, &here].iter().for_each(|directory| fs::create_dir(directory).unwrap());
    random_file(&there.join("file"), 2_000_000, 1);
    let mut sshfs = command(&fleet, "sshfs");
    sshfs.arg("-o").arg(format!("ssh_command={}", program(&fleet, "lariat-ssh").display()));
    sshfs.arg(format!("web1:{}", there.display())).arg(&here);
    let (status, _, error) = said(&mut sshfs);
    if status != Some(0) && error.contains("fuse") {
        eprintln!("not tested: {error}");
        return;
    }
    assert_eq!(status, Some(0), "{error}");
    assert!(fs::read(here.join("file")).unwrap() == fs::read(there.join("file")).unwrap());
    fs::write(here.join("new"), "text").unwrap();
    assert_eq!(fs::read(there.join("new")).unwrap(), b"text");
    said(command(&fleet, "fusermount3").arg("-u").arg(&here));
}

#[test]
fn ansible_runs_modules_through_it() {
    if !has("ansible", "--version") {
        eprintln!("not tested: ansible is not here");
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let inventory = fleet.path("hosts.ini");
    fs::write(&inventory, "web1 ansible_python_interpreter=/usr/bin/python3\n").unwrap();
    let ssh = program(&fleet, "lariat-ssh");
    let run = |module: &str, arguments: &str| {
        let mut ansible = command(&fleet, "ansible");
        ansible.env("ANSIBLE_SSH_EXECUTABLE", &ssh).env("ANSIBLE_SSH_TRANSFER_METHOD", "piped");
        ansible.env("LC_ALL", "C.UTF-8").arg("-i").arg(&inventory).args(["web1", "-m", module]);
        if !arguments.is_empty() {
            ansible.args(["-a", arguments]);
        }
        let (status, stdout, error) = said(&mut ansible);
        assert_eq!(status, Some(0), "{module}: {stdout}{error}");
        stdout
    };
    assert!(run("ping", "").contains("pong"));
    assert!(run("command", "echo 'a b' \"$x\" *").contains("a b"));
    let [from, to, back] = ["from", "to", "back"].map(|name| fleet.path(name));
    random_file(&from, 300_000, 2);
    run("copy", &format!("src={} dest={}", from.display(), to.display()));
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
    run("fetch", &format!("src={} dest={} flat=yes", to.display(), back.display()));
    assert!(fs::read(&from).unwrap() == fs::read(&back).unwrap());
}
