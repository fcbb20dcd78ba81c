//! Removes the temporary files that killed transfers left in a directory and nobody resumed. A file in use
//! is locked and stays, whatever its age.

use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::in_use::{self, tree_is_under_way};
use super::private_file;
use super::temporary::{Kind, Temporary};
use crate::destination::Place;

/// How long a partial can be resumed after the last byte was written to it.
const PARTIAL_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a staged file is kept that no tree above it seems to use. If a directory is mounted in two places,
/// the tree's root may be above the other one.
const STAGED_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Entries of a directory that are examined. The rest stays: a transfer must not wait until millions of entries
/// were read.
const MAX_ENTRIES: usize = 1000;

/// Removes the abandoned temporary files of `user` in this directory. Errors are ignored: a file that stays
/// does no harm.
pub(crate) fn sweep(place: &Place, user: u32, now: SystemTime) {
    let Ok(entries) = Dir::read_from(&place.directory) else { return };
    for entry in entries.take(MAX_ENTRIES).map_while(Result::ok) {
        let name = entry.file_name().to_bytes();
        let Some(found) = Temporary::parse(name) else { continue };
        // The next transfer tries again.
        let _ = match found.kind {
            Kind::Partial => sweep_partial(place, name, &found, user, now),
            Kind::Journal => sweep_journal(place, name, &found, user, now),
            Kind::Staged => sweep_staged(place, name, user, now),
        };
    }
}

fn sweep_partial(
    place: &Place,
    name: &[u8],
    found: &Temporary<'_>,
    user: u32,
    now: SystemTime,
) -> Result<(), Errno> {
    let is_forgotten = |stat: &Stat| {
        let empty = stat.st_size == 0;
        is_one_of(stat, user) && (empty || is_older(stat.st_mtime, PARTIAL_AGE, now))
    };
    let before = stat(place, name)?;
    if !is_forgotten(&before) {
        return Ok(());
    }
    let Some(locked) = in_use::lock(&place.directory, name)? else { return Ok(()) };
    // Another transfer may have resumed or renamed it before it was locked here.
    let is_at = private_file::is_at(&place.directory, name, &locked).unwrap_or(false);
    if is_at && is_forgotten(&rustix::fs::fstat(&locked)?) {
        private_file::remove(place, &found.sibling(Kind::Journal));
        remove(place, name)?;
    }
    Ok(())
}

/// A journal whose partial exists is removed with the partial.
fn sweep_journal(
    place: &Place,
    name: &[u8],
    found: &Temporary<'_>,
    user: u32,
    now: SystemTime,
) -> Result<(), Errno> {
    let part = stat(place, found.sibling(Kind::Partial).as_bytes());
    let stat = stat(place, name)?;
    let forgotten = is_one_of(&stat, user) && is_older(stat.st_mtime, PARTIAL_AGE, now);
    if forgotten && part.err() == Some(Errno::NOENT) && !tree_is_under_way(&place.directory, None) {
        remove(place, name)?;
    }
    Ok(())
}

/// Its modification time is the sender's, so its age follows from the time of its renaming.
fn sweep_staged(place: &Place, name: &[u8], user: u32, now: SystemTime) -> Result<(), Errno> {
    let stat = stat(place, name)?;
    let owned = stat.st_uid == user || user == 0;
    if owned
        && is_older(stat.st_ctime, STAGED_AGE, now)
        && !tree_is_under_way(&place.directory, None)
    {
        remove(place, name)?;
    }
    Ok(())
}

/// Whether it can be a partial or journal of this user.
fn is_one_of(stat: &Stat, user: u32) -> bool {
    // Root's files may have been given to their final owner just before their renaming.
    let owned = stat.st_uid == user || user == 0;
    FileType::from_raw_mode(stat.st_mode).is_file() && owned && stat.st_nlink == 1
}

fn is_older(secs: i64, than: Duration, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // A time in the future counts as new.
    let secs = u64::try_from(secs).unwrap_or_default();
    now.checked_sub(Duration::from_secs(secs)).is_some_and(|age| age > than)
}

