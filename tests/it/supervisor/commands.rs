//! The environment of a command, and its output, to the byte.
use lariat_testing::wait::block_on;
use lariat_wire::protocol::exec::{End, Run};
use lariat_wire::protocol::failure::{Action, Cause};

use super::{Host, Outcome, argv, gather, shell};

fn run(run: Run) -> Outcome {
    block_on(async { Host::new().run(run).await })
}

fn out(line: &str) -> String {
    let outcome = run(shell(line));
    assert_eq!((outcome.stderr.as_str(), outcome.end), ("", End::Exited(0)), "{line}");
    outcome.stdout
}

#[test]
fn both_streams_and_the_exit_status_come_back() {
    let outcome = run(shell("echo out; echo err >&2; exit 42"));
    let expected = Outcome { stdout: "out\n".into(), stderr: "err\n".into(), end: End::Exited(42) };
    assert_eq!(outcome, expected);
    assert_eq!(run(shell("true")).end, End::Exited(0));
}

#[test]
fn a_signal_is_told_as_a_signal() {
    assert_eq!(run(shell("kill -9 $$")).end, End::Signaled(9));
    assert_eq!(run(shell("kill -s TERM $$")).end, End::Signaled(15));
}

#[test]
fn what_can_not_be_run_says_why() {
    assert_eq!(run(argv(&["no-such-program"])).end, End::NotRun(2));
    assert_eq!(run(argv(&["/no/such/program"])).end.status(), 127);
    assert_eq!(run(argv(&["/etc/passwd"])).end.status(), 126);
    assert_eq!(run(argv(&["/"])).end, End::NotRun(13));
    // A file that is not a program is not run by a shell.
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, "echo no").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let script = script.into_temp_path();
    assert_eq!(run(argv(&[script.to_str().unwrap()])).end, End::NotRun(8));
}

#[test]
fn argv_is_exact_and_a_line_is_a_shells() {
    let outcome = run(argv(&["printf", "%s|", "$HOME", "a b", "*", ""]));
    assert_eq!(outcome.stdout, "$HOME|a b|*||");
    assert_eq!(out("printf '%s|' \"$HOME\" a\\ b"), "/|a b|");
    assert_eq!(run(shell("-x")).end, End::Exited(127), "a line is no option");
}

#[test]
fn the_environment_is_clean_whatever_the_agents_is() {
    let request = Run { env: vec![(b"EXTRA".to_vec(), b"1".to_vec())], ..argv(&["env"]) };
    let mut lines: Vec<String> = run(request).stdout.lines().map(str::to_owned).collect();
    lines.sort();
    let expected = [
        "EXTRA=1",
        "HOME=/",
        "LANG=C.UTF-8",
        "LARIAT_HOST=web1",
        "LOGNAME=me",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL=/bin/sh",
        "USER=me",
    ];
    assert_eq!(lines, expected);
}

/// Runs the test above again, in an agent whose own environment is poisoned.
#[test]
fn a_poisoned_environment_reaches_no_command() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", "supervisor::commands::the_environment_is_clean_whatever_the_agents_is"]);
    for name in ["LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "ENV", "NOTIFY_SOCKET", "LISTEN_FDS"] {
        again.env(name, "/no/such/poison");
    }
    let output = again.env("LISTEN_PID", "1").env("PATH", "/nowhere").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_requests_path_is_searched_and_the_last_word_counts() {
    let env = |value: &str| (b"PATH".to_vec(), value.as_bytes().to_vec());
    let request = Run { env: vec![env("/nowhere"), env("/bin")], ..argv(&["env"]) };
    assert_eq!(run(request).stdout.matches("PATH=/bin\n").count(), 1);
    let request = Run { env: vec![env("/nowhere")], ..argv(&["true"]) };
    assert_eq!(run(request).end, End::NotRun(2));
}

#[test]
fn the_directory_is_the_home_or_what_was_asked() {
    assert_eq!(out("pwd"), "/\n");
    let cwd = |directory: &str| Some(directory.as_bytes().to_vec());
    assert_eq!(run(Run { cwd: cwd("usr/bin"), ..shell("pwd -P") }).stdout, "/usr/bin\n");
    block_on(async {
        let host = Host::new();
        let (mut events, commands) = host.start(Run { cwd: cwd("/no/such"), ..shell("true") });
        let failure = gather(&mut events, &commands).await.unwrap_err();
        assert_eq!(failure.action, Action::EnterDirectory);
        assert_eq!(failure.path.as_deref(), Some(&b"/no/such"[..]));
        assert_eq!(failure.cause, Cause::Os(2));
    });
}

#[test]
fn no_descriptor_is_inherited() {
    // A descriptor without CLOEXEC in this process, as a careless library would leave one.
    let leak = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    // ls itself opens one to list the directory.
    assert_eq!(out("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    assert_eq!(out("readlink /proc/self/fd/0"), "/dev/null\n");
}

#[test]
fn signals_mask_umask_nice_and_session_are_a_fresh_logins() {
    // Run without a shell, which would clean up itself. In whatever it starts, the C library ignores the two
    // signals that it reserves (32 and 33).
    let status = run(argv(&["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"])).stdout;
    assert_eq!(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n");
    assert_eq!(out("umask; nice; cat /proc/self/oom_score_adj"), "0022\n0\n0\n");
    // SIGPIPE ends a writer without a reader.
    assert_eq!(run(shell("(yes; echo $? >&2) | true")).stderr, "141\n");
    assert_eq!(out("test $(ps -o pgid= $$) -eq $$ && echo leads"), "leads\n");
}

#[test]
fn a_job_id_runs_once() {
    block_on(async {
        let host = Host::new();
        let request = shell("echo once");
        let (mut events, commands) = host.start(request.clone());
        let again =
            host.jobs.start(super::KEY, request, &super::me(), None, None, false).err().unwrap();
        assert!(matches!(again, lariat_agent::jobs::StartError::Exists));
        assert_eq!(gather(&mut events, &commands).await.unwrap().stdout, "once\n");
    });
}
