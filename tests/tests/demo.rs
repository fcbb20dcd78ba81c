//! `lariat demo` as somebody meets it who has never seen lariat.

use std::process::{Command, Stdio};

use lariat_tests::binaries::binaries;
use lariat_tests::wait;
use rustix::process::{Pid, Signal};

fn demo(temporary: &std::path::Path) -> Command {
    let mut command = Command::new(&binaries().lariat);
    command.env_clear().env("TMPDIR", temporary).arg("demo").stdin(Stdio::null());
    command
}

#[test]
fn it_tells_its_story_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    for words in ["hello from", "exit status was 3", "were not sent again", "equal", "lariat init"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(errors.is_empty(), "{errors}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn ctrl_c_leaves_nothing_either() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).stdout(Stdio::null()).spawn().unwrap();
    wait::until("the agent's state folder", || {
        let mut stages = std::fs::read_dir(folder.path()).unwrap().flatten();
        stages.any(|stage| stage.path().join("bundle/state").exists()).then_some(())
    });
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait::until("nothing to be left", || {
        (std::fs::read_dir(folder.path()).unwrap().count() == 0).then_some(())
    });
}
