//! A source of a command's stdin, which encodes that of another one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::encoder::StreamEncoder;
use super::name::HostEncoding;

/// Bytes that are encoded at a time.
const PIECE: usize = 16 * 1024;

/// Encodes what is read from it, unless it is to stay as it is.
pub(crate) struct Encoded<R> {
    source: R,
    encoding: Option<Box<Encoding>>,
}

struct Encoding {
    encoder: StreamEncoder,
    /// What is read from the source.
    piece: Vec<u8>,
    /// Encoded bytes, of which those before `given` were read.
    encoded: Vec<u8>,
    given: usize,
    has_ended: bool,
    /// How often something could not be encoded, and was replaced.
    replaced: Arc<AtomicU64>,
}

impl<R> Encoded<R> {
    /// The source as it is.
    pub(super) fn plain(source: R) -> Self {
        Self { source, encoding: None }
    }

    /// Encodes the source, and keeps the count of what was replaced in `replaced`.
    pub(super) fn new(source: R, encoding: HostEncoding, replaced: &Arc<AtomicU64>) -> Self {
        let encoding = Encoding {
            encoder: StreamEncoder::new(encoding),
            piece: vec![0; PIECE],
            encoded: Vec::new(),
            given: 0,
            has_ended: false,
            replaced: Arc::clone(replaced),
        };
        Self { source, encoding: Some(Box::new(encoding)) }
    }
}

impl Encoding {
    /// Gives as much as there is, and whether that was anything.
    fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let left = &self.encoded[self.given..];
        let len = left.len().min(into.remaining());
        into.put_slice(&left[..len]);
        self.given += len;
        len > 0
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Encoded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { source, encoding } = &mut *self;
        let Some(encoding) = encoding else { return Pin::new(source).poll_read(cx, into) };
        while !encoding.give(into) && !encoding.has_ended {
            let mut read = ReadBuf::new(&mut encoding.piece);
            ready!(Pin::new(&mut *source).poll_read(cx, &mut read))?;
            encoding.encoded.clear();
            encoding.given = 0;
            match read.filled() {
                [] => {
                    encoding.has_ended = true;
                    encoding.encoder.end(&mut encoding.encoded);
                }
                bytes => encoding.encoder.push(bytes, &mut encoding.encoded),
            }
            encoding.replaced.store(encoding.encoder.replaced(), Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}
