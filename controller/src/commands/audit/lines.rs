//! Reads a host's record line by line.

use std::ops::ControlFlow;

use lariat_client::{AuditPart, HostHandle};
use lariat_wire::protocol::audit::AuditStart;

use crate::error::CliError;
use crate::fanout::Failed;

/// The longest line that is shown, in bytes.
const MAX_LINE: usize = 256 * 1024;

/// Reads a host's record, and gives its lines, as many as there are at a time.
pub(super) async fn read_lines(
    handle: &HostHandle,
    start: AuditStart,
    mut each: impl AsyncFnMut(&[u8]) -> Result<ControlFlow<()>, CliError>,
) -> Result<(), Failed> {
    let (mut pending, mut broken) = (Vec::new(), None);
    let parts = async |part: AuditPart<'_>| {
        let AuditPart::Bytes(bytes) = part else { return ControlFlow::Continue(()) };
        pending.extend_from_slice(bytes);
        let whole = pending.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let rest = pending.split_off(whole);
        let done = each(&pending).await;
        pending = rest;
        match done {
            Ok(_) if pending.len() > MAX_LINE => {
                broken = Some(CliError::new("its record has a line that is too long"));
                ControlFlow::Break(())
            }
            Ok(on) => on,
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let read = handle.read_audit(start, parts).await;
    read.map_err(|error| Failed::from(error).before("audit show of"))?;
    let during = format!("audit show of {}", handle.name());
    broken.map_or(Ok(()), |error| Err(error.during(during).into()))
}
