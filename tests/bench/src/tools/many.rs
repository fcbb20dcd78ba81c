//! Tools that reach many hosts by ssh. All hosts are the one private sshd, under different names.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use lariat_testing::wait;
use rustix::process::Pid;

use super::Tools;
use super::ssh::{Master, Ssh};
use crate::guard::Guard;

/// Parallel hosts, as lariat's default.
const AT_ONCE: &str = "64";

/// A number of hosts, in these tools' notation.
fn hosts(count: usize) -> String {
    format!("h[0001-{count:04}]")
}

/// Runs a command with ClusterShell's clush.
pub(crate) fn clush(
    tools: &Tools,
    ssh: &Ssh,
    guard: &Guard,
    count: usize,
    words: &[&str],
) -> Result<Command, String> {
    let mut command = guard.command(tools.get("clush")?);
    path(&mut command);
    command.args(["-f", AT_ONCE, "-w", &hosts(count), "-o"]).arg(options(ssh)).args(words);
    Ok(command)
}

/// Copies a file with ClusterShell's clush.
pub(crate) fn clush_copy(
    tools: &Tools,
    ssh: &Ssh,
    guard: &Guard,
    count: usize,
    from: &Path,
    to: &Path,
) -> Result<Command, String> {
    let mut command = clush(tools, ssh, guard, count, &["--copy"])?;
    command.arg(from).arg("--dest").arg(to);
    Ok(command)
}

/// Runs a command with pdsh.
pub(crate) fn pdsh(
    tools: &Tools,
    ssh: &Ssh,
    guard: &Guard,
    count: usize,
    word: &str,
) -> Result<Command, String> {
    let mut command = guard.command(tools.get("pdsh")?);
    path(&mut command);
    command.env("PDSH_SSH_ARGS_APPEND", options(ssh));
    command.args(["-R", "ssh", "-f", AT_ONCE, "-w", &hosts(count), word]);
    Ok(command)
}

/// Both search PATH for ssh.
fn path(command: &mut Command) {
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
}

fn options(ssh: &Ssh) -> OsString {
    let mut options = OsString::from("-F ");
    options.push(ssh.config());
    options
}

/// Master connections, one for each host.
pub(crate) struct Masters(Vec<Master>);

impl Masters {
    /// Opens the connections.
    pub(crate) fn connect(ssh: &Ssh, guard: &Guard, count: usize) -> Result<Self, String> {
        let masters = (1..=count).map(|number| ssh.begin_master(guard, &format!("master{number}")));
        let masters: Vec<Master> = masters.collect::<Result<_, _>>()?;
        for master in &masters {
            wait::until("a master connection", || master.socket().exists().then_some(()));
        }
        Ok(Self(masters))
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.0.iter().map(Master::pid).collect()
    }

    /// Runs a command over each of them.
    pub(crate) fn run(&self, ssh: &Ssh, guard: &Guard, word: &str) -> Command {
        let directory = self.0.first().and_then(|master| master.socket().parent());
        let socket = directory.unwrap_or(Path::new("/")).join("master{}");
        let one = ssh.run_by_socket(&socket, guard, &[word]);
        let mut all = guard.command("/bin/sh");
        all.arg("-c").arg("n=$1; shift; seq $n | xargs -P 64 -I{} \"$@\"").arg("sh");
        all.arg(self.0.len().to_string()).arg(one.get_program()).args(one.get_args());
        all.stderr(Stdio::null());
        all
    }
}
