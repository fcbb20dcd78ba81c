//! What a worker does.

use lariat_wire::codec::CodecError;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::connect::ConnectUnix;
use lariat_wire::protocol::request::{ConnectRequest, FileRequest};

/// What a worker does.
#[allow(clippy::large_enum_variant, reason = "a worker has one, and never moves it")]
pub(crate) enum WorkerRequest {
    /// Work on files.
    File(FileRequest),
    /// A connection to a unix socket.
    Socket(ConnectUnix),
}

impl WorkerRequest {
    /// Encodes the request's frame: its kind and payload.
    pub(super) fn encode(&self) -> Result<(Kind, Vec<u8>), CodecError> {
        match self {
            Self::File(request) => request.encode(),
            Self::Socket(connect) => ConnectRequest::ConnectUnix(connect.clone()).encode(),
        }
    }

    /// Decodes the request's frame.
    pub(super) fn decode(kind: Kind, payload: &[u8]) -> Result<Self, LinkError> {
        if let Some(request) = FileRequest::decode(kind, payload) {
            return Ok(Self::File(request?));
        }
        match ConnectRequest::decode(kind, payload) {
            Some(Ok(ConnectRequest::ConnectUnix(connect))) => Ok(Self::Socket(connect)),
            _ => Err(LinkError::Unexpected(kind)),
        }
    }
}
