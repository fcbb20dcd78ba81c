//! How hosts are: asks their agents, and puts the answer into words or an object.

mod object;
mod text;

use std::time::{Duration, SystemTime};

use lariat_base::clock::milliseconds;
use lariat_wire::grown::Grown;
use lariat_wire::protocol::status::{Disk, HostStatus, Report, Status};

pub use object::{CountsObject, NoteObject, StatusObject};
pub use text::describe;

use crate::broken::Broken;
use crate::connect::Session;
use crate::host::HostHandle;
use crate::retry::AskError;

/// Clocks that are no further apart than this, in seconds, are as good as equal.
const APART: f64 = 0.5;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// How a host is, as a client sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// What its agent says.
    pub report: Report,
    /// How far its clock is ahead of this machine's, in seconds. Half a round trip may be wrong about it.
    pub clock_skew: f64,
}

impl HostHandle {
    /// Asks the host how it is.
    pub async fn status(&self) -> Result<Measured, AskError> {
        let (session, measured) = self.begin_status().await?;
        session.leave().await;
        Ok(measured)
    }

    /// Asks the host how it is, and keeps the connection.
    pub async fn begin_status(&self) -> Result<(Session, Measured), AskError> {
        self.ask(&Status, measured).await
    }

    /// Asks once more, over a connection that is idle. The caller limits the time.
    pub async fn status_again(&self, session: &mut Session) -> Result<Measured, AskError> {
        let asked = async {
            session.link.outbox().begin(&Status)?;
            measured(session).await
        };
        asked.await.map_err(|broken| self.broken(broken))
    }
}

/// Reads the answer.
async fn measured(session: &mut Session) -> Result<Measured, Broken> {
    let HostStatus { report: Grown(report) } = session.answer().await?;
    let clock_skew = skew(report.time_ms, SystemTime::now(), session.round_trip);
    Ok(Measured { report, clock_skew })
}

/// How far a clock is ahead that showed `there` half a round trip before `now`.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a few thousand years are exact")]
fn skew(there: u64, now: SystemTime, round_trip: Duration) -> f64 {
    let here = milliseconds(now.checked_sub(round_trip / 2).unwrap_or(now));
    (there as f64 - here as f64) / 1000.0
}

/// The whole days that are left to the host's certificate.
pub fn certificate_days(report: &Report) -> i64 {
    let now = i64::try_from(report.time_ms / 1000).unwrap_or(i64::MAX);
    report.certificate_end.saturating_sub(now).div_euclid(DAY)
}

/// Whether a clock is so far from another that it is worth a word.
pub fn is_apart(clock_skew: f64) -> bool {
    clock_skew.abs() > APART
}

/// The part of a disk that is used, in percent; `None` if it did not answer.
pub fn used(disk: &Disk) -> Option<u8> {
    let percent = |free: u64, all: u64| {
        let used = u128::from(all.saturating_sub(free));
        u8::try_from((used * 100).checked_div(u128::from(all)).unwrap_or_default()).ok()
    };
    // A disk without room for another file is full, too.
    let (bytes, files) = (percent(disk.free, disk.size)?, percent(disk.files_free, disk.files)?);
    (!disk.is_silent).then_some(bytes.max(files))
}

/// The fullest disk, or one that did not answer.
pub fn fullest(report: &Report) -> Option<&Disk> {
    let disks = report.disks.iter().map(|Grown(disk)| disk);
    disks.max_by_key(|disk| used(disk).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole milliseconds")]
    fn half_a_round_trip_belongs_to_the_way() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(skew(10_000, at(10_050), Duration::from_millis(100)), 0.0);
        assert_eq!(skew(12_000, at(10_000), Duration::ZERO), 2.0);
        assert_eq!(skew(8_500, at(10_000), Duration::ZERO), -1.5);
        assert_eq!(skew(0, at(10), Duration::MAX), 0.0, "no time is before 1970");
    }

    #[test]
    fn a_certificate_that_ended_today_has_less_than_no_day() {
        let days = |end| {
            certificate_days(&Report {
                time_ms: 1000 * 86_400_000,
                certificate_end: end,
                ..Report::default()
            })
        };
        let now = 1000 * 86_400;
        assert_eq!([now + 86_400, now + 86_399, now, now - 1].map(days), [1, 0, 0, -1]);
        assert!(days(i64::MIN) < 0 && days(i64::MAX) > 0);
    }

    #[test]
    fn a_disk_is_as_full_as_its_bytes_or_its_files_are() {
        let disk = |size, free, files, files_free| Disk {
            size,
            free,
            files,
            files_free,
            ..Disk::default()
        };
        assert_eq!(used(&disk(200, 50, 0, 0)), Some(75));
        assert_eq!(used(&disk(200, 50, 100, 1)), Some(99));
        assert_eq!(used(&disk(u64::MAX, 0, 0, 0)), Some(100));
        assert_eq!(used(&disk(0, 7, 0, 0)), Some(0));
        let silent = Disk { is_silent: true, ..Disk::default() };
        assert_eq!(used(&silent), None);
        let disks = vec![Grown(disk(100, 1, 0, 0)), Grown(silent.clone()), Grown(disk(9, 9, 0, 0))];
        let report = Report { disks, ..Report::default() };
        assert_eq!(fullest(&report), Some(&silent));
    }
}
