//! A stream of this process that many hosts write to: a separate thread writes to the descriptor, so that a
//! slow reader, such as a paused pager, does not block the runtime.
//!
//! Invariant: bytes of one call are written contiguously, and little more than [`FULL`] bytes are queued if
//! callers wait for room first.

use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use crate::handover::Handover;
use crate::output::style;
use crate::progress::Live;
use crate::stdio::write_all;

/// Queued bytes above which callers have to wait for room.
const FULL: usize = 1024 * 1024;

/// The queue of one stream. Clones share it.
#[derive(Clone)]
pub(crate) struct Printer {
    desk: Arc<Handover<Desk>>,
    colours: bool,
    is_terminal: bool,
}

#[derive(Default)]
struct Desk {
    bytes: Vec<u8>,
    /// The thread is writing bytes that it took.
    busy: bool,
    /// A write failed: further bytes are discarded.
    broken: bool,
    /// The cause is that the reader is gone.
    no_reader: bool,
    error: Option<io::Error>,
}

impl Printer {
    /// Starts a thread that writes to a descriptor; `live` is removed during writes, if both share a terminal.
    pub(crate) fn start(fd: BorrowedFd<'static>, live: Option<Live>) -> io::Result<Self> {
        let desk = Arc::<Handover<Desk>>::default();
        let theirs = Arc::clone(&desk);
        let write = move |bytes: &[u8]| match &live {
            Some(live) => live.suspend(|| write_all(fd, bytes)),
            None => write_all(fd, bytes),
        };
        thread::Builder::new().name("printer".into()).spawn(move || print(&theirs, write))?;
        let is_terminal = rustix::termios::isatty(fd);
        Ok(Self { desk, colours: style::has_colors(fd), is_terminal })
    }

    /// Whether the stream is a terminal, which interprets control characters.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether it shows colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// Queues bytes without waiting. For many bytes, wait for room first.
    pub(crate) fn put(&self, bytes: &[u8]) {
        // A thread that writes, or has been woken for earlier bytes, looks again by itself.
        let sleeps = self.desk.with(|desk| {
            let sleeps = desk.bytes.is_empty() && !desk.busy;
            if !desk.broken {
                desk.bytes.extend_from_slice(bytes);
            }
            sleeps && !desk.bytes.is_empty()
        });
        if sleeps {
            self.desk.wake_thread();
        }
    }

    /// Waits for room; fails if the reader is gone. After another write error there is always room, because
    /// bytes are discarded.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.desk.poll(cx, |desk| {
            if desk.no_reader {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            (desk.broken || desk.bytes.len() < FULL).then_some(Ok(()))
        })
    }

    /// Waits for room, which there always is after a write error, because bytes are discarded.
    pub(crate) async fn room(&self) {
        let _ = poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// Waits for room and queues bytes.
    pub(crate) async fn send(&self, bytes: &[u8]) {
        self.room().await;
        self.put(bytes);
    }

    /// Waits until everything was written, or a write failed.
    pub(crate) async fn flushed(&self) {
        let idle = |desk: &Desk| desk.broken || (desk.bytes.is_empty() && !desk.busy);
        self.desk.until(idle).await;
    }

    /// Waits until a write fails.
    pub(crate) async fn broken(&self) {
        self.desk.until(|desk| desk.broken).await;
    }

    /// Whether queued bytes are not written yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.desk.with(|desk| desk.busy || !desk.bytes.is_empty())
    }

    /// Whether the reader is gone.
    pub(crate) fn has_no_reader(&self) -> bool {
        self.desk.with(|desk| desk.no_reader)
    }

    /// The error of a failed write; returned once.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.desk.with(|desk| desk.error.take())
    }
}

/// The thread's loop. It ends with the process, or after a write error.
fn print(desk: &Handover<Desk>, write: impl Fn(&[u8]) -> io::Result<()>) {
    loop {
        let bytes = desk.block(|desk| {
            desk.busy = !desk.bytes.is_empty();
            desk.busy.then(|| std::mem::take(&mut desk.bytes))
        });
        // There is room again.
        desk.change(|_| {});
        let result = write(&bytes);
        let broken = desk.change(|desk| {
            let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            desk.busy = false;
            desk.broken = result.is_err();
            desk.no_reader = result.as_ref().is_err_and(gone);
            desk.error = result.err();
            desk.broken
        });
        if broken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    /// A printer into a pipe, whose end stays open forever as stdout does.
    fn printer() -> (PipeReader, Printer) {
        let (reader, writer) = io::pipe().unwrap();
        let writer: &'static OwnedFd = Box::leak(Box::new(writer.into()));
        (reader, Printer::start(writer.as_fd(), None).unwrap())
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_slow_reader_bounds_the_queue_and_lines_stay_whole() {
        let (mut reader, printer) = printer();
        let writers: Vec<_> = (b'a'..=b'd')
            .map(|letter| {
                let printer = printer.clone();
                let line = [&[letter; 999][..], b"\n"].concat();
                thread::spawn(move || {
                    block_on(async {
                        for _ in 0..2000 {
                            printer.send(&line).await;
                            assert!(printer.desk.with(|desk| desk.bytes.len()) < FULL + 4 * 1000);
                        }
                    });
                })
            })
            .collect();
        let mut text = vec![0; 4 * 2000 * 1000];
        reader.read_exact(&mut text).unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        block_on(printer.flushed());
        assert!(text.chunks(1000).all(|line| line[..999] == [line[0]; 999]));
    }

    #[test]
    fn a_closed_pipe_is_reported_and_blocks_no_caller() {
        let (reader, printer) = printer();
        drop(reader);
        block_on(async {
            printer.send(b"a").await;
            printer.broken().await;
            assert_eq!(printer.take_error().unwrap().kind(), io::ErrorKind::BrokenPipe);
            printer.put(&vec![0; 2 * FULL]);
            printer.flushed().await;
            assert!(poll_fn(|cx| printer.poll_room(cx)).await.is_err());
        });
    }
}
