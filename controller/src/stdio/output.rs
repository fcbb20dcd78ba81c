//! Where a command's output goes here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::OFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, Interest};

use super::threads::WritingThread;
use super::{Access, access, retry};

/// This process's stdout or stderr.
pub struct LocalOutput(Way);

enum Way {
    Plain(BorrowedFd<'static>),
    Reopened(AsyncFd<OwnedFd>),
    Thread(WritingThread),
}

impl LocalOutput {
    /// Standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::new(rustix::stdio::stdout())
    }

    /// Standard error.
    pub fn stderr() -> io::Result<Self> {
        Self::new(rustix::stdio::stderr())
    }

    /// Any descriptor that stays open. Must be called inside a runtime.
    pub fn new(fd: BorrowedFd<'static>) -> io::Result<Self> {
        Ok(Self(match access(fd, OFlags::WRONLY) {
            Access::Plain => Way::Plain(fd),
            Access::Reopened(fd) => {
                Way::Reopened(AsyncFd::with_interest(fd, Interest::WRITABLE)?)
            }
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
            Way::Reopened(fd) => {
                // Mostly there is room, and asking first would cost a turn of the reactor.
                let write = |fd: &OwnedFd| retry(|| rustix::io::write(fd, bytes));
                match write(fd.get_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
                loop {
                    let mut ready = ready!(fd.poll_write_ready(cx))?;
                    if let Ok(result) = ready.try_io(|fd| write(fd.get_ref())) {
                        return Poll::Ready(result);
                    }
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
