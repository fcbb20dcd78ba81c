//! One directory and one process group for everything that the benchmark creates. Both are removed however
//! the benchmark ends: normally, by a panic, Ctrl-C or SIGKILL.
//!
//! A shell in a group of its own waits for the end of a pipe whose other end only the benchmark has. When the
//! benchmark ends, the pipe closes; the shell then kills the group and removes the directory.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Keeps the directory and the group. Must be dropped last.
pub(crate) struct Guard {
    directory: PathBuf,
    /// The group's first member, so that the group exists before any server.
    leader: Child,
    shell: Child,
}

/// Waits for the end of its input.
const LEADER: &str = "while read -r _; do :; done";
/// Waits likewise, then kills the group `$1` and removes the directory `$2`.
const SHELL: &str = "trap '' HUP INT TERM; while read -r _; do :; done; \
    kill -KILL -\"$1\" 2>/dev/null; rm -rf -- \"$2\"";

impl Guard {
    /// Creates a directory inside `parent`.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        let leader = waiting(&[LEADER.as_ref()])?;
        let directory = tempfile::Builder::new().prefix("lariat-bench-").tempdir_in(parent)?.keep();
        let group = leader.id().to_string();
        let arguments = [SHELL.as_ref(), "guard".as_ref(), group.as_ref(), directory.as_os_str()];
        let shell = waiting(&arguments)?;
        Ok(Self { directory, leader, shell })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command in the group, without the benchmark's own environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        self.join(&mut command);
        command
    }

    /// Puts a command into the group.
    pub(crate) fn join(&self, command: &mut Command) {
        command.process_group(i32::try_from(self.leader.id()).expect("process ids fit"));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        drop(self.shell.stdin.take());
        // They are our children, and end when the pipe closes.
        let _ = self.leader.wait();
        let _ = self.shell.wait();
    }
}

/// Starts a script that waits for our end, in a group of its own so that Ctrl-C does not reach it.
fn waiting(script: &[&OsStr]) -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").args(script).env("PATH", "/usr/bin:/bin");
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).spawn()
}
