//! What is typed here on its way to the host, with its escapes taken out.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;

use super::escapes::{Escapes, Typed};

/// Bytes read at once. People type less; what they paste comes in pieces.
const READ: usize = 4096;

/// What `~?` shows. The terminal is raw, so that lines need their returns.
const HELP: &str = "\r\n\
    ~.  leave, and end what runs there\r\n\
    ~~  type a ~\r\n\
    ~?  this\r\n\
    (at the beginning of a line)\r\n";

/// Says when somebody has typed that they leave.
#[derive(Clone, Default)]
pub(super) struct Left(Rc<(Cell<bool>, Notify)>);

impl Left {
    /// Waits for it.
    pub(super) async fn came(&self) {
        while !self.0.0.get() {
            self.0.1.notified().await;
        }
    }

    fn tell(&self) {
        self.0.0.set(true);
        self.0.1.notify_one();
    }
}

/// A source of keys; with escapes, if somebody types them.
pub(super) struct Keys<R> {
    source: R,
    escapes: Option<Escapes>,
    left: Left,
}

impl<R: AsyncRead + Unpin> Keys<R> {
    /// Reads a person's keys.
    pub(super) fn typed(source: R, left: Left) -> Self {
        Self { source, escapes: Some(Escapes::default()), left }
    }

    /// Reads what is no person's: every byte of it goes to the host.
    pub(super) fn plain(source: R) -> Self {
        Self { source, escapes: None, left: Left::default() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Keys<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut escapes) = self.escapes else {
            return Pin::new(&mut self.source).poll_read(cx, into);
        };
        if self.left.0.0.get() {
            return Poll::Pending;
        }
        // A byte may bring the one that was held back before it.
        let most = READ.min(into.remaining().saturating_sub(1)).max(1);
        let mut bytes = [0; READ];
        loop {
            let mut read = ReadBuf::new(&mut bytes[..most]);
            match Pin::new(&mut self.source).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let before = into.filled().len();
            for typed in read.filled().iter().flat_map(|&byte| escapes.take(byte)) {
                match typed {
                    Typed::Byte(byte) => into.put_slice(&[byte]),
                    Typed::Help => {
                        // It is for the person; one whose stderr is closed does without.
                        let _ = rustix::io::write(rustix::stdio::stderr(), HELP.as_bytes());
                    }
                    Typed::Leave => {
                        self.left.tell();
                        return Poll::Pending;
                    }
                }
            }
            self.escapes = Some(escapes);
            if into.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn what_is_typed_comes_through_and_leaving_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let left = Left::default();
            let mut keys = Keys::typed(&b"ab~.\r~x\r~.more"[..], left.clone());
            let mut text = [0; 8];
            keys.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"ab~.\r~x\r");
            tokio::select! {
                _ = keys.read(&mut text) => panic!("nothing comes behind it"),
                () = left.came() => {}
            }
            let mut all = String::new();
            Keys::plain(&b"~."[..]).read_to_string(&mut all).await.unwrap();
            assert_eq!(all, "~.");
        });
    }
}
