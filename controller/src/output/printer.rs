//! One stream of this process that many hosts write to: a thread of its own writes what they hand over,
//! so that a reader that takes its time, such as a paused pager, blocks nobody.
//!
//! Invariant: what is handed over at once comes out in one piece, and little more than [`FULL`] bytes
//! wait if everyone asks for room first.

use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use indicatif::MultiProgress;
use lariat_base::lock::lock;

use crate::output::style;
use crate::stdio::write_all;

/// Bytes that may wait before the next who asks for room has to wait.
const FULL: usize = 1024 * 1024;

/// A stream. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Printer {
    shared: Arc<Shared>,
    colours: bool,
    is_terminal: bool,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    bytes: Vec<u8>,
    /// The thread is at work on what it took.
    busy: bool,
    /// Nothing can be written any more: what comes is thrown away.
    broken: bool,
    /// It is because whoever read it has gone away.
    no_reader: bool,
    error: Option<io::Error>,
    waiting: Vec<Waker>,
}

impl Printer {
    /// Writes to a descriptor; `bars` are out of the way meanwhile, if the two share a terminal.
    pub(crate) fn start(fd: BorrowedFd<'static>, bars: Option<MultiProgress>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let write = move |bytes: &[u8]| match &bars {
            Some(bars) => bars.suspend(|| write_all(fd, bytes)),
            None => write_all(fd, bytes),
        };
        thread::Builder::new().name("printer".into()).spawn(move || theirs.print(write))?;
        let is_terminal = rustix::termios::isatty(fd);
        Ok(Self { shared, colours: style::has_colors(fd), is_terminal })
    }

    /// Whether it is a terminal, which does what control characters say.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether it shows colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// Hands bytes over without waiting. Who has many asks for room first.
    pub(crate) fn put(&self, bytes: &[u8]) {
        let mut desk = self.shared.lock();
        if !desk.broken && !bytes.is_empty() {
            desk.bytes.extend_from_slice(bytes);
            self.shared.changed.notify_one();
        }
    }

    /// Waits for room; an error once nobody reads any more. There is plenty where nothing can be written for
    /// another reason: what comes is thrown away.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut desk = self.shared.lock();
        if desk.no_reader {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        desk.when(|desk| desk.broken || desk.bytes.len() < FULL, cx).map(Ok)
    }

    /// Waits for room. There is plenty once nobody reads any more: what comes is thrown away.
    pub(crate) async fn room(&self) {
        let _ = poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// Waits for room and hands bytes over.
    pub(crate) async fn send(&self, bytes: &[u8]) {
        self.room().await;
        self.put(bytes);
    }

    /// Waits until everything is written, or nothing can be.
    pub(crate) async fn flushed(&self) {
        let idle = |desk: &Desk| desk.broken || (desk.bytes.is_empty() && !desk.busy);
        poll_fn(|cx| self.shared.lock().when(idle, cx)).await;
    }

    /// Waits until nothing can be written any more.
    pub(crate) async fn broken(&self) {
        poll_fn(|cx| self.shared.lock().when(|desk| desk.broken, cx)).await;
    }

    /// Whether that is because nobody reads it.
    pub(crate) fn has_no_reader(&self) -> bool {
        self.shared.lock().no_reader
    }

    /// Why nothing can be written any more, if so; told once.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.shared.lock().error.take()
    }
}

impl Desk {
    fn when(&mut self, so: impl FnOnce(&Self) -> bool, cx: &Context<'_>) -> Poll<()> {
        if so(self) {
            return Poll::Ready(());
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    /// The thread's work. It dies with the process, or with the stream.
    fn print(&self, write: impl Fn(&[u8]) -> io::Result<()>) {
        loop {
            let mut desk = self.lock();
            while desk.bytes.is_empty() {
                desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            let bytes = std::mem::take(&mut desk.bytes);
            desk.busy = true;
            wake(desk);
            let result = write(&bytes);
            let mut desk = self.lock();
            desk.busy = false;
            desk.broken = result.is_err();
            let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            desk.no_reader = result.as_ref().is_err_and(gone);
            desk.error = result.err();
            let broken = desk.broken;
            wake(desk);
            if broken {
                return;
            }
        }
    }
}

fn wake(mut desk: MutexGuard<'_, Desk>) {
    let waiting = std::mem::take(&mut desk.waiting);
    drop(desk);
    waiting.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;

    /// A printer into a pipe, whose end stays open for ever as stdout's does.
    fn printer() -> (PipeReader, Printer) {
        let (reader, writer) = io::pipe().unwrap();
        let writer: &'static OwnedFd = Box::leak(Box::new(writer.into()));
        (reader, Printer::start(writer.as_fd(), None).unwrap())
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_reader_that_waits_bounds_what_is_taken_and_pieces_stay_whole() {
        let (mut reader, printer) = printer();
        let writers: Vec<_> = (b'a'..=b'd')
            .map(|letter| {
                let printer = printer.clone();
                let line = [&[letter; 999][..], b"\n"].concat();
                thread::spawn(move || {
                    block_on(async {
                        for _ in 0..2000 {
                            printer.send(&line).await;
                            assert!(printer.shared.lock().bytes.len() < FULL + 4 * 1000);
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
    fn a_reader_that_went_away_is_told_and_holds_nobody_up() {
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
