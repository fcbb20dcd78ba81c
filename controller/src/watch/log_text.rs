//! The end of a job's output as lines for a screen, however much of it there is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use lariat_base::escape::escape;
use tokio::io::AsyncWrite;

/// Most lines that are kept.
const MOST_LINES: usize = 2000;

/// The longest line, in bytes. A longer one goes on in the next.
const LONGEST: usize = 2000;

/// The lines of both streams, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct LogText {
    lines: VecDeque<String>,
    /// The last line of each stream, which has no end yet.
    open: [Vec<u8>; 2],
    /// How reading ended.
    end: Option<String>,
}

impl LogText {
    /// Adds output of a stream.
    pub(super) fn push(&mut self, stream: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let open = &mut self.open[stream];
            let room = LONGEST.saturating_sub(open.len()).min(bytes.len());
            let end = bytes[..room].iter().position(|&byte| byte == b'\n');
            open.extend_from_slice(&bytes[..end.unwrap_or(room)]);
            bytes = &bytes[end.map_or(room, |end| end + 1)..];
            if end.is_some() || open.len() >= LONGEST {
                let line = std::mem::take(open);
                self.lines.push_back(shown(&line));
                if self.lines.len() > MOST_LINES {
                    self.lines.pop_front();
                }
            }
        }
    }

    /// Reading has ended.
    pub(super) fn end(&mut self, how: String) {
        self.end = Some(how);
    }

    /// The number of lines.
    pub(super) fn len(&self) -> usize {
        self.lines.len() + self.last().count()
    }

    /// The lines from this one on, as text without control characters.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = String> {
        let whole = self.lines.iter().skip(first).cloned();
        whole.chain(self.last().skip(first.saturating_sub(self.lines.len())))
    }

    /// The lines that have no end yet, and how reading ended.
    fn last(&self) -> impl Iterator<Item = String> {
        let open = self.open.iter().filter(|open| !open.is_empty()).map(|open| shown(open));
        open.chain(self.end.iter().map(|end| format!("[{end}]")))
    }
}

fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // A tab is the one control character that text is full of.
    line.split(|&byte| byte == b'\t').map(escape).collect::<Vec<_>>().join("    ")
}

/// The text, shared by who reads the output and who shows it.
pub(super) type SharedLog = Rc<RefCell<LogText>>;

/// One stream of a job, as a destination.
pub(super) struct LogStream(pub(super) SharedLog, pub(super) usize);

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().push(self.1, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_lines_without_control_characters() {
        let mut text = LogText::default();
        text.push(0, b"one\r\ntw");
        text.push(1, b"\x1b[2Jerr");
        text.push(0, b"o\n\n\tthree");
        let lines = |text: &LogText| text.from(0).collect::<Vec<_>>();
        assert_eq!(lines(&text), ["one", "two", "", "    three", "\\x1b[2Jerr"]);
        text.end("exit 3".to_owned());
        assert_eq!(
            (text.len(), text.from(5).collect::<Vec<_>>()),
            (6, vec!["[exit 3]".to_owned()])
        );
    }

    #[test]
    fn its_end_is_kept_whatever_its_length() {
        let mut text = LogText::default();
        for number in 0..3 * MOST_LINES {
            text.push(0, format!("{number}\n").as_bytes());
        }
        assert_eq!(text.len(), MOST_LINES);
        assert_eq!(text.from(MOST_LINES - 1).next(), Some((3 * MOST_LINES - 1).to_string()));
        text.push(1, &vec![b'x'; 10_000_000]);
        let longest = text.from(0).map(|line| line.len()).max();
        assert_eq!((text.len(), longest), (MOST_LINES, Some(LONGEST)));
    }
}
