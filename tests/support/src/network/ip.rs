//! The interfaces and addresses of a namespace, by `ip`.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs commands of `ip`, one a line, in the namespace of this thread.
pub(super) fn configure(commands: &str) -> Result<(), String> {
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut ip = ip.spawn().map_err(|e| format!("no ip: {e}"))?;
    let written = ip.stdin.take().map(|mut stdin| stdin.write_all(commands.as_bytes()));
    let status = ip.wait().map_err(|e| format!("wait for ip: {e}"))?;
    match written {
        Some(Ok(())) if status.success() => Ok(()),
        _ => Err(format!("ip failed: {status}: {commands}")),
    }
}
