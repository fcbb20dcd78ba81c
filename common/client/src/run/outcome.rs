//! How following a command ended.

use lariat_wire::protocol::exec::End;

use super::error::RunError;

/// How following a command ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command ended, and all of its output was written.
    Ended(End),
    /// The command was started and goes on by itself.
    Detached,
    /// A second signal, or one before the command was asked for, ended the client.
    Left {
        /// The signal.
        signal: u8,
        /// Whether the command may still run on the host, until the grace time is over.
        running: bool,
    },
    /// The reader of the output went away, and the command was ended for that.
    NoReader,
    /// The command's time limit is over, and the host has not said in time how the command ended.
    Overdue,
    /// Anything else: the command's end is not known, or its output could not be written.
    Failed(RunError),
}
