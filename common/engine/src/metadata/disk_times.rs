//! How a file system stores a time: some have no fractions of a second, or no times before 1901 or after 2446.
//!
//! A file that gets such a time reads back another one, and would be sent again on each run. Linux has no call
//! for what a file system can store, so the time is set on a nameless file and read back.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Mutex;

use lariat_base::lock::lock;
use rustix::fs::{Mode, OFlags, fstat};

use super::attributes::{mtime, timestamps};
use lariat_wire::protocol::metadata::Time;

/// Seconds that every file system can store: after 1980 (FAT) and before 2038 (32 bits).
const ALWAYS_HELD: std::ops::Range<i64> = 315_619_200..2_147_397_248;

/// A nameless file on each file system, by device.
#[derive(Default)]
pub(crate) struct DiskTimes(Mutex<Vec<(u64, Option<File>)>>);

impl DiskTimes {
    /// Returns `there`, the time of an existing name, if the file system of `directory` stores `wanted` as `there`.
    /// Otherwise returns `wanted`.
    pub(crate) fn as_stored(&self, directory: impl AsFd, wanted: Time, there: Time) -> Time {
        let stored = may_stand_for(there, wanted) && self.stored(directory, wanted) == Some(there);
        if stored { there } else { wanted }
    }

    fn stored(&self, directory: impl AsFd, wanted: Time) -> Option<Time> {
        let device = fstat(&directory).ok()?.st_dev;
        let mut probes = lock(&self.0);
        let place = probes.iter().position(|(known, _)| *known == device).unwrap_or_else(|| {
            probes.push((device, nameless(&directory)));
            probes.len() - 1
        });
        let probe = probes[place].1.as_ref()?;
        rustix::fs::futimens(probe, &timestamps(wanted)).ok()?;
        fstat(probe).ok().map(|stat| mtime(&stat))
    }
}

/// Whether a file system could store `wanted` as `there`: a fraction is lost, or not every file system can
/// store the time.
fn may_stand_for(there: Time, wanted: Time) -> bool {
    // FAT has steps of two seconds.
    let steps = matches!(wanted.secs.checked_sub(there.secs), Some(0 | 1));
    // No file system has steps between one nanosecond and 100.
    let rounded = steps
        && there.nanos.is_multiple_of(100)
        && (there.secs, there.nanos) < (wanted.secs, wanted.nanos);
    there != wanted && (rounded || !ALWAYS_HELD.contains(&wanted.secs))
}

fn nameless(directory: impl AsFd) -> Option<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::openat(directory, ".", flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64, nanos: u32) -> Time {
        Time { secs, nanos }
    }

    #[test]
    fn only_what_a_disk_could_make_of_a_time_is_tried() {
        let tried = |there: (i64, u32), wanted: (i64, u32)| {
            may_stand_for(time(there.0, there.1), time(wanted.0, wanted.1))
        };
        assert!(tried((1_000_000_000, 0), (1_000_000_000, 5)));
        assert!(tried((1_000_000_000, 0), (1_000_000_001, 5)));
        assert!(tried((1_000_000_000, 100), (1_000_000_000, 199)));
        assert!(tried((15_032_385_535, 0), (16_725_225_600, 0)));
        assert!(tried((-2_147_483_648, 0), (-5_364_662_400, 0)));
        for (there, wanted) in [
            ((1_000_000_000, 7), (1_000_000_000, 7)),
            ((1_000_000_000, 7), (1_000_000_000, 8)),
            ((1_000_000_001, 0), (1_000_000_000, 5)),
            ((1_000_000_000, 0), (1_000_000_002, 0)),
            ((999_999_999, 0), (i64::MIN, 0)),
        ] {
            assert_eq!(tried(there, wanted), wanted.0 == i64::MIN, "{there:?} {wanted:?}");
        }
    }

    #[test]
    fn a_time_that_the_disk_can_t_hold_is_the_one_that_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let dir = File::open(directory.path()).unwrap();
        let file = File::create(directory.path().join("file")).unwrap();
        let times = DiskTimes::default();
        for wanted in [time(16_725_225_600, 5), time(i64::MAX, 0), time(i64::MIN, 9), time(5, 7)] {
            rustix::fs::futimens(&file, &timestamps(wanted)).unwrap();
            let there = mtime(&fstat(&file).unwrap());
            let can_ask = nameless(&dir).is_some();
            assert_eq!(times.as_stored(&dir, wanted, there), if can_ask { there } else { wanted });
            let other = time(there.secs.wrapping_add(86_400), 0);
            assert_eq!(
                times.as_stored(&dir, wanted, other),
                wanted,
                "another time is another time"
            );
        }
    }
}
