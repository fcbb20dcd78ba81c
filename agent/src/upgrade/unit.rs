//! The agent's own unit of systemd.

use std::io;
use std::process::{Command, Stdio};

use crate::jobs::scope::own_service;

const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// The service whose main process this is. An agent that was started by hand may be in another one's.
pub(crate) fn own() -> Option<String> {
    let service = own_service()?;
    let shown = systemctl(&["show", "--property=MainPID", "--value", &service]).ok()?;
    (shown.trim() == std::process::id().to_string()).then_some(service)
}

/// What systemd says of the service's start at boot: `enabled`, `disabled`, `masked` and the like.
pub(crate) fn enabled(unit: &str) -> io::Result<String> {
    let mut command = Command::new(SYSTEMCTL);
    // Its exit status says the same.
    let output = command.args(["is-enabled", unit]).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has systemd stop the service and start it again. Does not wait for it.
pub(super) fn restart(unit: &str) -> io::Result<()> {
    systemctl(&["restart", "--no-block", unit]).map(drop)
}

/// Has systemd start the service, however often it has failed. Does not wait for it.
pub(super) fn start(unit: &str) -> io::Result<()> {
    // It may not have failed.
    let _ = systemctl(&["reset-failed", unit]);
    systemctl(&["start", "--no-block", unit]).map(drop)
}

fn systemctl(words: &[&str]) -> io::Result<String> {
    let mut command = Command::new(SYSTEMCTL);
    let output = command.args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("systemctl {}: {}", words[0], output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
