//! What a worker does.

use lariat_wire::codec::CodecError;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::can::{Asked, Can};
use lariat_wire::protocol::connect::ConnectUnix;
use lariat_wire::protocol::request::{ConnectRequest, FileRequest, RuleRequest};

/// What a worker does.
#[allow(clippy::large_enum_variant, reason = "a worker has one, and never moves it")]
pub(crate) enum WorkerRequest {
    /// Work on files.
    File(FileRequest),
    /// A look at the way of such work, which is not done.
    Look(FileRequest),
    /// A connection to a unix socket.
    Socket(ConnectUnix),
}

impl WorkerRequest {
    /// Encodes the request's frame: its kind and payload.
    pub(super) fn encode(&self) -> Result<(Kind, Vec<u8>), CodecError> {
        match self {
            Self::File(request) => request.encode(),
            Self::Look(request) => {
                let (kind, payload) = request.encode()?;
                let asked = Asked { kind: kind as u16, payload };
                RuleRequest::Can(Can { key: None, request: Some(asked) }).encode()
            }
            Self::Socket(connect) => ConnectRequest::ConnectUnix(connect.clone()).encode(),
        }
    }

    /// Decodes the request's frame.
    pub(super) fn decode(kind: Kind, payload: &[u8]) -> Result<Self, LinkError> {
        if let Some(request) = FileRequest::decode(kind, payload) {
            return Ok(Self::File(request?));
        }
        if let Some(request) = RuleRequest::decode(kind, payload) {
            let RuleRequest::Can(can) = request?;
            let asked = can.request.ok_or(LinkError::Unexpected(kind))?;
            let kind = Kind::try_from(asked.kind).map_err(|_| LinkError::Unexpected(kind))?;
            let request = FileRequest::decode(kind, &asked.payload);
            return Ok(Self::Look(request.ok_or(LinkError::Unexpected(kind))??));
        }
        match ConnectRequest::decode(kind, payload) {
            Some(Ok(ConnectRequest::ConnectUnix(connect))) => Ok(Self::Socket(connect)),
            _ => Err(LinkError::Unexpected(kind)),
        }
    }
}
