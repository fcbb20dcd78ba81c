//! The reading direction: control frames are read whole, bulk frames in parts.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::keepalive::{Keepalive, Step};
use super::pulse::Pulse;
use super::traffic::Traffic;
use super::{LinkError, Outbox};
use crate::codec;
use crate::frame::{FrameError, HEADER_LEN, Header, following};
use crate::limits::{BEAT_EVERY, DEAD_AFTER, MAX_FRAME, MAX_MESSAGE, PING_AFTER, SLOWEST};
use crate::memory::Charge;
use crate::protocol::audit::AuditHead;
use crate::protocol::session::{Finished, Goodbye, Ping, Pong};
use crate::protocol::{Kind, Message, UnknownKind};

/// A frame's buffer grows by this many bytes as they arrive, not when they are announced.
const GROWTH: usize = 16 * 1024;

/// Length up to which a message is not charged to the peer, in bytes. Space for longer ones is charged, and
/// is kept once it was needed.
const FREE: usize = 64 * 1024;

/// Marks pings of the link itself. A `Pong` with this nonce needs no `Ping` before it: it is a sign of life.
const OWN_PING: u64 = u64::MAX;

/// What is called with a line of an audit.
pub type OnAudit = Box<dyn FnMut(AuditHead) + Send + Sync>;

/// Reads frames, answers pings, and notices when the peer is gone.
pub struct Reader<R> {
    stream: R,
    outbox: Outbox,
    header: [u8; HEADER_LEN],
    header_filled: usize,
    control: Option<Header>,
    payload: Vec<u8>,
    bulk_left: usize,
    /// The frame that opens the next request; its payload is in `payload`, if its kind is known.
    held: Option<Result<Frame, UnknownKind>>,
    /// The agent has sent its last frame of the current request.
    finished: bool,
    /// Gets the newest audit line whenever the agent reports it.
    on_audit: Option<OnAudit>,
    /// For the space of `payload` beyond [`FREE`].
    charge: Charge,
    waiting: Option<Waiting>,
    pulse: Pulse,
    traffic: Traffic,
    /// Silence after which the first ping is sent.
    ping_after: Duration,
    pace: Pace,
    /// When this end last sent a sign of life while receiving bulk frames.
    beat: Option<Instant>,
}

/// A wait for bytes, since the stream last had none.
struct Waiting {
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
}

/// How fast the bytes of the current frame arrive.
#[derive(Default)]
struct Pace {
    /// The first byte of the frame has arrived.
    has_begun: bool,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Adds time that was spent waiting. A peer that sends single bytes for ever counts as dead.
    fn waited(&mut self, time: Duration) -> Result<(), LinkError> {
        if self.has_begun {
            self.waited += time;
            if self.waited >= DEAD_AFTER && self.bytes < SLOWEST * self.waited.as_secs() {
                return Err(LinkError::Slow);
            }
        }
        Ok(())
    }
}

