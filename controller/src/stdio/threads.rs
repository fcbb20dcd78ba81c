//! One small thread for a descriptor that may block and can't be opened anew (a socket, a pipe of
//! another user). What is handed over is bounded, and the thread dies with the process.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use lariat_base::lock::lock;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::ReadBuf;

use super::retry;

/// Bytes handed over at once.
const HANDOFF: usize = 64 * 1024;

/// Stack of such a thread, in bytes: it calls `read` or `write` and nothing else.
const STACK: usize = 64 * 1024;

/// What the thread and the runtime share. Bytes are in it or not: whose turn it is.
#[derive(Default)]
struct Desk {
    bytes: Vec<u8>,
    taken: usize,
    /// The thread is at work on what it took, or is to read.
    busy: bool,
    end: Option<Result<(), io::Error>>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn finish(&mut self, end: Option<Result<(), io::Error>>) {
        self.busy = false;
        self.end = end;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn pending<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("stdio".into()).stack_size(STACK).spawn(work).map(drop)
}

/// Writes to one descriptor.
pub(super) struct WritingThread(Arc<Shared>);

impl WritingThread {
    pub(super) fn start(fd: BorrowedFd<'static>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        spawn(move || {
            loop {
                let mut desk = theirs.lock();
                while !desk.busy {
                    desk = theirs.wait(desk);
                }
                let bytes = std::mem::take(&mut desk.bytes);
                drop(desk);
                let result = write_all(fd, &bytes);
                let failed = result.is_err();
                theirs.lock().finish(result.err().map(Err));
                if failed {
                    return;
                }
            }
        })?;
        Ok(Self(shared))
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut desk = self.0.lock();
        if desk.busy {
            return desk.pending(cx);
        }
        if let Some(Err(error)) = &desk.end {
            return Poll::Ready(Err(copy(error)));
        }
        let len = bytes.len().min(HANDOFF);
        desk.bytes = bytes[..len].to_vec();
        desk.busy = true;
        self.0.changed.notify_one();
        Poll::Ready(Ok(len))
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut desk = self.0.lock();
        if desk.busy {
            return desk.pending(cx);
        }
        match &desk.end {
            Some(Err(error)) => Poll::Ready(Err(copy(error))),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// Reads from one descriptor, a piece ahead at most.
pub(super) struct ReadingThread(Arc<Shared>);

impl ReadingThread {
    pub(super) fn start(fd: BorrowedFd<'static>) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        spawn(move || {
            loop {
                let mut desk = theirs.lock();
                while !desk.busy {
                    desk = theirs.wait(desk);
                }
                drop(desk);
                let mut bytes = vec![0; HANDOFF];
                let result = read(fd, &mut bytes);
                let mut desk = theirs.lock();
                bytes.truncate(*result.as_ref().unwrap_or(&0));
                let ended = bytes.is_empty();
                (desk.bytes, desk.taken) = (bytes, 0);
                desk.finish(ended.then(|| result.map(drop)));
                if ended {
                    return;
                }
            }
        })?;
        Ok(Self(shared))
    }

    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut desk = self.0.lock();
        let left = &desk.bytes[desk.taken..];
        if !left.is_empty() {
            let len = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..len]);
            desk.taken += len;
            return Poll::Ready(Ok(()));
        }
        match &desk.end {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(error)) => Poll::Ready(Err(copy(error))),
            None => {
                if !desk.busy {
                    desk.busy = true;
                    self.0.changed.notify_one();
                }
                desk.pending(cx)
            }
        }
    }
}

/// Writes all of it, however long that takes.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(fd, bytes)) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(fd, PollFlags::OUT)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Somebody who shares the descriptor has set it not to block.
fn wait(fd: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
    retry(|| poll(&mut [PollFd::from_borrowed_fd(fd, what)], None)).map(drop)
}

fn read(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match retry(|| rustix::io::read(fd, &mut *bytes)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(fd, PollFlags::IN)?,
            result => return result,
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
