//! The destination of one host's stdout or stderr: this process's own stream, the shared stream in whole lines,
//! a file, or a capture until the host has ended.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lariat_base::name::HostName;
use lariat_base::os_error::io_error;
use tokio::io::AsyncWrite;

use super::lines::{Lines, prefix};
use crate::capture::{Capture, Captured};
use crate::encoding::{Decoded, HostEncoding};
use crate::output::printer::Printer;
use crate::stdio::LocalOutput;

/// One stream's destination.
pub(crate) enum Sink {
    /// This process's own stream, unbuffered.
    Own(LocalOutput),
    /// The shared stream, in whole lines.
    Lines(Lines, Printer),
    /// A file for this host.
    File(OutFile),
    /// A capture.
    Kept(Box<Capture>),
    /// One of the others, which gets the text of another encoding as UTF-8.
    Decoded(Box<Decoded<Sink>>),
}

/// A file that is created when the first byte arrives.
pub(crate) struct OutFile {
    path: PathBuf,
    file: Option<File>,
}

impl Sink {
    /// The shared stream, for a host.
    pub(crate) fn lines(host: &HostName, printer: &Printer) -> Self {
        let colors = printer.has_colours();
        let lines = Lines::new(prefix(host, colors));
        let lines = if printer.is_terminal() { lines.on_screen(colors) } else { lines };
        Self::Lines(lines, printer.clone())
    }

    /// Destinations of stdout and stderr that decode text, if it has another encoding.
    pub(crate) fn decoding(
        (stdout, stderr): (Self, Self),
        encoding: Option<HostEncoding>,
    ) -> (Self, Self) {
        let Some(encoding) = encoding else { return (stdout, stderr) };
        let decoded = |sink| Self::Decoded(Box::new(Decoded::new(encoding, sink)));
        (decoded(stdout), decoded(stderr))
    }

    /// How often something could not be decoded, and was replaced.
    pub(crate) fn replaced(&self) -> u64 {
        match self {
            Self::Decoded(decoded) => decoded.replaced(),
            _ => 0,
        }
    }

    /// Writes the incomplete last line after the host has ended.
    pub(crate) async fn finish(&mut self) {
        if let Self::Lines(lines, printer) = self.last() {
            printer.send(&lines.finish()).await;
        }
    }

    /// Reads the capture, if it is one.
    pub(crate) fn read(self) -> io::Result<Captured> {
        match self {
            Self::Kept(capture) => capture.read(),
            Self::Decoded(decoded) => {
                let replaced = decoded.replaced();
                Ok(Captured { replaced, ..decoded.into_destination().read()? })
            }
            _ => Ok(Captured::default()),
        }
    }

    /// Removes a file that was created in advance, because no command ran.
    pub(crate) fn discard(&mut self) {
        if let Self::File(OutFile { path, file: Some(_) }) = self.last() {
            // A remaining empty file does no harm.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Where the bytes come to in the end.
    fn last(&mut self) -> &mut Self {
        match self {
            Self::Decoded(decoded) => decoded.destination(),
            last => last,
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Own(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Lines(lines, printer) => {
                ready!(printer.poll_room(cx))?;
                printer.put(&lines.push(bytes));
                Poll::Ready(Ok(bytes.len()))
            }
            Self::File(file) => Poll::Ready(file.write(bytes)),
            Self::Kept(capture) => Pin::new(&mut **capture).poll_write(cx, bytes),
            Self::Decoded(decoded) => Pin::new(&mut **decoded).poll_write(cx, bytes),
        }
    }
}

impl OutFile {
    /// A file at this path, which is created `at_once` if it must exist even when it is empty. An existing file
    /// is truncated.
    pub(crate) fn new(path: PathBuf, at_once: bool) -> io::Result<Self> {
        let mut file = Self { path, file: None };
        if at_once {
            file.open()?;
        } else {
            match std::fs::remove_file(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file.named(&error));
                }
                _ => {}
            }
        }
        Ok(file)
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let opened = || {
            let directory = self.path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).create(directory)?;
            OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)
        };
        let file = match self.file.take() {
            Some(file) => file,
            None => opened().map_err(|error| self.named(&error))?,
        };
        Ok(self.file.insert(file))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.open()?.write(bytes);
        result.map_err(|error| self.named(&error))
    }

    fn named(&self, error: &io::Error) -> io::Error {
        // A broken pipe here does not mean that the reader of stdout is gone.
        io::Error::other(format!("write {}: {}", self.path.display(), io_error(error)))
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Own(stream) => Pin::new(stream).poll_flush(cx),
            Self::Decoded(decoded) => Pin::new(&mut **decoded).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// A command's output has ended. That of another one may follow.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Decoded(decoded) => Pin::new(&mut **decoded).poll_shutdown(cx),
            _ => self.poll_flush(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_file_is_created_with_its_first_byte_and_an_old_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/web1");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut sink = Sink::File(OutFile::new(path.clone(), true).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), b"");
            sink.write_all(b"one").await.unwrap();
            sink.write_all(b"two").await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
            sink.discard();
            assert!(!path.exists());
            std::fs::write(&path, b"old").unwrap();
            let _none = OutFile::new(path.clone(), false).unwrap();
            assert!(!path.exists());
            std::fs::create_dir(&path).unwrap();
            let mut sink = Sink::File(OutFile { path, file: None });
            let error = sink.write_all(b"x").await.unwrap_err();
            assert!(error.to_string().contains("web1: is a directory"), "{error}");
        });
    }
}
