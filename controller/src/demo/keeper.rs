//! Removes the tour's agents and directory, however the tour ends.
//!
//! A shell owns them all, and starts and kills agents as its children on request. Only the tour holds the other
//! end of the shell's stdin: it is closed when the tour ends, even by SIGKILL, and then the shell kills the
//! agents and removes the directory.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lariat_base::os_error::io_error;
use rustix::process::Pid;
use tempfile::TempDir;

use crate::error::CliError;

/// `$1` is the directory, `$2` the agent's program. A request is a line: `start HOST ADDRESS`, `kill HOST`, or
/// `command PID`, the leader of a process group that must not outlive the tour.
const SCRIPT: &str = r#"
hosts= command=
while read -r verb host address; do
  case $verb in
    start)
      "$2" --config "$1/bundle/$host/agent.toml" --listen "$address" </dev/null 2>>"$1/log/$host" &
      eval "pid_$host=$!"
      case " $hosts " in *" $host "*) ;; *) hosts="$hosts $host" ;; esac ;;
    kill) eval "kill -9 \$pid_$host; wait \$pid_$host" ;;
    command) command=$host ;;
  esac
done
[ -z "$command" ] || kill -9 -- "-$command"
for host in $hosts; do eval "kill -9 \$pid_$host"; done
wait
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"#;

/// The directory, and the shell that cleans up.
pub(super) struct Keeper {
    /// Removes what the shell could not.
    directory: TempDir,
    shell: Child,
}

impl Keeper {
    /// Creates the directory, and starts the shell.
    pub(super) fn new(lariatd: &Path) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new().prefix("lariat-demo-").tempdir();
        let directory =
            directory.map_err(|e| CliError::from(e).during("make a temporary directory"))?;
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .args([directory.path(), lariatd])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Signals from the terminal must not end the shell.
            .process_group(0)
            .spawn()
            .map_err(|e| CliError::from(e).during("run /bin/sh"))?;
        Ok(Self { directory, shell })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The agent's log.
    pub(super) fn log(&self, host: &str) -> PathBuf {
        self.path().join("log").join(host)
    }

    /// Starts a host's agent.
    pub(super) fn start(&mut self, host: &str, address: &str) -> Result<(), CliError> {
        self.ask(&format!("start {host} {address}\n"))
    }

    /// Kills a host's agent.
    pub(super) fn kill(&mut self, host: &str) -> Result<(), CliError> {
        self.ask(&format!("kill {host}\n"))
    }

    /// This command is in progress, or none.
    pub(super) fn command(&mut self, pid: Option<Pid>) -> Result<(), CliError> {
        let pid = pid.map(|pid| pid.as_raw_nonzero().to_string()).unwrap_or_default();
        self.ask(&format!("command {pid}\n"))
    }

    fn ask(&mut self, request: &str) -> Result<(), CliError> {
        let gone = || std::io::Error::from(ErrorKind::BrokenPipe);
        let pipe = self.shell.stdin.as_mut().ok_or_else(gone);
        let asked = pipe.and_then(|pipe| pipe.write_all(request.as_bytes()));
        asked.map_err(|e| CliError::new(format!("start or kill an agent: {}", io_error(&e))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // There is no fallback if the shell can't be waited for.
        let _ = self.shell.wait();
    }
}
