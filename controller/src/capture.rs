//! Captures output up to a limit: what exceeds it is read and discarded, so that the command can finish. Large
//! output is kept in an unnamed file.

use std::io::{self, Read, Seek, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use lariat_base::os_error::io_error;
use tempfile::{SpooledData, SpooledTempFile};
use tokio::io::AsyncWrite;

use crate::output::json::Streams;

/// Bytes of each stream that are kept.
pub(crate) const LIMIT: usize = 16 * 1024 * 1024;

/// Bytes of each stream that are kept in memory while many hosts are captured.
const OF_MANY: usize = 256 * 1024;

/// The beginning of a stream.
#[derive(Debug)]
pub(crate) struct Capture {
    kept: SpooledTempFile,
    len: usize,
    /// Whether the stream was longer.
    truncated: bool,
    /// Hashes the whole stream, including what is discarded, from its first byte on.
    sum: Option<blake3::Hasher>,
}

/// The captured part of a stream.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Its first bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether the stream was longer.
    pub(crate) truncated: bool,
    /// A hash of the whole stream, including what was discarded. `None` if it was empty.
    pub(crate) sum: Option<[u8; 32]>,
    /// How often something could not be decoded, and was replaced.
    pub(crate) replaced: u64,
}

impl Captured {
    /// Both streams of a command, for its JSON object.
    pub(crate) fn streams<'a>(stdout: &'a Self, stderr: &'a Self) -> Streams<'a> {
        let truncated = stdout.truncated || stderr.truncated;
        let replaced = stdout.replaced + stderr.replaced;
        Streams { stdout: &stdout.bytes, stderr: &stderr.bytes, truncated, replaced }
    }
}

impl Default for Capture {
    fn default() -> Self {
        let kept = SpooledTempFile::new(LIMIT);
        Self { kept, len: 0, truncated: false, sum: None }
    }
}

impl Capture {
    /// A stream that is captured together with many others.
    pub(crate) fn one_of_many() -> Self {
        Self { kept: SpooledTempFile::new(OF_MANY), ..Self::default() }
    }

    /// Reads the captured part.
    pub(crate) fn read(self) -> io::Result<Captured> {
        let mut bytes = match self.kept.into_inner() {
            SpooledData::InMemory(bytes) => bytes.into_inner(),
            SpooledData::OnDisk(mut file) => {
                let mut bytes = Vec::with_capacity(self.len);
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                bytes
            }
        };
        if self.truncated {
            end_whole(&mut bytes);
        }
        Ok(Captured {
            bytes,
            truncated: self.truncated,
            sum: self.sum.map(|sum| sum.finalize().into()),
            replaced: 0,
        })
    }
}

/// Removes an incomplete UTF-8 character at the end of text; other data stays as it is.
fn end_whole(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}

impl AsyncWrite for Capture {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let kept = bytes.len().min(LIMIT - self.len);
        if let Err(error) = self.kept.write_all(&bytes[..kept]) {
            let directory = std::env::temp_dir();
            let message = format!("keep it in {}: {}", directory.display(), io_error(&error));
            return Poll::Ready(Err(io::Error::new(error.kind(), message)));
        }
        if !bytes.is_empty() {
            self.sum.get_or_insert_default().update(bytes);
        }
        self.len += kept;
        self.truncated |= kept < bytes.len();
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
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn what_was_kept_comes_back_wherever_it_lay() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (len, part, truncated) in
            [(5, 5, false), (OF_MANY + 7, 1000, false), (LIMIT, LIMIT, true)]
        {
            for mut capture in [Capture::default(), Capture::one_of_many()] {
                let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
                runtime.block_on(async {
                    for part in bytes.chunks(part) {
                        capture.write_all(part).await.unwrap();
                    }
                    if truncated {
                        capture.write_all(b"more").await.unwrap();
                    }
                });
                let captured = capture.read().unwrap();
                assert!(captured.bytes == bytes && captured.truncated == truncated, "{len}");
                let all = if truncated { [&bytes[..], b"more"].concat() } else { bytes };
                assert_eq!(captured.sum, Some(blake3::hash(&all).into()));
            }
        }
    }

    #[test]
    fn text_is_cut_between_two_characters() {
        let cut = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            end_whole(&mut bytes);
            bytes
        };
        for whole in [&b""[..], b"a\n", "é".as_bytes(), b"\xff\xc3", b"\xc3a"] {
            assert_eq!(cut(whole), whole, "{whole:?}");
        }
        let text = "é€🐎".as_bytes();
        for (len, left) in [(1, 0), (3, 2), (4, 2), (6, 5), (7, 5), (8, 5), (9, 9)] {
            assert_eq!(cut(&text[..len]), &text[..left]);
        }
    }

    #[test]
    fn what_is_over_the_limit_is_still_text() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut capture = Capture::default();
        let text = "é\n".repeat(LIMIT / 3 + 9);
        runtime.block_on(capture.write_all(text.as_bytes())).unwrap();
        let captured = capture.read().unwrap();
        assert!(captured.truncated && LIMIT - captured.bytes.len() < 3);
        assert!(std::str::from_utf8(&captured.bytes).is_ok());
    }
}
