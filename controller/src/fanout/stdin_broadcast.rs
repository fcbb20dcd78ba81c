//! One stdin for many commands. If all of them begin at once they get it as it comes, at the pace of the
//! fastest: what the others have not had yet waits in memory, and behind that in a nameless file of limited
//! size. Once that is full the slowest holds the others up, which is told. If they don't begin at once,
//! stdin is first read to its end, into a nameless file.

mod backlog;

use std::fs::File;
use std::future::{pending, poll_fn};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use lariat_base::lock::lock;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use backlog::{Backlog, Room};

/// Bytes that are read at once.
const PART: usize = 64 * 1024;

/// Where the commands' stdin comes from.
#[derive(Clone)]
pub(crate) enum StdinBroadcast {
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
    feed: StdinBroadcast,
    number: usize,
    position: u64,
}

struct Desk {
    backlog: Backlog,
    /// Those who hold the others up were told of.
    is_told: bool,
    end: Option<io::Result<()>>,
    /// Readers, and who reads the source for them.
    waiting: Vec<Waker>,
}

impl StdinBroadcast {
    /// For this many readers, which all begin at once.
    pub(crate) fn live(readers: usize) -> Self {
        let desk =
            Desk { backlog: Backlog::new(readers), is_told: false, end: None, waiting: Vec::new() };
        Self::Live(Live(Arc::new(Mutex::new(desk))))
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

    /// Reads the source for those who want it, and then waits for ever. `slow` is called, once, with those who
    /// hold the others up.
    pub(crate) async fn pump(&self, mut source: impl AsyncRead + Unpin, slow: impl Fn(Vec<usize>)) {
        let Self::Live(live) = self else { return pending().await };
        let mut part = vec![0; PART];
        loop {
            let room = poll_fn(|cx| live.poll_room(cx, &slow)).await.min(part.len());
            let read = source.read(&mut part[..room]).await;
            if live.took(read, &part) {
                return pending().await;
            }
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        lock(&self.0)
    }

    /// The source gave this much of `part`, or ended; tells which.
    fn took(&self, read: io::Result<usize>, part: &[u8]) -> bool {
        let mut desk = self.lock();
        match read {
            Ok(len @ 1..) => desk.backlog.add(&part[..len]),
            end => desk.end = Some(end.map(drop)),
        }
        let ended = desk.end.is_some();
        wake(desk);
        ended
    }

    fn poll_room(&self, cx: &Context<'_>, slow: impl Fn(Vec<usize>)) -> Poll<usize> {
        let mut desk = self.lock();
        let held_up = match desk.backlog.room() {
            Room::Bytes(room) => return Poll::Ready(room),
            Room::Nobody => None,
            Room::HeldUp => Some(desk.backlog.slowest()).filter(|_| !desk.is_told),
        };
        desk.is_told |= held_up.is_some();
        let waits = desk.wait(cx);
        drop(desk);
        held_up.into_iter().for_each(slow);
        waits
    }

    fn poll_read(
        &self,
        number: usize,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut desk = self.lock();
        if desk.backlog.read(number, buffer)? > 0 {
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
            StdinBroadcast::Live(live) => live.poll_read(self.number, cx, buffer),
            StdinBroadcast::Kept(file) => {
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
        if let StdinBroadcast::Live(live) = &self.feed {
            let mut desk = live.lock();
            desk.backlog.leave(self.number);
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
        (0..3 * backlog::MEMORY + 17).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[test]
    fn every_reader_gets_all_of_it_at_a_pace_of_its_own() {
        block_on(async {
            let (stdin, feed) = (stdin(), StdinBroadcast::live(3));
            let [mut fast, mut slow, left] = [0, 1, 2].map(|number| feed.reader(number));
            let (mut all, mut whole) = (Vec::new(), Vec::new());
            let readers = async {
                drop(left);
                // The slow one has not read a byte.
                fast.read_to_end(&mut all).await.unwrap();
                slow.read_to_end(&mut whole).await.unwrap();
            };
            tokio::select! {
                () = readers => {}
                () = feed.pump(&stdin[..], |slow| panic!("{slow:?}")) => unreachable!("it waits for ever"),
            }
            assert!(whole == stdin && all == stdin);
        });
    }

    #[test]
    fn one_that_begins_later_gets_all_of_what_was_kept() {
        block_on(async {
            let stdin = stdin();
            let feed = StdinBroadcast::keep(&stdin[..]).await.unwrap();
            for number in 0..2 {
                let mut got = Vec::new();
                feed.reader(number).read_to_end(&mut got).await.unwrap();
                assert!(got == stdin);
            }
        });
    }
}
