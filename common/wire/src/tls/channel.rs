//! A TLS 1.3 connection after its handshake, as a stream.
//!
//! rustls does the handshake. The records are sealed and opened here, because rustls copies every byte twice
//! and reads one record at a time, which costs more than the ciphers do. Here a record is opened directly
//! into the reader's buffer and sealed directly from the writer's, and many of them go into one system call.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;

use super::record::{
    BadRecord, Content, HEADER, MAX_BODY, MAX_CONTENT, OVERHEAD, Opener, RecordEvent, Sealer, TAG,
    record_len,
};
use super::record_aligned::RecordAligned;
use super::secrets::{Secrets, agree};

/// The longest record, in bytes: how much is read at a time while little arrives.
const READ_FEW: usize = HEADER + MAX_BODY;
/// How much is read at a time while much arrives, in bytes.
const READ_MANY: usize = 256 * 1024;
/// Records that are sealed before they are sent.
const SEAL_MANY: usize = 8;
/// Records without a byte for the reader that a peer may send in a row.
const MAX_FRUITLESS: u32 = 32;
/// Announces that the next record is under new keys: type, length, no request for new keys of the other end.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// Why a connection could not be taken over from its handshake.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// rustls refused to hand it over.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// Its state is not what the handshake should have left.
    #[error("the TLS connection can't be taken over: {0}")]
    State(&'static str),
}

/// A connection whose handshake is done.
///
/// Reading ends without an error only after the peer's close_notify. Written bytes are sent once enough of
/// them have accumulated, or when flushed.
pub struct Channel<S> {
    stream: S,
    opener: Opener,
    sealer: Sealer,
    /// Bytes from the stream: `raw` has not been opened yet, `content` has not been read yet.
    incoming: Vec<u8>,
    raw: Range<usize>,
    content: Range<usize>,
    /// Records since the last one with a byte for the reader.
    fruitless: u32,
    closed: bool,
    /// The error of the record after those that are read.
    bad: Option<BadRecord>,
    /// Sealed bytes, of which `pending` are not sent yet.
    outgoing: Vec<u8>,
    pending: Range<usize>,
    closing: bool,
    /// The peer has asked for new keys in this direction.
    update_asked: bool,
}

