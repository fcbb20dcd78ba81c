//! Commands of lariat itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::Way;
use crate::measure::{Measured, Sample};
use crate::stage::{HOST, Stage};

/// Its name in the tables.
pub(crate) const NAME: &str = "lariat";

/// Copies one file.
pub(crate) fn copy(stage: &Stage, way: Way, from: &Path, to: &Path) -> Command {
    let remote = |path: &Path| {
        let mut text = OsString::from(format!("{HOST}:"));
        text.push(path);
        text
    };
    let mut command = stage.lariat();
    match way {
        Way::Push => command.args(["push", "--json"]).arg(from).arg(remote(to)),
        Way::Pull => command.args(["pull", "--json"]).arg(remote(from)).arg(to),
    };
    command
}

/// The sample of a transfer, with the bytes that lariat reports as sent.
pub(crate) fn sample(measured: Measured) -> Result<Sample, String> {
    let Measured { sample, output } = measured;
    let object: serde_json::Value = serde_json::from_str(output.trim())
        .map_err(|e| format!("lariat printed {output:?}, which is no object: {e}"))?;
    let sent = object["sent"].as_u64().ok_or(format!("it does not say what it sent: {output}"))?;
    Ok(Sample { sent: Some(sent), ..sample })
}
