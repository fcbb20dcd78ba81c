//! A thread for a descriptor that may block and can't be opened again (a socket, another user's pipe). Queued
//! bytes are bounded, and the thread ends with the process.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::ReadBuf;

use super::{copy_error, retry};
use crate::handover::Handover;

/// Bytes that are passed at once.
const HANDOFF: usize = 64 * 1024;

/// The thread's stack size, in bytes: it only calls `read` or `write`.
const STACK: usize = 64 * 1024;

/// State that the thread and the runtime share.
#[derive(Default)]
struct Desk {
    bytes: Vec<u8>,
    taken: usize,
    /// The thread is writing the bytes, or is asked to read some.
    busy: bool,
    end: Option<io::Result<()>>,
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("stdio".into()).stack_size(STACK).spawn(work).map(drop)
}

/// Writes to one descriptor.
pub(super) struct WritingThread(Arc<Handover<Desk>>);

impl WritingThread {
    pub(super) fn start(fd: BorrowedFd<'static>) -> io::Result<Self> {
        let desk = Arc::<Handover<Desk>>::default();
        let theirs = Arc::clone(&desk);
        spawn(move || {
            loop {
                let bytes = theirs.block(|desk| desk.busy.then(|| std::mem::take(&mut desk.bytes)));
                let result = write_all(fd, &bytes);
                let failed = result.is_err();
                theirs.change(|desk| {
                    desk.busy = false;
                    desk.end = result.err().map(Err);
                });
                if failed {
                    return;
                }
            }
        })?;
        Ok(Self(desk))
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.0.poll(cx, |desk| {
            if desk.busy {
                return None;
            }
            if let Some(Err(error)) = &desk.end {
                return Some(Err(copy_error(error)));
            }
            let len = bytes.len().min(HANDOFF);
            desk.bytes = bytes[..len].to_vec();
            desk.busy = true;
            Some(Ok(len))
        });
        if written.is_ready() {
            self.0.wake_thread();
        }
        written
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx, |desk| {
            let end = desk.end.as_ref().and_then(|end| end.as_ref().err());
            (!desk.busy).then(|| end.map_or(Ok(()), |error| Err(copy_error(error))))
        })
    }
}

/// Reads from one descriptor, at most one piece ahead.
pub(super) struct ReadingThread(Arc<Handover<Desk>>);

impl ReadingThread {
    pub(super) fn start(fd: BorrowedFd<'static>) -> io::Result<Self> {
        let desk = Arc::<Handover<Desk>>::default();
        let theirs = Arc::clone(&desk);
        spawn(move || {
            loop {
                theirs.block(|desk| desk.busy.then_some(()));
                let mut bytes = vec![0; HANDOFF];
                let result = read(fd, &mut bytes);
                bytes.truncate(*result.as_ref().unwrap_or(&0));
                let ended = bytes.is_empty();
                theirs.change(|desk| {
                    (desk.bytes, desk.taken, desk.busy) = (bytes, 0, false);
                    desk.end = ended.then(|| result.map(drop));
                });
                if ended {
                    return;
                }
            }
        })?;
        Ok(Self(desk))
    }

    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.poll(cx, |desk| {
            let left = &desk.bytes[desk.taken..];
            if !left.is_empty() {
                let len = left.len().min(buffer.remaining());
                buffer.put_slice(&left[..len]);
                desk.taken += len;
                return Some(Ok(()));
            }
            desk.busy = desk.end.is_none();
            desk.end.as_ref().map(|end| end.as_ref().copied().map_err(copy_error))
        });
        if read.is_pending() {
            self.0.wake_thread();
        }
        read
    }
}

/// Writes all bytes, blocking if necessary.
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

/// Waits, because another process set O_NONBLOCK on the shared description.
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
