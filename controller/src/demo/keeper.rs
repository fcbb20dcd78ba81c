//! What must not be left behind by the tour: the agent and the directory, whatever ends the tour.
//!
//! A shell keeps them, and starts the agent, as its own child, when it is told to. Its stdin is a pipe
//! whose other end nobody has but the tour: it closes when that ends, even by SIGKILL, and then the
//! shell ends the agent and removes the directory.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use lariat_base::os_error::io_error;
use tempfile::TempDir;

use crate::error::CliError;

/// `$1` is the directory, `$2` the agent. Once it runs, nobody but the agent holds its log open.
const SCRIPT: &str = r#"
if read -r _; then
  "$2" --config "$1/bundle/agent.toml" --listen 127.0.0.1:0 </dev/null &
  exec 2>/dev/null
  read -r _
  kill -9 $!
  wait
fi
rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1" 2>/dev/null; }
"#;

/// The directory, and the shell that keeps it and the agent.
pub(super) struct Keeper {
    /// Removes what the shell could not.
    directory: TempDir,
    shell: Child,
}

impl Keeper {
    /// Makes the directory, and has it watched.
    pub(super) fn new(lariatd: &Path) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new().prefix("lariat-demo-").tempdir();
        let directory =
            directory.map_err(|e| CliError::from(e).during("make a temporary directory"))?;
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .args([directory.path(), lariatd])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What a terminal sends to the tour is not for those who tidy up after it.
            .process_group(0)
            .spawn()
            .map_err(|e| CliError::from(e).during("run /bin/sh"))?;
        Ok(Self { directory, shell })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the agent, and gives its log.
    pub(super) fn start_agent(&mut self) -> Result<ChildStderr, CliError> {
        let gone = || std::io::Error::from(ErrorKind::BrokenPipe);
        let told =
            self.shell.stdin.as_mut().ok_or_else(gone).and_then(|pipe| pipe.write_all(b"\n"));
        let log = told.and_then(|()| self.shell.stderr.take().ok_or_else(gone));
        log.map_err(|e| CliError::new(format!("start the agent: {}", io_error(&e))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing can be done about a shell that can't be waited for.
        let _ = self.shell.wait();
    }
}
