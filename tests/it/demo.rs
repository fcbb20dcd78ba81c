//! `lariat demo`, as a newcomer to lariat uses it.

use std::path::Path;
use std::process::{Command, Stdio};

use lariat_testing::binaries::binaries;
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
    let output = demo(directory.path()).output().unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    for words in ["hello from", "exit status was 3", "were not sent again", "equal", "lariat init"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(errors.is_empty(), "{errors}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Whether any process was started with this text in its command line.
fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(text))
}

/// Ends the tour with a signal once `there` exists in its directory; returns its status and output.
fn ended_by(signal: Signal, there: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = demo(directory.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until(there, || {
        let mut stages = std::fs::read_dir(directory.path()).unwrap().flatten();
        let part = |stage: &Path| {
            let mut files = std::fs::read_dir(stage.join("srv")).into_iter().flatten().flatten();
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
    for there in ["bundle/state", "part"] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let expected = (Some(128 + signal.as_raw()), String::new());
            assert_eq!(ended_by(signal, there), expected, "{there}");
        }
        assert_eq!(ended_by(Signal::KILL, there), (None, String::new()), "{there}");
    }
}
