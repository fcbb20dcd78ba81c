//! Where a command's stdin comes from here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::OFlags;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

use super::threads::ReadingThread;
use super::{Access, access, retry};

/// This process's stdin.
pub(crate) struct Stdin(Way);

enum Way {
    Plain(BorrowedFd<'static>),
    Reopened(Receiver),
    Thread(ReadingThread),
}

impl Stdin {
    /// Must be called inside a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let fd = rustix::stdio::stdin();
        Ok(Self(match access(fd, OFlags::RDONLY) {
            Access::Plain => Way::Plain(fd),
            Access::Reopened(fd) => Way::Reopened(Receiver::from_owned_fd_unchecked(fd)?),
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
            Way::Reopened(receiver) => {
                // A fifo that nobody writes to any more may never be announced as ready.
                match read(&*receiver, buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Pin::new(receiver).poll_read(cx, buffer)
                    }
                    result => Poll::Ready(result),
                }
            }
        }
    }
}

fn read(fd: impl AsFd, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    let room = buffer.initialize_unfilled();
    let len = retry(|| rustix::io::read(fd.as_fd(), &mut *room))?;
    buffer.advance(len);
    Ok(())
}
