//! One output stream on its way from a host to its destination: numbered, bounded, exact.
//!
//! Bytes are written directly while their destination takes them and queued otherwise, so that a slow reader of
//! stdout delays neither stderr nor Ctrl-C. Invariant: offsets have no gap and no overlap, acknowledged bytes
//! were written, and at most the queue's limit and one part are buffered.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use lariat_base::lock::lock;
use lariat_wire::link::LinkError;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// Bytes of output that are received and written at once: the capacity of a pipe.
pub(crate) const PART: usize = 64 * 1024;

/// Bytes that are queued for a slow destination before the client stops reading from the host. Plus one part it
/// is a power of two, the allocation size of the queue.
pub(super) const QUEUE: usize = 1024 * 1024 - PART;

/// The limit for each stream when there are many hosts.
pub(super) const QUEUE_OF_MANY: usize = PART;

/// The progress of one stream. No I/O: the next connection continues here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Offset of the next byte that the host has to send.
    pub(crate) received: u64,
    /// Offset of the next byte to be written locally.
    pub(crate) written: u64,
}

impl Position {
    /// Begins a frame, which must continue where the last one ended.
    pub(crate) fn begin(&self, offset: u64, len: usize) -> Result<(), LinkError> {
        if offset != self.received {
            return Err(LinkError::Misbehaved("output has a gap or comes twice"));
        }
        if offset.checked_add(len as u64).is_none() {
            return Err(LinkError::Misbehaved("output has no end"));
        }
        Ok(())
    }

    /// Skips to this offset: the bytes before it do not arrive, and count as written.
    fn skip(&mut self, offset: u64) -> Result<u64, LinkError> {
        let missing =
            offset.checked_sub(self.received).ok_or(LinkError::Misbehaved("output comes twice"))?;
        self.received = offset;
        self.written += missing;
        Ok(missing)
    }

    /// Records received bytes.
    fn receive(&mut self, len: usize) {
        self.received += len as u64;
    }

    /// Records written bytes.
    fn write(&mut self, len: usize) {
        self.written += len as u64;
    }
}

/// One stream and its destination.
pub(crate) struct Output<W> {
    inner: Mutex<Inner<W>>,
    changed: Notify,
    queued: Notify,
    failed: Notify,
    most: usize,
}

struct Inner<W> {
    position: Position,
    queue: VecDeque<u8>,
    destination: W,
    /// The destination has failed: further bytes are discarded and count as written.
    broken: bool,
    error: Option<io::Error>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    /// Writes from offset 0 to `destination`, and queues at most `most` bytes.
    pub(crate) fn new(destination: W, most: usize) -> Self {
        let inner = Inner {
            position: Position::default(),
            queue: VecDeque::new(),
            destination,
            broken: false,
            error: None,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
            queued: Notify::new(),
            failed: Notify::new(),
            most,
        }
    }

    /// The stream's progress.
    pub(crate) fn position(&self) -> Position {
        self.lock().position
    }

    /// Begins a frame at this offset.
    pub(crate) fn begin(&self, offset: u64, len: usize) -> Result<(), LinkError> {
        self.lock().position.begin(offset, len)
    }

    /// Skips to this offset. Returns how many bytes are missing.
    pub(crate) fn skip(&self, offset: u64) -> Result<u64, LinkError> {
        self.lock().position.skip(offset)
    }

    /// Takes the next bytes: writes what the destination takes at once and queues the rest.
    pub(crate) async fn push(&self, bytes: &[u8]) {
        poll_fn(|cx| {
            let mut inner = self.lock();
            inner.position.receive(bytes.len());
            let direct = if inner.queue.is_empty() { inner.write(cx, bytes) } else { 0 };
            if direct < bytes.len() {
                inner.queue.extend(&bytes[direct..]);
                self.queued.notify_one();
            }
            self.tell_failure(&inner);
            Poll::Ready(())
        })
        .await;
    }

