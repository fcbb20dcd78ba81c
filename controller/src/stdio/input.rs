//! Where a command's stdin comes from here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::OFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

use super::threads::ReadingThread;
use super::{Access, access, retry};

/// This process's stdin.
pub struct Stdin(Way);

enum Way {
    Plain(BorrowedFd<'static>),
    Reopened(AsyncFd<OwnedFd>),
    Thread(ReadingThread),
}

impl Stdin {
    /// Must be called inside a runtime.
    pub fn new() -> io::Result<Self> {
        let fd = rustix::stdio::stdin();
        Ok(Self(match access(fd, OFlags::RDONLY) {
            Access::Plain => Way::Plain(fd),
            Access::Reopened(fd) => {
                Way::Reopened(AsyncFd::with_interest(fd, Interest::READABLE)?)
            }
            Access::Blocking => Way::Thread(ReadingThread::start(fd)?),
        }))
    }
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Plain(fd) => Poll::Ready(read(fd, buffer)),
            Way::Thread(thread) => thread.poll_read(cx, buffer),
            Way::Reopened(fd) => {
                // A fifo that nobody writes to any more may never be announced as ready.
                match read(fd.get_ref(), buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
                loop {
                    let mut ready = ready!(fd.poll_read_ready(cx))?;
                    if let Ok(result) = ready.try_io(|fd| read(fd.get_ref(), buffer)) {
                        return Poll::Ready(result);
                    }
                }
            }
        }
    }
}

fn read(fd: impl std::os::fd::AsFd, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    let room = buffer.initialize_unfilled();
    let len = retry(|| rustix::io::read(fd.as_fd(), &mut *room))?;
    buffer.advance(len);
    Ok(())
}