impl<S> Channel<S> {
    /// Takes a connection over from its handshake. `secrets` are those of the handshake's configuration.
    pub fn take_over(
        stream: RecordAligned<S>,
        connection: impl Into<Connection>,
        secrets: &Secrets,
    ) -> Result<Self, TakeOverError> {
        let mut connection = connection.into();
        let mut incoming = vec![0; READ_FEW];
        let mut came = 0;
        let closed = loop {
            match io::Read::read(&mut connection.reader(), &mut incoming[came..]) {
                Ok(0) if came < incoming.len() => break true,
                Ok(0) => return Err(TakeOverError::State("it has more than a record in it")),
                Ok(read) => came += read,
                Err(_) => break false,
            }
        };
        let (stream, between) = stream.into_inner();
        if !between {
            return Err(TakeOverError::State("it is in the middle of a record"));
        }
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.tls13());
        let suite = suite.ok_or(TakeOverError::State("it is not TLS 1.3"))?;
        let (client, server) =
            secrets.take().ok_or(TakeOverError::State("its secrets were not kept"))?;
        let (sent, received) = match &connection {
            Connection::Client(_) => (client, server),
            Connection::Server(_) => (server, client),
        };
        let extracted = connection.dangerous_extract_secrets()?;
        let ((tx_sequence, tx), (rx_sequence, rx)) = (extracted.tx, extracted.rx);
        if !(agree(suite, &sent, &tx) && agree(suite, &received, &rx)) {
            return Err(TakeOverError::State("its keys have changed already"));
        }
        let unknown = |_| TakeOverError::State("its cipher is not known here");
        Ok(Self {
            stream,
            opener: Opener::new(suite, received, rx_sequence).map_err(unknown)?,
            sealer: Sealer::new(suite, sent, tx_sequence).map_err(unknown)?,
            incoming,
            raw: 0..0,
            content: 0..came,
            fruitless: 0,
            closed,
            bad: None,
            outgoing: Vec::new(),
            pending: 0..0,
            closing: false,
            update_asked: false,
        })
    }

    /// The stream below. Reading or writing it directly bypasses TLS.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    #[cfg(test)]
    pub(super) fn with_key_limit(mut self, records: u64) -> Self {
        self.sealer = self.sealer.limited_to(records);
        self
    }

    #[cfg(test)]
    pub(super) fn seal_for_test(&mut self, kind: Content, content: &[u8]) {
        self.seal(kind, content);
    }

    /// Opens the next record if it is complete: into `buffer` if it fits, else in place.
    fn open(&mut self, buffer: &mut ReadBuf<'_>) -> Result<bool, BadRecord> {
        let raw = &mut self.incoming[self.raw.clone()];
        let Some(len) = record_len(raw)?.filter(|&len| len <= raw.len()) else { return Ok(false) };
        let start = self.raw.start;
        self.raw.start += len;
        let record = &mut raw[..len];
        let most = len - HEADER - TAG;
        let (event, content) = if buffer.remaining() >= most {
            let out = buffer.initialize_unfilled_to(most);
            let (kind, content) = self.opener.open(record, out)?;
            let event = RecordEvent::of(kind, &out[..content])?;
            if event == RecordEvent::Data {
                buffer.advance(content);
            }
            (event, content)
        } else {
            let (kind, content) = self.opener.open_in_place(record)?;
            let event = RecordEvent::of(kind, &record[content.clone()])?;
            if event == RecordEvent::Data {
                self.content = start + content.start..start + content.end;
            }
            (event, content.len())
        };
        match event {
            RecordEvent::Data if content > 0 => {
                self.fruitless = 0;
                return Ok(true);
            }
            RecordEvent::Data | RecordEvent::Ticket => {}
            RecordEvent::Closed => self.closed = true,
            RecordEvent::Update { asked } => {
                self.opener.update();
                self.update_asked |= asked;
            }
        }
        self.fruitless += 1;
        if self.fruitless > MAX_FRUITLESS { Err(BadRecord::Content) } else { Ok(true) }
    }

    /// Makes space after the raw bytes, at least for the rest of a record.
    fn make_room(&mut self) {
        let len = self.incoming.len();
        // The last read filled the buffer, so more is likely to follow.
        let enough = if self.raw.end == len { READ_MANY } else { READ_FEW };
        if len < enough {
            self.incoming.resize(enough, 0);
        }
        if self.raw.is_empty() {
            self.raw = 0..0;
        } else if self.raw.start + READ_FEW > self.incoming.len() {
            self.incoming.copy_within(self.raw.clone(), 0);
            self.raw = 0..self.raw.len();
        }
    }

    /// Seals one record after what is pending.
    fn seal(&mut self, kind: Content, content: &[u8]) {
        let end = self.pending.end + OVERHEAD + content.len();
        if self.outgoing.len() < end {
            self.outgoing.resize(end, 0);
        }
        self.pending.end += self.sealer.seal(kind, content, &mut self.outgoing[self.pending.end..]);
    }

    /// Seals as much of `bytes` as fits.
    fn seal_some(&mut self, bytes: &[u8]) -> usize {
        let mut sealed = 0;
        for part in bytes.chunks(MAX_CONTENT) {
            if self.pending.end >= SEAL_MANY * (OVERHEAD + MAX_CONTENT) {
                break;
            }
            if self.update_asked || self.sealer.needs_key_update() {
                self.seal(Content::Handshake, &KEY_UPDATE);
                self.sealer.update();
                self.update_asked = false;
            }
            self.seal(Content::Data, part);
            sealed += part.len();
        }
        sealed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Ends TLS in order and waits until the peer has done so, both without ending the stream below. Returns that
    /// stream, and the bytes that have arrived from it after the peer's end of TLS.
    ///
    /// Fails if the peer sends anything else before its end.
    pub async fn bare(mut self) -> io::Result<(S, Vec<u8>)> {
        if !self.closing {
            self.seal(Content::Alert, &CLOSE_NOTIFY);
            self.closing = true;
        }
        poll_fn(|cx| self.poll_send(cx)).await?;
        self.stream.flush().await?;
        if self.read(&mut [0]).await? > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record after the last one"));
        }
        let after = self.incoming[self.raw].to_vec();
        Ok((self.stream, after))
    }
}

impl<S: AsyncWrite + Unpin> Channel<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let bytes = &self.outgoing[self.pending.clone()];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.start += sent;
        }
        self.pending = 0..0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Channel<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if !this.content.is_empty() {
                let len = this.content.len().min(buffer.remaining());
                let start = this.content.start;
                buffer.put_slice(&this.incoming[start..start + len]);
                this.content.start += len;
            }
            if buffer.remaining() == 0 || this.closed {
                return Poll::Ready(Ok(()));
            }
            match this.bad.map_or_else(|| this.open(buffer), Err) {
                Ok(true) => continue,
                // The bytes before it are read first.
                Err(bad) if buffer.filled().len() > before => this.bad = Some(bad),
                Err(bad) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, bad)));
                }
                Ok(false) => {}
            }
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            this.make_room();
            let mut room = ReadBuf::new(&mut this.incoming[this.raw.end..]);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut room))?;
            if room.filled().is_empty() {
                // Without close_notify it is a cut, even between records (section 6.1).
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.raw.end += room.filled().len();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Channel<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        loop {
            let sealed = this.seal_some(bytes);
            if sealed > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(sealed));
            }
            ready!(this.poll_send(cx))?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.seal(Content::Alert, &CLOSE_NOTIFY);
            this.closing = true;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
