//! Reads the content of a small file as it was at one instant.
//!
//! A file that is written to while it is read could give a mix of old and new bytes. So its stat is compared before
//! and after the read. If that does not decide, the file is read twice: bytes that are the same both times all
//! existed between the two reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{Stat, fstat};
use rustix::time::{ClockId, clock_gettime};

/// How long after a change a second one may leave the same time, in nanoseconds: several ticks of the slowest
/// kernel's clock.
const TICKS: i128 = 50_000_000;

/// The result of a read.
#[derive(Debug)]
pub(super) enum Read {
    /// The buffer has the file's content. This is the file's stat after the read.
    Snapshot(Stat),
    /// The file was written to meanwhile. Another attempt may succeed.
    Torn,
    /// The file ends before its size, and was not changed: its size is wrong.
    Short,
}

/// Fills `bytes` with the first bytes of a file whose stat was `before`.
pub(super) fn read(file: &File, before: &Stat, bytes: &mut [u8]) -> io::Result<Read> {
    let ended = match file.read_exact_at(bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
        read => read.map(|()| false)?,
    };
    let after = fstat(file)?;
    let untouched = changed_at(before) == changed_at(&after) && before.st_size == after.st_size;
    if ended {
        return Ok(if untouched { Read::Short } else { Read::Torn });
    }
    let modified = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let grew = after.st_size > before.st_size;
    let same = after.st_size == before.st_size && modified(before) == modified(&after);
    let is_snapshot = if untouched && !is_recent(&after) {
        true
    } else {
        (grew || same) && reads_again(file, bytes)?
    };
    Ok(if is_snapshot { Read::Snapshot(after) } else { Read::Torn })
}

fn changed_at(stat: &Stat) -> (i64, i128) {
    (stat.st_ctime, i128::from(stat.st_ctime_nsec))
}

/// Whether a file changed so recently that another change may leave the same time.
fn is_recent(stat: &Stat) -> bool {
    const SECOND: i128 = 1_000_000_000;
    let now = clock_gettime(ClockId::Realtime);
    let now = i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec);
    let (secs, nanos) = changed_at(stat);
    (i128::from(secs) * SECOND + nanos - now).abs() < TICKS
}

/// Whether the file still begins with these bytes.
fn reads_again(file: &File, bytes: &[u8]) -> io::Result<bool> {
    let mut again = vec![0; bytes.len()];
    match file.read_exact_at(&mut again, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| again == bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn file(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    fn is_snapshot(file: &File, before: &Stat, len: usize) -> bool {
        let read = read(file, before, &mut vec![0; len]).unwrap();
        matches!(read, Read::Snapshot(_))
    }

    #[test]
    fn growth_and_changes_beside_the_content_are_no_harm() {
        let file = file(b"text");
        let before = fstat(&file).unwrap();
        assert!(is_snapshot(&file, &before, 4));
        file.write_all_at(b" and more", 4).unwrap();
        assert!(is_snapshot(&file, &before, 4), "it has grown");
        let before = fstat(&file).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o611);
        file.set_permissions(mode).unwrap();
        assert!(is_snapshot(&file, &before, 13), "only its mode is another");
    }

    #[test]
    fn what_was_cut_or_written_over_is_torn() {
        let file = file(b"some text");
        let before = fstat(&file).unwrap();
        file.set_len(4).unwrap();
        assert!(matches!(read(&file, &before, &mut [0; 9]), Ok(Read::Torn)));
        let before = fstat(&file).unwrap();
        file.write_all_at(b"more", 0).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        assert!(!is_snapshot(&file, &before, 4));
    }

    #[test]
    fn a_file_that_ends_early_while_it_rests_is_short() {
        let file = file(b"text");
        let before = fstat(&file).unwrap();
        assert!(matches!(read(&file, &before, &mut [0; 4096]), Ok(Read::Short)));
    }
}
