//! Why a connection did not serve a request to its end.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Failure;

/// Why a connection did not serve a request to its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection broke, or the agent violated the protocol.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The agent could not do it.
    #[error(transparent)]
    Failed(Failure),
}
