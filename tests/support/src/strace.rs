//! Failing file operations: an agent whose system calls on some paths fail, by means of `strace`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::agent::{Agent, anywhere};
use crate::binaries::binaries;
use crate::fleet::TestFleet;

/// What fails, and when.
#[derive(Clone, Debug)]
pub struct Injection<'a> {
    /// The system call, such as `fsync`.
    pub call: &'a str,
    /// What happens, in the words of `strace`: `error=EIO`, `signal=KILL`.
    pub what: &'a str,
    /// The number of the call in each thread, from 1.
    pub when: u32,
    /// Only calls on these paths count.
    pub paths: &'a [PathBuf],
}

/// Whether `strace` is installed and may trace. If not, prints that, so that the gap is known.
pub fn is_here() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]);
    let here = strace.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success());
    if !here {
        // Not by a macro, whose output is shown only for tests that fail.
        let skipped = "SKIPPED: strace is not here or may not trace: no file operation was failed";
        writeln!(std::io::stderr(), "{skipped}").expect("stderr is there");
    }
    here
}

/// Starts the agent of `host` with this injection. `log` shows afterwards whether it happened.
pub fn start(fleet: &TestFleet, host: &str, injection: &Injection<'_>, log: &Path) -> Agent {
    let Injection { call, what, when, paths } = injection;
    let config = fleet.bundle(host).join("agent.toml");
    let mut command = Command::new("strace");
    // The agent stays our child.
    command.args(["-D", "-f", "-qq", "-e", "signal=none", "-o"]).arg(log);
    if !what.starts_with("signal") {
        // Only the calls that count are slowed down; signals would be lost.
        command.arg("--seccomp-bpf");
    }
    for path in *paths {
        command.arg("-P").arg(path);
    }
    command.args(["-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:{what}:when={when}")]);
    command.arg(&binaries().lariatd).arg("--config").arg(&config);
    command.arg("--listen").arg(anywhere().to_string());
    let agent = Agent::spawn(command, config);
    fleet.set_address(host, agent.address);
    agent
}

/// Whether the injection happened.
pub fn happened(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains("(INJECTED)"))
}