/// A frame of the current request. The payload of a control frame is in [`Reader::payload`]. That of a bulk
/// frame is read with [`Reader::bulk`]; the rest of it is skipped when the next frame is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame's kind.
    pub kind: Kind,
    /// Payload length in bytes.
    pub len: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R, outbox: Outbox) -> Self {
        Self {
            charge: outbox.memory().charge(),
            stream,
            outbox,
            header: [0; HEADER_LEN],
            header_filled: 0,
            control: None,
            payload: Vec::new(),
            bulk_left: 0,
            held: None,
            finished: false,
            on_audit: None,
            waiting: None,
            pulse: Pulse::default(),
            traffic: Traffic::default(),
            ping_after: PING_AFTER,
            pace: Pace::default(),
            beat: None,
        }
    }

    pub(super) fn into_stream(self) -> R {
        self.stream
    }

    /// Sends the first ping after this much silence, instead of [`PING_AFTER`].
    pub fn ping_after(&mut self, silence: Duration) {
        self.ping_after = silence.min(PING_AFTER);
    }

    /// Adds the bytes that arrive from now on to `traffic`.
    pub(super) fn count(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    /// Shows how long the peer has been silent.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The next frame of the current request. `None` when none follows: the peer ended the session in order,
    /// between frames; or the agent has finished the request; or the controller has opened the next one
    /// ([`Reader::next_request`]).
    ///
    /// Pings are answered, frames of earlier requests are dropped, and a Goodbye is an error. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        while self.held.is_none() {
            let present = self.outbox.request();
            let header = match self.any().await {
                Err(LinkError::Frame(FrameError::Kind { kind, request, .. }))
                    if ![0, present].contains(&request) =>
                {
                    // Otherwise it belongs to a request that ended before its sender knew.
                    if request == following(present) {
                        self.held = Some(Err(kind));
                    }
                    continue;
                }
                header => header?,
            };
            let Some(Header { kind, request, len }) = header else { return Ok(None) };
            match kind {
                Kind::Ping => {
                    let Ping { nonce } = self.message()?;
                    self.outbox.post(&Pong { nonce })?;
                }
                Kind::Pong if self.message::<Pong>()?.nonce == OWN_PING => {}
                Kind::Pong => return Ok(Some(Frame { kind, len })),
                Kind::Goodbye => {
                    let Goodbye { retry_after_ms } = self.message()?;
                    return Err(LinkError::Goodbye { retry_after_ms });
                }
                kind if kind.is_hello() => return Err(LinkError::Unexpected(kind)),
                Kind::Finished => {
                    let Finished { audit } = self.message()?;
                    if let Some(told) = &mut self.on_audit {
                        told(audit);
                    }
                    if request == present {
                        self.finished = true;
                        return Ok(None);
                    }
                }
                _ if request == present => return Ok(Some(Frame { kind, len })),
                // An agent without a free session answers before it has read a request.
                Kind::Failed if (present, request) == (0, 1) => {
                    return Ok(Some(Frame { kind, len }));
                }
                kind if request == following(present) => {
                    if !kind.is_request() {
                        return Err(LinkError::Unexpected(kind));
                    }
                    self.held = Some(Ok(Frame { kind, len }));
                }
                // It belongs to a request that ended before its sender knew.
                _ => {}
            }
        }
        Ok(None)
    }

    /// The frame that opens the next request, which becomes the current one, or its kind if that is unknown. `None`
    /// when the peer ended the session in order.
    ///
    /// Frames of earlier requests are dropped. Cancel-safe.
    pub async fn next_request(&mut self) -> Result<Option<Result<Frame, UnknownKind>>, LinkError> {
        while self.held.is_none() {
            match self.next().await {
                // Frames that are left of the current request are dropped too.
                Ok(Some(_)) => {}
                Err(LinkError::Frame(FrameError::Kind { request, .. })) if request != 0 => {}
                Ok(None) if self.held.is_some() => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        self.outbox.advance();
        Ok(self.held.take())
    }

    /// Whether the last `None` of [`Reader::next`] was the end of a request and not of the session.
    pub fn take_finished(&mut self) -> bool {
        std::mem::take(&mut self.finished)
    }

    /// Calls `told` with the newest audit line whenever the agent reports it.
    pub fn on_audit(&mut self, told: OnAudit) {
        self.on_audit = Some(told);
    }

    /// The payload of the last control frame.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Decodes the last control frame.
    pub fn message<M: Message>(&self) -> Result<M, LinkError> {
        Ok(codec::decode(&self.payload)?)
    }

    /// Bytes of the current bulk frame that have not been read.
    pub fn bulk_left(&self) -> usize {
        self.bulk_left
    }

    /// Fills `buffer` with the next bytes of the current bulk frame.
    ///
    /// A frame with fewer bytes left is the peer's error. If this is cancelled, bytes that have arrived are
    /// lost, and the rest of the frame is skipped by the next read of a frame.
    pub async fn bulk(&mut self, buffer: &mut [u8]) -> Result<(), LinkError> {
        if buffer.len() > self.bulk_left {
            return Err(LinkError::Misbehaved("a frame is too short"));
        }
        let mut buffer = ReadBuf::new(buffer);
        poll_fn(|cx| {
            while buffer.remaining() > 0 {
                let read = ready!(self.poll_some(cx, &mut buffer))?;
                if read == 0 {
                    return Poll::Ready(Err(LinkError::Cut));
                }
                self.bulk_left -= read;
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.beat()
    }

    /// Reads the next bytes of the current bulk frame as far as they arrive. If the stream ends before
    /// `buffer` is full, returns the number of bytes that arrived, and the error at the next call.
    ///
    /// For a receiver that can continue after those bytes on another connection. Cancelling it has the
    /// effects of cancelling [`Reader::bulk`].
    pub async fn bulk_arrived(&mut self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        let most = buffer.len().min(self.bulk_left);
        let mut buffer = ReadBuf::new(&mut buffer[..most]);
        poll_fn(|cx| {
            while buffer.remaining() > 0 {
                match ready!(self.poll_some(cx, &mut buffer)) {
                    Ok(read @ 1..) => self.bulk_left -= read,
                    _ if !buffer.filled().is_empty() => break,
                    Ok(_) => return Poll::Ready(Err(LinkError::Cut)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        self.beat()?;
        Ok(buffer.filled().len())
    }

    /// Reads the bytes of the current bulk frame that are available, at least one. Cancel-safe.
    ///
    /// `buffer` must not be empty, and the frame must have bytes left.
    pub async fn bulk_some(&mut self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        let most = buffer.len().min(self.bulk_left);
        let mut buffer = ReadBuf::new(&mut buffer[..most]);
        let read = poll_fn(|cx| self.poll_some(cx, &mut buffer)).await?;
        if read == 0 {
            return Err(LinkError::Cut);
        }
        self.bulk_left -= read;
        self.beat()?;
        Ok(read)
    }

    /// Reads a fixed number of bytes of the current bulk frame.
    pub async fn bulk_array<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let mut bytes = [0; N];
        self.bulk(&mut bytes).await?;
        Ok(bytes)
    }

    /// Reads and discards the rest of the current bulk frame.
    pub async fn skip_bulk(&mut self) -> Result<(), LinkError> {
        let mut buffer = [0; 4096];
        while self.bulk_left > 0 {
            let len = self.bulk_left.min(buffer.len());
            self.bulk(&mut buffer[..len]).await?;
        }
        Ok(())
    }

    /// Sends a sign of life now and then to a peer that sends bulk frames, and may otherwise receive nothing
    /// for long.
    fn beat(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        if self.bulk_left == 0 {
            self.pulse.frame(now.into_std());
        }
        let due = self.beat.get_or_insert(now);
        if now.duration_since(*due) >= BEAT_EVERY {
            *due = now;
            self.outbox.post(&Pong { nonce: OWN_PING })?;
        }
        Ok(())
    }

    async fn any(&mut self) -> Result<Option<Header>, LinkError> {
        if self.bulk_left > 0 {
            self.skip_bulk().await?;
        }
        poll_fn(|cx| self.poll_any(cx)).await
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Header>, LinkError>> {
        let header = match self.control {
            Some(header) => header,
            None => match ready!(self.poll_header(cx))? {
                Some(header) => header,
                None => return Poll::Ready(Ok(None)),
            },
        };
        if header.kind.is_bulk() {
            self.bulk_left = header.len;
            return Poll::Ready(Ok(Some(header)));
        }
        self.control = Some(header);
        ready!(self.poll_payload(cx, header.len))?;
        self.control = None;
        self.pulse.frame(Instant::now().into_std());
        Poll::Ready(Ok(Some(header)))
    }

    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Header>, LinkError>> {
        if self.header_filled == 0 {
            self.pace = Pace::default();
        }
        while self.header_filled < HEADER_LEN {
            let mut header = self.header;
            let mut buffer = ReadBuf::new(&mut header);
            buffer.set_filled(self.header_filled);
            let read = ready!(self.poll_some(cx, &mut buffer))?;
            if read == 0 {
                let end = if self.header_filled == 0 { Ok(None) } else { Err(LinkError::Cut) };
                return Poll::Ready(end);
            }
            self.header = header;
            self.header_filled += read;
            self.pace.has_begun = true;
        }
        self.header_filled = 0;
        let header = Header::decode(self.header, MAX_FRAME).inspect_err(|error| {
            if let FrameError::Kind { len, .. } = error {
                // It is skipped, should the reader go on.
                self.bulk_left = *len;
            }
        })?;
        if !header.kind.is_bulk() && header.len > MAX_MESSAGE {
            return Poll::Ready(Err(LinkError::Misbehaved("a control message is too long")));
        }
        self.payload.clear();
        Poll::Ready(Ok(Some(header)))
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), LinkError>> {
        while self.payload.len() < len {
            let filled = self.payload.len();
            let room = (filled + GROWTH).next_power_of_two().saturating_sub(FREE);
            self.charge.at_least(room).map_err(|_| LinkError::Memory)?;
            let mut payload = std::mem::take(&mut self.payload);
            payload.resize(len.min(filled + GROWTH), 0);
            let mut buffer = ReadBuf::new(&mut payload[filled..]);
            let read = self.poll_some(cx, &mut buffer);
            let filled = filled + buffer.filled().len();
            payload.truncate(filled);
            self.payload = payload;
            if ready!(read)? == 0 {
                return Poll::Ready(Err(LinkError::Cut));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is available, and checks the time only if nothing is. Returns 0 at the end of the stream.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<usize, LinkError>> {
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            result?;
            let came = buffer.filled().len() - before;
            self.pace.bytes += came as u64;
            self.traffic.add(came);
            if let Some(Waiting { keepalive, .. }) = self.waiting.take_if(|_| came > 0) {
                self.pulse.heard();
                self.pace.waited(keepalive.silence(Instant::now().into_std()))?;
            }
            return Poll::Ready(Ok(came));
        }
        let ping_after = self.ping_after;
        let pulse = &self.pulse;
        let Waiting { keepalive, timer } = self.waiting.get_or_insert_with(|| {
            let now = Instant::now().into_std();
            pulse.silent(now);
            let keepalive = Keepalive::new(now, ping_after);
            let timer = Box::pin(tokio::time::sleep_until(keepalive.deadline().into()));
            Waiting { keepalive, timer }
        });
        loop {
            ready!(timer.as_mut().poll(cx));
            match keepalive.step(Instant::now().into_std()) {
                Step::Dead => return Poll::Ready(Err(LinkError::Silent)),
                Step::Ping => self.outbox.post(&Ping { nonce: OWN_PING })?,
            }
            timer.as_mut().reset(keepalive.deadline().into());
        }
    }
}
