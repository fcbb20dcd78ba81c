//! rsync, over ssh and against a private daemon in plain text.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, getgid, getuid};

use super::ssh::{self, Cipher, Ssh};
use super::{Server, Tools, Way, listening};
use crate::guard::Guard;
use crate::measure::{Measured, Sample};
use crate::stage::Stage;

/// A daemon whose one module is the benchmark's directory.
pub(crate) struct RsyncDaemon {
    server: Server,
    port: u16,
    rsync: PathBuf,
}

impl RsyncDaemon {
    /// Starts the daemon as the current user.
    pub(crate) fn start(tools: &Tools, guard: &Guard) -> Result<Self, String> {
        let rsync = tools.get("rsync")?;
        let directory = guard.directory();
        let (config, log) = (directory.join("rsyncd.conf"), directory.join("rsyncd.log"));
        // Otherwise a daemon of root's runs as nobody, who can't write here.
        let identity = if getuid().is_root() {
            format!("uid = {}\ngid = {}\n", getuid().as_raw(), getgid().as_raw())
        } else {
            String::new()
        };
        let text = format!(
            "use chroot = no\nreverse lookup = no\nhosts allow = 127.0.0.1\nlog file = {}\n\
             [bench]\npath = {}\nread only = no\nlist = no\n{identity}",
            log.display(),
            directory.display(),
        );
        std::fs::write(&config, text).map_err(|e| format!("write its configuration: {e}"))?;
        let daemon = |port: u16| {
            let mut command = guard.command(&rsync);
            command.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
            command.arg(format!("--port={port}")).arg("--config").arg(&config);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let (child, port) = listening(daemon, &log).map_err(|e| format!("rsync daemon {e}"))?;
        Ok(Self { server: Server(child), port, rsync })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.server.0)
    }

    /// Copies one file, with these additional options.
    pub(crate) fn copy(
        &self,
        stage: &Stage,
        way: Way,
        options: &[&str],
        from: &Path,
        to: &Path,
    ) -> Command {
        self.copy_by(self.port, stage, way, options, from, to)
    }

    /// Copies one file through another port.
    pub(crate) fn copy_by(
        &self,
        port: u16,
        stage: &Stage,
        way: Way,
        options: &[&str],
        from: &Path,
        to: &Path,
    ) -> Command {
        let remote = |path: &Path| {
            let mut url = OsString::from(format!("rsync://127.0.0.1:{port}/bench/"));
            url.push(stage.inside(path));
            url
        };
        copy(stage, &self.rsync, way, options, from, to, remote)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Copies one file over ssh, with these additional options.
pub(crate) fn over_ssh(
    stage: &Stage,
    (ssh, rsync): (&Ssh, &Path),
    cipher: Cipher,
    way: Way,
    options: &[&str],
    from: &Path,
    to: &Path,
) -> Command {
    let mut command = copy(stage, rsync, way, options, from, to, ssh::remote);
    command.arg("-e").arg(ssh.shell(cipher));
    command
}

/// Modes and times are copied, as with lariat.
fn copy(
    stage: &Stage,
    rsync: &Path,
    way: Way,
    options: &[&str],
    from: &Path,
    to: &Path,
    remote: impl FnOnce(&Path) -> OsString,
) -> Command {
    let mut command = stage.guard.command(rsync);
    command.args(["--perms", "--times", "--no-compress"]).args(options);
    match way {
        Way::Push => command.arg(from).arg(remote(to)),
        Way::Pull => command.arg(remote(from)).arg(to),
    };
    command
}

/// The sample of a run with `--stats`, with the bytes that rsync reports as sent.
pub(crate) fn sample_with_sent(measured: Measured) -> Result<Sample, String> {
    const LINE: &str = "Total bytes sent: ";
    let Measured { sample, output } = measured;
    let number = output.lines().find_map(|line| line.strip_prefix(LINE));
    let digits = number.map(|number| number.replace([',', '.'], ""));
    let sent = digits.and_then(|digits| digits.trim().parse().ok());
    let sent = sent.ok_or(format!("rsync does not say what it sent: {output}"))?;
    Ok(Sample { sent: Some(sent), ..sample })
}
