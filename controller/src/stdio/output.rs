//! Where a command's output goes here.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::OFlags;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;

use super::threads::WritingThread;
use super::{Access, access, retry};

/// This process's stdout or stderr.
pub(crate) struct LocalOutput(Way);

enum Way {
    Plain(BorrowedFd<'static>),
    /// Terminals too: it is our own description that does not block.
    Reopened(Sender),
    Thread(WritingThread),
}

impl LocalOutput {
    /// Standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::new(rustix::stdio::stdout())
    }

    /// Standard error.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::new(rustix::stdio::stderr())
    }

    /// Any descriptor that stays open. Must be called inside a runtime.
    pub(crate) fn new(fd: BorrowedFd<'static>) -> io::Result<Self> {
        Ok(Self(match access(fd, OFlags::WRONLY) {
            Access::Plain => Way::Plain(fd),
            Access::Reopened(fd) => Way::Reopened(Sender::from_owned_fd_unchecked(fd)?),
            Access::Blocking => Way::Thread(WritingThread::start(fd)?),
        }))
    }
}

impl AsyncWrite for LocalOutput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Way::Plain(fd) => Poll::Ready(retry(|| rustix::io::write(*fd, bytes))),
            Way::Thread(thread) => thread.poll_write(cx, bytes),
            Way::Reopened(sender) => {
                // Mostly there is room, and asking first would cost a turn of the reactor.
                match retry(|| rustix::io::write(&*sender, bytes)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Pin::new(sender).poll_write(cx, bytes)
                    }
                    result => Poll::Ready(result),
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Plain(_) | Way::Reopened(_) => Poll::Ready(Ok(())),
            Way::Thread(thread) => thread.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
