//! The files of an audit: their names in order, and how old they are.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lariat_base::audit::FileName;

/// The files, oldest first. Anything else in the directory is passed over.
pub(super) fn list(directory: &Path) -> io::Result<Vec<FileName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<FileName>().ok()));
    }
    names.sort_unstable();
    Ok(names)
}

/// When a file's first line was written, as the line says.
pub(super) fn opened_at(directory: &Path, name: FileName) -> io::Result<String> {
    /// More than what comes before the time's end.
    const HEAD: u64 = 128;
    let mut head = Vec::new();
    File::open(directory.join(name.to_string()))?.take(HEAD).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let time = head.split_once("\"time\":\"").and_then(|(_, rest)| rest.split_once('"'));
    time.map(|(time, _)| time.to_owned()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How many of the oldest files have only lines from before `limit`. The newest file is never among them.
pub(super) fn count_before(directory: &Path, names: &[FileName], limit: &str) -> usize {
    let is_old = |next: &&FileName| opened_at(directory, **next).is_ok_and(|time| *time < *limit);
    names.iter().skip(1).take_while(is_old).count()
}
