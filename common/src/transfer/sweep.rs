//! Removes partials that nobody came back for, so that a folder does not fill with what was given up.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};

use super::destination::Place;
use super::own;

/// How long a partial is kept after the last byte was written to it.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Entries of a folder that are looked at: in a larger one what lies behind them stays, for a transfer
/// must not wait for a folder to be read that has millions.
const MOST_ENTRIES: usize = 1000;

/// Length of what is between a partial's prefix and its ending, in letters.
const HASH_LEN: usize = 32;

const PART: &str = ".part";
const JOURNAL: &str = ".journal";

/// Removes what `user` left in this folder and nobody came back for. What can't be removed is in
/// nobody's way.
pub(super) fn sweep(place: &Place, user: u32, now: SystemTime) {
    let Ok(entries) = Dir::read_from(&place.folder) else { return };
    for entry in entries.take(MOST_ENTRIES).map_while(Result::ok) {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if let Some(stem) = stem(name, PART) {
            sweep_partial(place, name, &format!("{stem}{JOURNAL}"), user, now);
        } else if let Some(stem) = stem(name, JOURNAL) {
            sweep_journal(place, name, &format!("{stem}{PART}"), user, now);
        }
    }
}

/// Whether a name is one of a partial or its journal, which no tree copies or removes.
pub(super) fn is_own(name: &[u8]) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    stem(name, PART).or_else(|| stem(name, JOURNAL)).is_some()
}

/// The name without its ending, if it is one that a partial has.
fn stem<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let stem = name.strip_suffix(ending)?;
    let hash = stem.strip_prefix(".lariat-")?;
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (hash.len() == HASH_LEN && hash.bytes().all(hex)).then_some(stem)
}

/// One that is locked is in use, however old it is.
fn sweep_partial(place: &Place, name: &str, journal: &str, user: u32, now: SystemTime) {
    let Some(file) = open(place, name) else { return };
    if !is_forgotten(&file, user, now)
        || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return;
    }
    // It may have been taken up, or got its name, before it was locked here.
    if own::is_at(place, name, &file).is_ok_and(|same| same) && is_forgotten(&file, user, now) {
        own::remove(place, journal);
        own::remove(place, name);
    }
}

/// One whose partial is there goes with it.
fn sweep_journal(place: &Place, name: &str, part: &str, user: u32, now: SystemTime) {
    let part = rustix::fs::statat(&place.folder, part, AtFlags::SYMLINK_NOFOLLOW);
    let alone = part.err() == Some(rustix::io::Errno::NOENT);
    if alone && open(place, name).is_some_and(|file| is_forgotten(&file, user, now)) {
        own::remove(place, name);
    }
}

fn open(place: &Place, name: &str) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(&place.folder, name, flags, Mode::empty()).ok().map(File::from)
}

fn is_forgotten(file: &File, user: u32, now: SystemTime) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    // Root's may have been given away just before they would have got their names.
    let owned = metadata.uid() == user || user == 0;
    let ours = metadata.is_file() && owned && metadata.nlink() == 1;
    // A time in the future is not old.
    let age = metadata.modified().ok().and_then(|time| now.duration_since(time).ok());
    ours && age.is_some_and(|age| age > KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::transfer::Destination;

    const A: &str = ".lariat-0123456789abcdef0123456789abcdef";
    const B: &str = ".lariat-ffffffffffffffffffffffffffffffff";
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(names: &[String], age: Duration) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            names.iter().for_each(|name| folder.make(name, age));
            folder
        }

        fn make(&self, name: &str, age: Duration) {
            let file = File::create(self.0.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }

        /// Sweeps as `user`, and tells what is left.
        fn swept_by(&self, user: u32) -> Vec<String> {
            let dest = Destination { path: b"dest".to_vec(), name: b"source".to_vec() };
            let place = Place::resolve(self.0.path(), &dest).unwrap();
            sweep(&place, user, SystemTime::now());
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
        assert_eq!(Folder::with(&files(), 8 * DAY).swept(), [""; 0]);
        assert_eq!(Folder::with(&files(), 6 * DAY).swept(), files());
        let tomorrow = Folder::with(&files(), Duration::ZERO);
        let file = File::options().write(true).open(tomorrow.0.path().join(&files()[1])).unwrap();
        file.set_modified(SystemTime::now() + 30 * DAY).unwrap();
        assert_eq!(tomorrow.swept(), files());
    }

    #[test]
    fn a_journal_is_as_old_as_its_partial() {
        let folder = Folder::with(&[format!("{A}.part")], DAY);
        folder.make(&format!("{A}.journal"), 30 * DAY);
        folder.make(&format!("{B}.journal"), 30 * DAY);
        assert_eq!(folder.swept(), files()[..2]);
        let folder = Folder::with(&[format!("{A}.part")], 8 * DAY);
        folder.make(&format!("{A}.journal"), DAY);
        assert_eq!(folder.swept(), [""; 0]);
    }

    #[test]
    fn what_is_in_use_or_another_s_stays() {
        let folder = Folder::with(&files(), 8 * DAY);
        let held = File::open(folder.0.path().join(&files()[1])).unwrap();
        rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
        assert_eq!(folder.swept(), files()[..2]);
        let other = rustix::process::geteuid().as_raw() + 1;
        assert_eq!(Folder::with(&files(), 8 * DAY).swept_by(other), files());
        let folder = Folder::with(&files(), 8 * DAY);
        let linked = folder.0.path().join("a-name-of-its-own");
        std::fs::hard_link(folder.0.path().join(&files()[1]), linked).unwrap();
        assert_eq!(folder.swept().len(), 3);
    }

    #[test]
    fn other_names_are_left_alone() {
        let mut names: Vec<String> = [
            "file.part",
            ".lariat-.part",
            ".lariat-0123456789abcdef0123456789abcde.part",
            ".lariat-0123456789ABCDEF0123456789abcdef.part",
            ".lariat-0123456789abcdef0123456789abcdef.part~",
            ".lariat-0123456789abcdef0123456789abcdef",
        ]
        .map(str::to_owned)
        .to_vec();
        names.sort();
        let folder = Folder::with(&names, 30 * DAY);
        assert_eq!(folder.swept(), names);
    }

    #[test]
    fn of_a_huge_folder_only_the_beginning_is_read() {
        let names: Vec<String> =
            (0..MOST_ENTRIES + 100).map(|n| format!(".lariat-{n:032x}.part")).collect();
        let left = Folder::with(&names, 30 * DAY).swept();
        assert!((100..=102).contains(&left.len()), "{}", left.len());
    }
}
