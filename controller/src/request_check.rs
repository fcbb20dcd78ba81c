//! Whether a command can be asked for at all: what the wire takes is known before anything is connected.

use lariat_wire::limits::MAX_MESSAGE;
use lariat_wire::link::message_frame;
use lariat_wire::protocol::exec::Run;

use crate::error::CliError;

/// Refuses a command that the wire does not take, on behalf of `verb`.
pub(crate) fn check(request: &Run, verb: &str) -> Result<(), CliError> {
    request.check().map_err(|e| CliError::from(e).during(verb))?;
    if message_frame(1, request).is_err() {
        let most = MAX_MESSAGE / 1024;
        let why = format!("{verb}: the command is over {most} KiB long, its environment included");
        return Err(CliError::new(why).hint("lariat run --script FILE, or push a file and name it"));
    }
    Ok(())
}
