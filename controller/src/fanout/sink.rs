//! Where one host's stdout or stderr goes: to this process's own, to the stream of all in whole lines, to a file
//! of its own, or nowhere until the host has ended.

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
use crate::output::printer::Printer;
use crate::stdio::LocalOutput;

/// One stream's destination.
pub(crate) enum Sink {
    /// This process's own stream, as the bytes come.
    Own(LocalOutput),
    /// The stream of all.
    Lines(Lines, Printer),
    /// A file of its own.
    File(OutFile),
    /// Kept until the end.
    Kept(Box<Capture>),
}

/// A file that is made when the first byte comes.
pub(crate) struct OutFile {
    path: PathBuf,
    file: Option<File>,
}

impl Sink {
    /// The stream of all, for the host of this number.
    pub(crate) fn lines(host: &HostName, number: usize, printer: &Printer) -> Self {
        let colors = printer.has_colours();
        let lines = Lines::new(prefix(host, number, colors));
        let lines = if printer.is_terminal() { lines.on_screen(colors) } else { lines };
        Self::Lines(lines, printer.clone())
    }

    /// The host has ended: gives out what is left of its last line.
    pub(crate) async fn finish(&mut self) {
        if let Self::Lines(lines, printer) = self {
            printer.send(&lines.finish()).await;
        }
    }

    /// What was kept, if it was to be.
    pub(crate) fn read(self) -> io::Result<Captured> {
        match self {
            Self::Kept(capture) => capture.read(),
            _ => Ok(Captured::default()),
        }
    }

    /// No command ran that could have written anything: a file that was made for it goes.
    pub(crate) fn discard(&mut self) {
        if let Self::File(OutFile { path, file: Some(_) }) = self {
            // An empty file that stays is no harm.
            let _ = std::fs::remove_file(path);
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
        }
    }
}

impl OutFile {
    /// A file of this name, which is made at once if it is to be there even when it is empty. What it
    /// had in it goes.
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
        // Never as a reader that went away: this is not the stream of all.
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
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_file_is_there_once_something_is_in_it_and_an_old_one_goes() {
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
