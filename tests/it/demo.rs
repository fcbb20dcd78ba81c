//! `lariat demo`, as a newcomer to lariat uses it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use lariat_testing::binaries::binaries;
use lariat_testing::screen::Screen;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};

fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(&binaries().lariat);
    command.env_clear().env("TMPDIR", temporary).arg("demo").stdin(Stdio::null());
    command
}

#[test]
fn it_tells_its_story_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = demo(directory.path());
    command.args(["--keep"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("SHELL", "/bin/sh").spawn().unwrap();
    // The commands are for the shell at the end.
    let line = b"lariat ping web01; cd $DEMO && ls; lariat run --detach web02 -- sleep 86399.7\n";
    child.stdin.take().unwrap().write_all(line).unwrap();
    let output = child.wait_with_output().unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    for words in [
        "web[01-10] (12)\n",
        "-port = 8080\n+port = 8081\n",
        "web03: 1 file, 256.00 MiB: sent ",
        " 1 2 3 [agent killed] [agent back] 4 5 6\n",
        "the exit status is the command's: 3",
        "web01: ",
        "\nbig.bin\n",
        "started job ",
        "lariat init",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // One byte in front of the file costs a few KiB.
    let sent = told.split("256.00 MiB: sent ").nth(2).and_then(|rest| rest.split_once(" KiB,"));
    let kib: f64 = sent.unwrap().0.parse().unwrap_or_else(|_| panic!("{told}"));
    assert!(kib < 64.0, "{told}");
    assert!(!told.contains('\x1b') && errors.is_empty(), "{told}{errors}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(!runs("sleep 86399.7"), "a job of the playground was left");
}

#[test]
fn on_a_terminal_it_waits_for_enter_and_shows_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    let mut screen = Screen::start(&mut demo(directory.path()));
    for _ in 0..3 {
        screen.sees("[Enter]");
        screen.types("\n");
    }
    screen.sees("[Enter]");
    screen.types("\n");
    screen.sees("A push of 256.00 MiB");
    screen.sees("% ");
    screen.sees("web03: connection lost, reconnecting (");
    screen.sees("stalled at ");
    screen.sees("web03: reconnected after ");
    screen.sees(" of big.bin were kept");
    screen.sees("[Enter]");
    rustix::process::kill_process(Pid::from_child(&screen.child), Signal::INT).unwrap();
    assert_eq!(screen.child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Whether any process was started with this text in its command line.
fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let words = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    words.into_iter().any(|line| line.contains(text))
}

/// Ends the tour with a signal once `there` exists in its directory; returns its status and output.
fn ended_by(signal: Signal, there: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = demo(directory.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until(there, || {
        let mut stages = std::fs::read_dir(directory.path()).unwrap().flatten();
        let part = |stage: &Path| {
            let mut files = std::fs::read_dir(stage.join("web03")).into_iter().flatten().flatten();
            files.any(|file| file.path().extension().is_some_and(|end| end == "part"))
        };
        let is_there = |stage: &Path| match there {
            "part" => part(stage),
            there => stage.join(there).exists(),
        };
        stages.any(|stage| is_there(&stage.path())).then_some(())
    });
    rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    wait::until("nothing to be left", || {
        let empty = std::fs::read_dir(directory.path()).unwrap().count() == 0;
        (empty && !runs(directory.path().to_str().unwrap())).then_some(())
    });
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn no_signal_leaves_anything_behind_or_makes_it_tell_of_a_failure() {
    for there in ["bundle/db2", "part"] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let expected = (Some(128 + signal.as_raw()), String::new());
            assert_eq!(ended_by(signal, there), expected, "{there}");
        }
        assert_eq!(ended_by(Signal::KILL, there), (None, String::new()), "{there}");
    }
}