fn stat(place: &Place, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn remove(place: &Place, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::unlinkat(&place.directory, name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::transfer::Destination;
    use rustix::fs::FlockOperation;
    use std::fs::File;

    const A: &str = ".lariat-0123456789abcdef0123456789abcdef";
    const B: &str = ".lariat-ffffffffffffffffffffffffffffffff";
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn with(names: &[String], age: Duration) -> Self {
            let directory = Self(tempfile::tempdir().unwrap());
            names.iter().for_each(|name| directory.make(name, age));
            directory
        }

        fn make(&self, name: &str, age: Duration) {
            std::fs::write(self.0.path().join(name), "bytes").unwrap();
            let file = File::options().write(true).open(self.0.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }

        /// Sweeps as `user`, and tells what is left.
        fn swept_by(&self, user: u32) -> Vec<String> {
            self.swept_at(user, SystemTime::now())
        }

        fn swept_at(&self, user: u32, now: SystemTime) -> Vec<String> {
            let dest = Destination { path: b"dest".to_vec(), name: b"source".to_vec() };
            let place = Place::resolve(self.0.path(), &dest).unwrap();
            sweep(&place, user, now);
            let entries = std::fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn swept(&self) -> Vec<String> {
            self.swept_by(rustix::process::geteuid().as_raw())
        }
    }

    fn files() -> Vec<String> {
        [A, B]
            .iter()
            .flat_map(|stem| [".journal", ".part"].map(|end| format!("{stem}{end}")))
            .collect()
    }

    #[test]
    fn what_is_old_goes_and_what_is_young_stays() {
        assert_eq!(Dir::with(&files(), 8 * DAY).swept(), [""; 0]);
        assert_eq!(Dir::with(&files(), 6 * DAY).swept(), files());
        let tomorrow = Dir::with(&files(), Duration::ZERO);
        let file = File::options().write(true).open(tomorrow.0.path().join(&files()[1])).unwrap();
        file.set_modified(SystemTime::now() + 30 * DAY).unwrap();
        assert_eq!(tomorrow.swept(), files());
    }

    #[test]
    fn a_journal_is_as_old_as_its_partial() {
        let directory = Dir::with(&[format!("{A}.part")], DAY);
        directory.make(&format!("{A}.journal"), 30 * DAY);
        directory.make(&format!("{B}.journal"), 30 * DAY);
        assert_eq!(directory.swept(), files()[..2]);
        let directory = Dir::with(&[format!("{A}.part")], 8 * DAY);
        directory.make(&format!("{A}.journal"), DAY);
        assert_eq!(directory.swept(), [""; 0]);
    }

    #[test]
    fn what_is_in_use_or_another_s_stays() {
        let directory = Dir::with(&files(), 8 * DAY);
        let held = File::open(directory.0.path().join(&files()[1])).unwrap();
        rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
        assert_eq!(directory.swept(), files()[..2]);
        let other = rustix::process::geteuid().as_raw() + 1;
        assert_eq!(Dir::with(&files(), 8 * DAY).swept_by(other), files());
        let directory = Dir::with(&files(), 8 * DAY);
        let linked = directory.0.path().join("a-name-of-its-own");
        std::fs::hard_link(directory.0.path().join(&files()[1]), linked).unwrap();
        assert_eq!(directory.swept().len(), 3);
    }

    #[test]
    fn an_empty_partial_goes_whatever_its_age_unless_it_is_in_use() {
        let name = format!("{A}.part");
        let directory = Dir::with(std::slice::from_ref(&name), Duration::ZERO);
        let path = directory.0.path().join(name);
        std::fs::write(&path, "").unwrap();
        let held = File::open(&path).unwrap();
        rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
        assert_eq!(directory.swept().len(), 1);
        drop(held);
        assert_eq!(directory.swept(), [""; 0]);
    }

    #[test]
    fn a_staged_file_is_as_old_as_its_name_and_stays_while_a_tree_is_under_way_above() {
        let name = format!("{A}.staged");
        let directory = Dir::with(std::slice::from_ref(&name), 9000 * DAY);
        assert_eq!(directory.swept(), [name.as_str()], "its content's time is the sender's");
        let root = File::open(directory.0.path()).unwrap();
        rustix::fs::flock(&root, FlockOperation::LockExclusive).unwrap();
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(directory.swept_at(user, SystemTime::now() + 2 * DAY).len(), 1);
        drop(root);
        assert_eq!(directory.swept_at(user, SystemTime::now() + 2 * DAY), [""; 0]);
    }

    #[test]
    fn of_a_huge_directory_only_the_beginning_is_read() {
        let names: Vec<String> =
            (0..MAX_ENTRIES + 100).map(|n| format!(".lariat-{n:032x}.part")).collect();
        let left = Dir::with(&names, 30 * DAY).swept();
        assert!((100..=102).contains(&left.len()), "{}", left.len());
    }
}
