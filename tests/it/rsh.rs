//! `lariat rsh` in place of ssh: the real rsync, git, scp and sftp over it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;

/// Whether this machine has a program.
fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// A program of this machine, in the fleet's environment.
fn program(fleet: &TestFleet, name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("LARIAT_HOME", fleet.home()).env("HOME", fleet.path(""));
    command.env("RSYNC_RSH", rsh()).env("GIT_SSH_COMMAND", rsh());
    for (name, value) in [("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")] {
        command.env(name, value);
    }
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "test").env(format!("GIT_{who}_EMAIL"), "test@test");
    }
    command.current_dir(fleet.path("")).stdin(Stdio::null());
    command
}

fn rsh() -> String {
    format!("{} rsh", binaries().lariat.display())
}

fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn rsh_output(fleet: &TestFleet, words: &[&str]) -> Output {
    fleet.run([&["rsh"], words].concat())
}

/// Every path below a directory, with its mode and content.
fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_dir() {
                open.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                format!("{:x?}", blake(&fs::read(&path).unwrap()))
            };
            let name = path.strip_prefix(root).unwrap().to_owned();
            all.push(format!("{} {:o} {what}", name.display(), metadata.permissions().mode()));
        }
    }
    all.sort();
    all
}

/// A fingerprint of a file's content.
fn blake(bytes: &[u8]) -> (usize, u64) {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (bytes.len(), bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("sub/empty")).unwrap();
    for number in 0..40 {
        fs::write(root.join(format!("sub/file {number}")), format!("{number}\n")).unwrap();
    }
    fs::write(root.join("with 'quotes' and $(signs) \u{e9}"), "x").unwrap();
    fs::set_permissions(root.join("sub/file 1"), PermissionsExt::from_mode(0o751)).unwrap();
    symlink("sub/file 2", root.join("link")).unwrap();
    random_file(&root.join("large"), 5_000_000, 1);
}

