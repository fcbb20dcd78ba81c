//! Frames before authentication: one at a time, with a small limit. No byte past a frame is read, so that
//! nothing after a login is touched before the login is decided.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::LinkError;
use crate::frame::{HEADER_LEN, Header};
use crate::limits::MAX_FRAME_UNAUTHENTICATED;
use crate::protocol::Kind;

/// Encodes a frame that comes before authentication.
pub fn hello_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&Header { kind, request: 0, len: payload.len() }.encode()[..], payload].concat()
}

/// Reads one frame that comes before authentication. A frame of any other kind is an error.
pub async fn read_hello<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<(Kind, Vec<u8>), LinkError> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let header = Header::decode(header, MAX_FRAME_UNAUTHENTICATED)?;
    if !header.kind.is_hello() {
        return Err(LinkError::Unexpected(header.kind));
    }
    let mut payload = vec![0; header.len];
    stream.read_exact(&mut payload).await?;
    Ok((header.kind, payload))
}
