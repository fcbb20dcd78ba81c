//! Dates as people write them, in seconds since 1970.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::units::parse_duration;

/// A text is neither a date nor a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a date such as 2027-01-31 or 2027-01-31T12:00:00Z, nor a duration such as 30d"
)]
pub struct BadDate(String);

/// Parses a date with its UTC offset (RFC 3339), or a day, which counts to its end in UTC.
pub fn parse(text: &str) -> Result<u64, BadDate> {
    moment(text, "23:59:59")
}

/// Parses a date with its UTC offset (RFC 3339), or a day, which counts from its beginning in UTC.
pub fn parse_start(text: &str) -> Result<u64, BadDate> {
    moment(text, "00:00:00")
}

/// Parses a date, or this time of a day.
fn moment(text: &str, time: &str) -> Result<u64, BadDate> {
    let bad = || BadDate(text.to_owned());
    let is_day = text.len() == "2027-01-31".len();
    let of_day = format!("{text}T{time}Z");
    let date = OffsetDateTime::parse(if is_day { &of_day } else { text }, &Rfc3339);
    u64::try_from(date.map_err(|_| bad())?.unix_timestamp()).map_err(|_| bad())
}

/// Parses a date, or a duration from `now` on.
pub fn parse_end(text: &str, now: u64) -> Result<u64, BadDate> {
    match parse_duration(text) {
        Ok(duration) => now.checked_add(duration.as_secs()).ok_or_else(|| BadDate(text.to_owned())),
        Err(_) => parse(text),
    }
}

/// The date in RFC 3339, in UTC; `None` past the year 9999.
pub fn format(seconds: u64) -> Option<String> {
    let date = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    date.format(&Rfc3339).ok()
}

/// A time in seconds since 1970: `20:15:56Z` if it is on the day of `now`, else `2026-11-26 20:15Z`.
pub fn clock(at: u64, now: u64) -> String {
    const DAY: usize = "2026-11-26".len();
    const MINUTE: usize = "2026-11-26T20:15".len();
    let (Some(at), Some(now)) = (format(at), format(now)) else { return "?".into() };
    if at[..DAY] == now[..DAY] {
        at[DAY + 1..].to_owned()
    } else {
        format!("{} {}Z", &at[..DAY], &at[DAY + 1..MINUTE])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end_and_a_duration_from_now() {
        assert_eq!(parse("1970-01-02"), Ok(2 * 86400 - 1));
        assert_eq!(parse_start("1970-01-02"), Ok(86400));
        assert_eq!(parse_start("1970-01-01T02:00:00+01:00"), Ok(3600));
        assert_eq!(parse("1970-01-01T02:00:00+01:00"), Ok(3600));
        assert_eq!(parse_end("30d", 5), Ok(30 * 86400 + 5));
        assert_eq!(parse_end("2030-03-17T17:46:40Z", 5), Ok(1_900_000_000));
        for bad in ["", "soon", "1969-12-31", "2027-02-30", "2027-01-31T12:00:00", "2027-1-1"] {
            assert!(parse_end(bad, 0).is_err(), "{bad}");
        }
        assert!(parse_end("30d", u64::MAX).is_err());
    }

    #[test]
    fn a_date_is_written_as_it_is_read() {
        assert_eq!(format(1_900_000_000).as_deref(), Some("2030-03-17T17:46:40Z"));
        assert_eq!(parse(&format(1_900_000_000).unwrap()), Ok(1_900_000_000));
        assert_eq!(format(u64::MAX), None);
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let now = 1_795_810_556;
        assert_eq!(clock(now, now + 3), "20:15:56Z");
        assert_eq!(clock(now - 86_400, now), "2026-11-26 20:15Z");
        assert_eq!(clock(u64::MAX, now), "?");
    }
}
