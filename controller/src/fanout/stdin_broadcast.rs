//! Sends one stdin to many commands. If all of them begin at once, they receive it as it arrives, at the pace
//! of the fastest: what the others have not read waits in memory, and then in an unnamed file of limited size.
//! Once that is full the slowest holds the others up, which is reported. If they don't begin at once, stdin is
//! first read to its end, into an unnamed file.

mod backlog;

use std::fs::File;
use std::future::{pending, poll_fn};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::handover::Handover;
use crate::stdio::copy_error;
use backlog::{Backlog, Room};

/// Bytes that are read at once.
const PART: usize = 64 * 1024;

/// The source of the commands' stdin.
#[derive(Clone)]
pub(crate) enum StdinBroadcast {
    /// Unbuffered, as it arrives.
    Live(Live),
    /// Completely read.
    Kept(Arc<File>),
}

/// A stream with several readers.
#[derive(Clone)]
pub(crate) struct Live(Arc<Handover<Desk>>);

/// One command's stdin.
pub(crate) struct Reader {
    feed: StdinBroadcast,
    number: usize,
    position: u64,
}

struct Desk {
    backlog: Backlog,
    /// The slowest readers were reported.
    is_told: bool,
    end: Option<io::Result<()>>,
}

impl StdinBroadcast {
    /// A broadcast to this many readers, which all begin at once.
    pub(crate) fn live(readers: usize) -> Self {
        let desk = Desk { backlog: Backlog::new(readers), is_told: false, end: None };
        Self::Live(Live(Arc::new(Handover::new(desk))))
    }

    /// Reads the source to its end, for readers that begin later.
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

    /// The reader with this index; to be called once for each.
    pub(crate) fn reader(&self, number: usize) -> Reader {
        Reader { feed: self.clone(), number, position: 0 }
    }

    /// Reads the source for the readers, and then waits forever. `slow` is called, once, with the readers that hold
    /// the others up.
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
    /// Adds what the source returned to the backlog. Returns whether the source has ended.
    fn took(&self, read: io::Result<usize>, part: &[u8]) -> bool {
        self.0.change(|desk| {
            match read {
                Ok(len @ 1..) => desk.backlog.add(&part[..len]),
                end => desk.end = Some(end.map(drop)),
            }
            desk.end.is_some()
        })
    }

    fn poll_room(&self, cx: &Context<'_>, slow: impl Fn(Vec<usize>)) -> Poll<usize> {
        let mut held_up = None;
        let room = self.0.poll(cx, |desk| match desk.backlog.room() {
            Room::Bytes(room) => Some(room),
            Room::HeldUp if !desk.is_told => {
                desk.is_told = true;
                held_up = Some(desk.backlog.slowest());
                None
            }
            Room::HeldUp | Room::Nobody => None,
        });
        held_up.into_iter().for_each(slow);
        room
    }

    fn poll_read(
        &self,
        number: usize,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.poll(cx, |desk| match desk.backlog.read(number, buffer) {
            Ok(0) => desk.end.as_ref().map(|end| end.as_ref().copied().map_err(copy_error)),
            read => Some(read.map(drop)),
        });
        if read.is_ready() {
            // The backlog may have room again.
            self.0.change(|_| {});
        }
        read
    }
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
            live.0.change(|desk| desk.backlog.leave(self.number));
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
    fn every_reader_gets_everything_at_its_own_pace() {
        block_on(async {
            let (stdin, feed) = (stdin(), StdinBroadcast::live(3));
            let [mut fast, mut slow, left] = [0, 1, 2].map(|number| feed.reader(number));
            let (mut all, mut whole) = (Vec::new(), Vec::new());
            let readers = async {
                drop(left);
                // The slow reader has not read a byte.
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
    fn a_later_reader_gets_everything_that_was_kept() {
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