fn denied(fleet: &TestFleet, agent: Agent) -> Agent {
    drop(agent);
    let keyring = fleet.bundle("web1").join("keyring.toml");
    let text = fs::read_to_string(&keyring).unwrap();
    let verbs = text.lines().find(|line| line.starts_with("verbs")).unwrap();
    fs::write(&keyring, text.replace(verbs, "verbs = [\"push\"]")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    agent
}

#[test]
fn a_line_its_bytes_and_its_exit_code() {
    let (fleet, agent) = TestFleet::with_agent();
    let mut child = fleet
        .lariat()
        .args(["rsh", "-oBatchMode=yes", "-T", "web1", "cat;", "echo  a   b;", "exit", "7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(got == [&bytes[..], b"a b\n"].concat());

    let output = rsh_output(&fleet, &["-n", "-l", "no-such-user", "web1", "true"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(255) && error.contains("no user no-such-user"), "{error}");
    let output = fleet
        .lariat()
        .args(["rsh", "-oSendEnv=A", "-o", "SetEnv=B=2", "--", "web1", "--", "echo $A$B"])
        .env("A", "1")
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"12\n");
    let output = rsh_output(&fleet, &["-G", "web1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("hostname {}\nport {}\n", agent.address.ip(), agent.address.port())),
        "{text}"
    );
}

#[test]
fn what_is_not_supported_is_said_in_one_line() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (words, part) in [
        (&["-p", "22", "web1", "true"][..], "port 22 is not web1's"),
        (&["-Z", "web1", "x"], "there is no option -Z"),
        (&["-f", "web1", "x"], "ssh's option -f is not supported"),
        (&["-L", "80", "web1", "x"], "\"80\" is not [BIND:]PORT:ADDR:PORT"),
        (&["web9", "x"], "no host web9 in this fleet"),
    ] {
        let error = fleet.fails(255, [&["rsh"], words].concat());
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn rsync_pushes_and_pulls_a_tree_exactly() {
    if !has("rsync") {
        eprintln!("not tested: rsync is not here");
        return;
    }
    let (fleet, agent) = TestFleet::with_agent();
    let (here, there, back) = (fleet.path("here"), fleet.path("the re"), fleet.path("back"));
    make_tree(&here);
    let rsync =
        |from: &str, to: &str| ok(program(&fleet, "rsync").args(["-a", "--delete", from, to]));
    rsync("here/", &format!("web1:{}/", there.display()));
    assert_eq!(tree(&there), tree(&here));
    fs::write(here.join("sub/file 3"), "changed").unwrap();
    fs::remove_file(here.join("sub/file 4")).unwrap();
    rsync("here/", &format!("web1:{}/", there.display()));
    assert_eq!(tree(&there), tree(&here));
    rsync(&format!("web1:{}/", there.display()), "back/");
    assert_eq!(tree(&back), tree(&here));

    let _agent = denied(&fleet, agent);
    let to = format!("web1:{}/", there.display());
    let output = program(&fleet, "rsync").args(["-a", "here/", &to]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{error}");
    assert!(
        error.contains("web1") && error.contains("this key is not permitted to run"),
        "{error}"
    );
}

#[test]
fn git_clones_fetches_and_pushes() {
    if !has("git") {
        eprintln!("not tested: git is not here");
        return;
    }
    let (fleet, agent) = TestFleet::with_agent();
    let git = |directory: &PathBuf, args: &[&str]| {
        ok(program(&fleet, "git").arg("-C").arg(directory).args(args)).trim().to_owned()
    };
    let origin = fleet.path("or igin.git");
    ok(program(&fleet, "git").args(["init", "-q", "--bare", "-b", "main"]).arg(&origin));
    let url = format!("web1:{}", origin.display());
    let (one, two) = (fleet.path("one"), fleet.path("two"));
    ok(program(&fleet, "git").args(["clone", "-q", &url]).arg(&one));
    make_tree(&one);
    git(&one, &["checkout", "-q", "-b", "main"]);
    git(&one, &["add", "."]);
    git(&one, &["commit", "-q", "-m", "first"]);
    git(&one, &["push", "-q", "origin", "main"]);
    ok(program(&fleet, "git").args(["clone", "-q", &url]).arg(&two));
    assert_eq!(git(&two, &["rev-parse", "HEAD"]), git(&one, &["rev-parse", "HEAD"]));
    fs::write(one.join("more"), "more").unwrap();
    git(&one, &["add", "more"]);
    git(&one, &["commit", "-q", "-m", "second"]);
    git(&one, &["push", "-q", "origin", "main"]);
    // git probes what it may ask of its ssh: the newer protocol needs a variable to be sent.
    let mut fetch = program(&fleet, "git");
    fetch.arg("-C").arg(&two).args(["fetch", "-q"]).env("GIT_TRACE_PACKET", "1");
    let output = fetch.output().unwrap();
    let trace = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && trace.contains("version 2"), "{trace}");
    assert_eq!(git(&two, &["rev-parse", "origin/main"]), git(&one, &["rev-parse", "HEAD"]));

    let _agent = denied(&fleet, agent);
    let output = program(&fleet, "git").arg("-C").arg(&two).arg("fetch").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("this key is not permitted to run"),
        "{error}"
    );
}

#[test]
fn scp_and_sftp_work_over_it() {
    let directories = ["/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec"];
    let served =
        directories.iter().any(|directory| Path::new(directory).join("sftp-server").exists());
    if !served || Command::new("scp").output().is_err() {
        eprintln!("not tested: scp and sftp-server are not here");
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    // Both take the name of a single program.
    let wrapper = fleet.path("lariat-ssh");
    symlink(&binaries().lariat, &wrapper).unwrap();
    random_file(&fleet.path("a file"), 3_000_000, 2);
    let there = fleet.path("there");
    let mut scp = program(&fleet, "scp");
    scp.args(["-q", "-S"]).arg(&wrapper).arg("a file").arg(format!("web1:{}", there.display()));
    ok(&mut scp);
    assert!(fs::read(&there).unwrap() == fs::read(fleet.path("a file")).unwrap());
    let batch = fleet.path("batch");
    fs::write(&batch, format!("get {} again\n", there.display())).unwrap();
    let mut sftp = program(&fleet, "sftp");
    sftp.arg("-q").arg("-S").arg(&wrapper).arg("-b").arg(&batch).arg("web1");
    ok(&mut sftp);
    assert!(fs::read(fleet.path("again")).unwrap() == fs::read(&there).unwrap());
}
