//! One stdin for many commands. If all of them begin at once they get it as it comes, at the pace of the
//! slowest that still wants it; else it is first read to its end, into a nameless file.

use std::collections::VecDeque;
use std::fs::File;
use std::future::{pending, poll_fn};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Bytes that the fastest may be ahead of the slowest.
const AHEAD: usize = 1024 * 1024;

/// Bytes that are read at once.
const PART: usize = 64 * 1024;

/// Where the commands' stdin comes from.
#[derive(Clone)]
pub(crate) enum Feed {
    /// As it comes.
    Live(Live),
    /// All of it.
    Kept(Arc<File>),
}

/// A stream with several readers.
#[derive(Clone)]
pub(crate) struct Live(Arc<Mutex<Desk>>);

/// One command's stdin.
pub(crate) struct Reader {
    feed: Feed,
    number: usize,
    position: u64,
}

struct Desk {
    ring: Ring,
    end: Option<io::Result<()>>,
    /// Readers, and who reads the source for them.
    waiting: Vec<Waker>,
}

/// What the slowest reader has not had yet. No I/O.
struct Ring {
    /// Offset of the first byte that is kept.
    base: u64,
    bytes: VecDeque<u8>,
    /// How far each reader has come, if it wants more.
    positions: Vec<Option<u64>>,
}

impl Ring {
    fn room(&self) -> usize {
        if self.positions.iter().all(Option::is_none) { 0 } else { AHEAD - self.bytes.len() }
    }

    /// Gives a reader its next bytes, and forgets what every one has had.
    fn read(&mut self, number: usize, buffer: &mut ReadBuf<'_>) -> usize {
        let Some(position) = self.positions[number] else { return 0 };
        let from = usize::try_from(position - self.base).expect("it is within the ring");
        let len = buffer.remaining().min(self.bytes.len() - from);
        let (front, back) = self.bytes.as_slices();
        let in_front = front.get(from..).unwrap_or_default();
        let of_front = &in_front[..len.min(in_front.len())];
        buffer.put_slice(of_front);
        let from = from.saturating_sub(front.len());
        buffer.put_slice(&back[from..][..len - of_front.len()]);
        self.positions[number] = Some(position + len as u64);
        self.trim();
        len
    }

    /// A reader wants no more.
    fn leave(&mut self, number: usize) {
        self.positions[number] = None;
        self.trim();
    }

    fn trim(&mut self) {
        let end = self.base + self.bytes.len() as u64;
        let slowest = self.positions.iter().flatten().min().copied().unwrap_or(end);
        let had = usize::try_from(slowest - self.base).expect("it is within the ring");
        self.bytes.drain(..had);
        self.base = slowest;
    }
}

impl Feed {
    /// For this many readers, which all begin at once.
    pub(crate) fn live(readers: usize) -> Self {
        let ring = Ring { base: 0, bytes: VecDeque::new(), positions: vec![Some(0); readers] };
        Self::Live(Live(Arc::new(Mutex::new(Desk { ring, end: None, waiting: Vec::new() }))))
    }

    /// Reads all of it now, for readers that begin when they can.
    pub(crate) async fn keep(mut source: impl AsyncRead + Unpin) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let mut part = vec![0; PART];
        loop {
            match source.read(&mut part).await? {
                0 => return Ok(Self::Kept(Arc::new(file))),
                len => file.write_all(&part[..len])?,
            }
        }
    }

    /// The stdin of one of them; each is asked for once.
    pub(crate) fn reader(&self, number: usize) -> Reader {
        Reader { feed: self.clone(), number, position: 0 }
    }

    /// Reads the source for those who want it, and then waits for ever.
    pub(crate) async fn pump(&self, mut source: impl AsyncRead + Unpin) {
        let Self::Live(live) = self else { return pending().await };
        let mut part = vec![0; PART];
        loop {
            let room = poll_fn(|cx| live.poll_room(cx)).await.min(part.len());
            let read = source.read(&mut part[..room]).await;
            if live.took(read, &part) {
                return pending().await;
            }
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source gave this much of `part`, or ended; tells which.
    fn took(&self, read: io::Result<usize>, part: &[u8]) -> bool {
        let mut desk = self.lock();
        match read {
            Ok(len @ 1..) => desk.ring.bytes.extend(&part[..len]),
            end => desk.end = Some(end.map(drop)),
        }
        let ended = desk.end.is_some();
        wake(desk);
        ended
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<usize> {
        let mut desk = self.lock();
        match desk.ring.room() {
            0 => desk.wait(cx),
            room => Poll::Ready(room),
        }
    }

    fn poll_read(
        &self,
        number: usize,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut desk = self.lock();
        if desk.ring.read(number, buffer) > 0 {
            wake(desk);
            return Poll::Ready(Ok(()));
        }
        match &desk.end {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(error)) => Poll::Ready(Err(copy(error))),
            None => desk.wait(cx),
        }
    }
}

impl Desk {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn wake(mut desk: MutexGuard<'_, Desk>) {
    let waiting = std::mem::take(&mut desk.waiting);
    drop(desk);
    waiting.into_iter().for_each(Waker::wake);
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &self.feed {
            Feed::Live(live) => live.poll_read(self.number, cx, buffer),
            Feed::Kept(file) => {
                let len = file.read_at(buffer.initialize_unfilled(), self.position)?;
                buffer.advance(len);
                self.position += len as u64;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Feed::Live(live) = &self.feed {
            let mut desk = live.lock();
            desk.ring.leave(self.number);
            wake(desk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn stdin() -> Vec<u8> {
        (0..3 * AHEAD + 17).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[test]
    fn every_reader_gets_all_of_it_at_the_pace_of_the_slowest() {
        block_on(async {
            let (stdin, feed) = (stdin(), Feed::live(3));
            let [mut fast, mut slow, left] = [0, 1, 2].map(|number| feed.reader(number));
            let Feed::Live(live) = &feed else { panic!("it is live") };
            let (mut all, mut first) = (Vec::new(), vec![0; AHEAD]);
            let (source, mut whole) = (&stdin[..], Vec::new());
            let readers = async {
                drop(left);
                fast.read_exact(&mut first).await.unwrap();
                // The slow one has not read: there is no more for anyone.
                let more = tokio::select! {
                    biased;
                    _ = fast.read_u8() => true,
                    () = async { for _ in 0..100 { tokio::task::yield_now().await } } => false,
                };
                assert!(!more && live.lock().ring.bytes.len() == AHEAD);
                let _ = tokio::join!(fast.read_to_end(&mut all), slow.read_to_end(&mut whole));
            };
            tokio::select! {
                () = readers => {}
                () = feed.pump(source) => unreachable!("it waits for ever"),
            }
            assert!(whole == stdin && [first, all].concat() == stdin);
        });
    }

    #[test]
    fn one_that_begins_later_gets_all_of_what_was_kept() {
        block_on(async {
            let stdin = stdin();
            let feed = Feed::keep(&stdin[..]).await.unwrap();
            for number in 0..2 {
                let mut got = Vec::new();
                feed.reader(number).read_to_end(&mut got).await.unwrap();
                assert!(got == stdin);
            }
        });
    }
}
