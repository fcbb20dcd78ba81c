//! Frames before authentication: one at a time, with a small limit, read to the byte so that nothing
//! behind a login is touched before it is decided about.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::LinkError;
use crate::frame::{HEADER_LEN, Header};
use crate::limits::MAX_FRAME_UNAUTHENTICATED;
use crate::protocol::Kind;

/// The bytes of a greeting's frame.
pub fn hello_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&Header { kind, request: 0, len: payload.len() }.encode()[..], payload].concat()
}

/// Reads one greeting; a frame of any other kind is an error.
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
