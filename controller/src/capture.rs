//! Output that is kept for later, up to a limit: what is over it is read and forgotten, so that the
//! command ends as it would have. Of a large one most lies in a nameless file.

use std::io::{self, Read, Seek, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use lariat_base::os_error::io_error;
use tempfile::{SpooledData, SpooledTempFile};
use tokio::io::AsyncWrite;

use crate::output::json::Streams;

/// Bytes of each stream that are kept.
pub(crate) const LIMIT: usize = 16 * 1024 * 1024;

/// Bytes of each stream that are kept in memory while there are many.
const OF_MANY: usize = 256 * 1024;

/// The beginning of a stream.
#[derive(Debug)]
pub(crate) struct Capture {
    kept: SpooledTempFile,
    len: usize,
    /// Whether there were more.
    truncated: bool,
    /// Of all that came, kept or not.
    sum: blake3::Hasher,
}

/// What was kept.
#[derive(Debug)]
pub(crate) struct Captured {
    /// Its first bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether there were more.
    pub(crate) truncated: bool,
    /// A hash of all that came, kept or not.
    pub(crate) sum: [u8; 32],
}

impl Default for Captured {
    fn default() -> Self {
        Self { bytes: Vec::new(), truncated: false, sum: *blake3::hash(b"").as_bytes() }
    }
}

impl Captured {
    /// Both streams of a command, for an object.
    pub(crate) fn streams<'a>(stdout: &'a Self, stderr: &'a Self) -> Streams<'a> {
        let truncated = stdout.truncated || stderr.truncated;
        Streams { stdout: &stdout.bytes, stderr: &stderr.bytes, truncated }
    }
}

impl Default for Capture {
    fn default() -> Self {
        let kept = SpooledTempFile::new(LIMIT);
        Self { kept, len: 0, truncated: false, sum: blake3::Hasher::new() }
    }
}

impl Capture {
    /// One of many streams that are kept at once.
    pub(crate) fn one_of_many() -> Self {
        Self { kept: SpooledTempFile::new(OF_MANY), ..Self::default() }
    }

    /// What was kept.
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
        Ok(Captured { bytes, truncated: self.truncated, sum: *self.sum.finalize().as_bytes() })
    }
}

/// Takes away the part of a character that text was cut in; what is no text stays as it is.
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
        self.sum.update(bytes);
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
                assert_eq!(captured.sum, *blake3::hash(&all).as_bytes());
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
