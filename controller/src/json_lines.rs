//! Append-only files of JSON lines in the fleet's directory, such as the ledger. Each event is written as it
//! happens, so that the file also covers a process that was interrupted or killed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lariat_base::os_error::io_error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CliError;
use crate::home::Home;

/// Most bytes that are read from a file.
const MAX_LEN: u64 = 64 * 1024 * 1024;

/// A file that is appended to. It is not synced to disk: it must survive a crash of this process, but not of
/// the machine.
pub(crate) struct JsonLines {
    path: PathBuf,
    file: File,
    /// The last line is incomplete.
    is_cut: bool,
}

impl JsonLines {
    /// Creates a file that replaces the previous one. A process that still writes to the previous one continues
    /// without effect.
    pub(crate) fn create(
        home: &Home,
        name: &str,
        first: &impl Serialize,
    ) -> Result<Self, CliError> {
        Self::create_after(home, name, first, |_| Ok(()))
    }

    /// Creates a file. The previous one becomes the first in the directory `older`, beside at most `most - 1`
    /// others, which are numbered from the newest on. A process that still writes to it continues there.
    pub(crate) fn create_and_keep(
        home: &Home,
        name: &str,
        first: &impl Serialize,
        (older, most): (&str, usize),
    ) -> Result<Self, CliError> {
        let older = home.path().join(older);
        Self::create_after(home, name, first, |previous| keep(previous, &older, most))
    }

    fn create_after(
        home: &Home,
        name: &str,
        first: &impl Serialize,
        before: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, CliError> {
        let path = home.path().join(name);
        let create = || {
            let mut file = tempfile::NamedTempFile::new_in(home.path())?;
            file.write_all(&line(first)?)?;
            before(&path)?;
            Ok(file.persist(&path)?)
        };
        let _lock = home.lock()?;
        let file = create().map_err(failed("write", &path))?;
        Ok(Self { path, file, is_cut: false })
    }

    /// Opens a file for reading and appending. `None` if it does not exist.
    pub(crate) fn open(home: &Home, name: &str) -> Result<Option<Self>, CliError> {
        let path = home.path().join(name);
        let _lock = home.lock()?;
        let Some(file) = present(OpenOptions::new().read(true).append(true).open(&path))
            .map_err(failed("open", &path))?
        else {
            return Ok(None);
        };
        let is_cut = ends_within_a_line(&file).map_err(failed("read", &path))?;
        Ok(Some(Self { path, file, is_cut }))
    }

    /// Reads the lines from the beginning.
    pub(crate) fn lines(&self) -> Result<Lines<'_>, CliError> {
        (&self.file).rewind().map_err(failed("read", &self.path))?;
        Ok(Lines { path: &self.path, file: BufReader::new((&self.file).take(MAX_LEN)) })
    }

    /// Appends a line. If a full disk or a crash truncated the previous line, ends that first.
    pub(crate) fn append(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let mut append = || {
            let mut text = line(value)?;
            if self.is_cut {
                text.insert(0, b'\n');
            }
            self.is_cut = true;
            self.file.write_all(&text)?;
            self.is_cut = false;
            Ok(())
        };
        append().map_err(failed("write", &self.path))
    }
}

/// The lines of a file.
pub(crate) struct Lines<'a> {
    path: &'a Path,
    file: BufReader<io::Take<&'a File>>,
}

impl Lines<'_> {
    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    /// The first line. `None` if it can't be parsed.
    pub(crate) fn first<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        Ok(serde_json::from_slice(&self.line()?).ok())
    }

    /// The next line that can be parsed, which skips truncated ones. `None` at the end.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CliError> {
        loop {
            let line = self.line()?;
            match serde_json::from_slice(&line) {
                Ok(value) => return Ok(Some(value)),
                Err(_) if line.is_empty() => return Ok(None),
                Err(_) => {}
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, CliError> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line).map_err(failed("read", self.path))?;
        Ok(line)
    }
}

/// Reads a file, whose directory need not be writable. `None` if it does not exist.
pub(crate) fn read<T>(
    home: &Home,
    name: &str,
    parse: impl FnOnce(Lines<'_>) -> Result<T, CliError>,
) -> Result<Option<T>, CliError> {
    let path = home.path().join(name);
    let file = present(File::open(&path)).map_err(failed("read", &path))?;
    file.map(|file| parse(Lines { path: &path, file: BufReader::new((&file).take(MAX_LEN)) }))
        .transpose()
}

/// The name of an older file in its directory; 1 is the newest.
pub(crate) fn older_name(number: usize) -> String {
    format!("{number}.jsonl")
}

/// Moves older files up by one, and makes `previous` the first of them.
fn keep(previous: &Path, older: &Path, most: usize) -> io::Result<()> {
    let at = |number| older.join(older_name(number));
    DirBuilder::new().recursive(true).mode(0o700).create(older)?;
    for number in (1..most).rev() {
        present(fs::rename(at(number), at(number + 1)))?;
    }
    // With a link the name is never missing; some file systems have none.
    match present(fs::hard_link(previous, at(1))) {
        Ok(_) => Ok(()),
        Err(_) => fs::rename(previous, at(1)),
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text)
}

fn present<T>(file: io::Result<T>) -> io::Result<Option<T>> {
    match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

fn ends_within_a_line(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

fn failed<'a>(action: &'a str, path: &'a Path) -> impl Fn(io::Error) -> CliError + 'a {
    move |error| CliError::new(format!("{action} {}: {}", path.display(), io_error(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(file: &JsonLines) -> Vec<u32> {
        let mut lines = file.lines().unwrap();
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn a_line_after_a_truncated_one_is_separate() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        assert!(JsonLines::open(&home, "f").unwrap().is_none());
        let mut file = JsonLines::create(&home, "f", &1).unwrap();
        file.append(&2).unwrap();
        for cut in [&b"\"cu"[..], b"\"\xff"] {
            file.file.write_all(cut).unwrap();
            file = JsonLines::open(&home, "f").unwrap().unwrap();
            file.append(&3).unwrap();
        }
        assert_eq!(all(&file), [1, 2, 3, 3]);
        fs::write(directory.path().join("f"), "").unwrap();
        let mut file = JsonLines::open(&home, "f").unwrap().unwrap();
        file.append(&4).unwrap();
        assert_eq!(all(&JsonLines::open(&home, "f").unwrap().unwrap()), [4]);
    }
}