    /// Whether the queue is full.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().queue.len() > self.most
    }

    /// Waits until some of the queue was written. For one waiter at a time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until all received bytes, which are the last ones, are written, and the destination knows that.
    pub(crate) async fn drained(&self) {
        while !self.lock().queue.is_empty() {
            self.changed.notified().await;
        }
        let ended = poll_fn(|cx| Pin::new(&mut self.lock().destination).poll_shutdown(cx)).await;
        if let Err(error) = ended {
            self.lock().fail(error);
        }
    }

    /// Writes queued bytes, forever.
    pub(crate) async fn drain(&self) {
        loop {
            poll_fn(|cx| self.poll_drain(cx)).await;
            self.queued.notified().await;
        }
    }

    /// Waits until the destination fails.
    pub(crate) async fn failed(&self) {
        while !self.lock().broken {
            self.failed.notified().await;
        }
    }

    /// The destination's error; returned once.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// The destination, with its contents.
    pub(crate) fn into_destination(self) -> W {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).destination
    }

    fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        while !inner.queue.is_empty() {
            let mut queue = std::mem::take(&mut inner.queue);
            let written = inner.write(cx, queue.as_slices().0);
            queue.drain(..written);
            inner.queue = queue;
            if written == 0 {
                return Poll::Pending;
            }
            self.changed.notify_one();
            self.tell_failure(&inner);
        }
        Poll::Ready(())
    }

    fn tell_failure(&self, inner: &Inner<W>) {
        if inner.error.is_some() {
            self.failed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        lock(&self.inner)
    }
}

impl<W: AsyncWrite + Unpin> Inner<W> {
    /// Writes what the destination takes now; all bytes count as written once it has failed.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            if self.broken {
                done = bytes.len();
                break;
            }
            match Pin::new(&mut self.destination).poll_write(cx, &bytes[done..]) {
                Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => done += written,
                Poll::Ready(Err(error)) => self.fail(error),
                Poll::Pending => break,
            }
        }
        self.position.write(done);
        done
    }

    fn fail(&mut self, error: io::Error) {
        if !self.broken {
            self.broken = true;
            self.error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, duplex};

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_gap_a_repetition_and_an_overflow_are_the_peers_errors() {
        let position = Position { received: 10, written: 3 };
        assert!(position.begin(10, 5).is_ok());
        assert!(position.begin(11, 5).is_err());
        assert!(position.begin(9, 5).is_err());
        let end = Position { received: u64::MAX - 3, written: 0 };
        assert!(end.begin(u64::MAX - 3, 3).is_ok());
        assert!(end.begin(u64::MAX - 3, 4).is_err());
        let mut position = position;
        assert_eq!(
            (position.skip(10).unwrap(), position.skip(u64::MAX).unwrap()),
            (0, u64::MAX - 10)
        );
        assert_eq!(position, Position { received: u64::MAX, written: u64::MAX - 7 });
        assert!(position.skip(0).is_err());
    }

    #[test]
    fn a_broken_destination_is_reported_once_and_discards_the_rest() {
        block_on(async {
            let (ours, theirs) = duplex(4);
            drop(theirs);
            let output = Output::new(ours, QUEUE);
            output.push(b"abc").await;
            output.failed().await;
            output.push(b"def").await;
            output.drained().await;
            assert_eq!(output.position(), Position { received: 6, written: 6 });
            assert_eq!(output.take_error().unwrap().kind(), io::ErrorKind::BrokenPipe);
            assert!(output.take_error().is_none());
        });
    }

    proptest! {
        /// All bytes arrive once and in order, however they are split and however much the destination takes,
        /// and what counts as written has arrived.
        #[test]
        fn nothing_is_lost_doubled_or_swapped(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            size in 1_usize..40,
        ) {
            block_on(async {
                let (ours, mut theirs) = duplex(size);
                let output = Output::new(ours, QUEUE);
                let whole = parts.concat();
                let mut got = vec![0; whole.len()];
                let push = async {
                    for part in &parts {
                        let at = output.position().received;
                        output.begin(at, part.len()).unwrap();
                        output.push(part).await;
                    }
                    output.drained().await;
                };
                let read = async { theirs.read_exact(&mut got).await.unwrap(); };
                tokio::select! {
                    _ = async { tokio::join!(push, read) } => {}
                    () = output.drain() => unreachable!("it drains for ever"),
                }
                assert_eq!(got, whole);
                let len = whole.len() as u64;
                assert_eq!(output.position(), Position { received: len, written: len });
            });
        }
    }
}
