//! Where a command's output goes here.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustix::fs::OFlags;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;

use super::threads::WritingThread;
use super::{Access, access, retry};

/// Whether what was written to a terminal last was the end of a line.
static AT_LINE_START: AtomicBool = AtomicBool::new(true);

/// Whether a line can begin on the terminal where the cursor is now.
pub(crate) fn is_at_line_start() -> bool {
    AT_LINE_START.load(Ordering::Relaxed)
}

/// This process's stdout or stderr.
pub(crate) struct LocalOutput {
    way: Way,
    is_terminal: bool,
}

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
        let way = match access(fd, OFlags::WRONLY) {
            Access::Plain => Way::Plain(fd),
            Access::Reopened(fd) => Way::Reopened(Sender::from_owned_fd_unchecked(fd)?),
            Access::Blocking => Way::Thread(WritingThread::start(fd)?),
        };
        Ok(Self { way, is_terminal: rustix::termios::isatty(fd) })
    }
}

impl AsyncWrite for LocalOutput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.write(cx, bytes);
        if let Poll::Ready(Ok(len @ 1..)) = written
            && self.is_terminal
        {
            AT_LINE_START.store(bytes[len - 1] == b'\n', Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Plain(_) | Way::Reopened(_) => Poll::Ready(Ok(())),
            Way::Thread(thread) => thread.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl LocalOutput {
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.way {
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
}
