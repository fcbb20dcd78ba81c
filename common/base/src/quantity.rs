//! Bytes, rates and times for people.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// How far: `4.1/10.0 GiB`, both in the unit of the total. Only `there` if the total is not known.
pub fn bytes(there: u64, total: u64) -> String {
    let unit = unit(total.max(there));
    let there_text = in_unit(there, unit);
    if total < there || total == 0 {
        return format!("{there_text} {}", UNITS[unit]);
    }
    format!("{there_text}/{} {}", in_unit(total, unit), UNITS[unit])
}

/// `312 MiB/s`
pub fn rate(per_second: u64) -> String {
    let unit = unit(per_second);
    format!("{} {}/s", in_unit(per_second, unit), UNITS[unit])
}

/// The percentage, rounded down; `None` if the total is not known.
pub fn percent(there: u64, total: u64) -> Option<u8> {
    if total == 0 || there > total {
        return None;
    }
    u8::try_from(u128::from(there) * 100 / u128::from(total)).ok()
}

/// A duration in its two largest units: `19s`, `3m05s`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// The index of the largest unit of which it is at least one.
fn unit(bytes: u64) -> usize {
    usize::try_from(bytes.checked_ilog2().unwrap_or_default() / 10).unwrap_or_default()
}

/// With a decimal, except of bytes and of three digits or more.
fn in_unit(bytes: u64, unit: usize) -> String {
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    if unit == 0 || tenths >= 1000 {
        return (tenths / 10).to_string();
    }
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        const MIB: u64 = 1 << 20;
        assert_eq!(bytes(0, 0), "0 B");
        assert_eq!(bytes(512, 1023), "512/1023 B");
        assert_eq!(bytes(4200 * MIB, 10 << 30), "4.1/10.0 GiB");
        assert_eq!(bytes(128 * MIB, 256 * MIB), "128/256 MiB");
        assert_eq!(bytes(12 * MIB, 256 * MIB), "12.0/256 MiB");
        assert_eq!(bytes(3 * MIB, MIB), "3.0 MiB");
        assert_eq!(bytes(u64::MAX, u64::MAX), "15.9/15.9 EiB");
        assert_eq!((rate(0), rate(312 * MIB + 5)), ("0 B/s".into(), "312 MiB/s".into()));
        assert_eq!(rate(5 * MIB / 2), "2.5 MiB/s");
        let percents = [percent(1, 0), percent(2, 1), percent(999, 1000), percent(7, 7)];
        assert_eq!(percents, [None, None, Some(99), Some(100)]);
        assert_eq!(percent(u64::MAX, u64::MAX), Some(100));
        let spans = [19, 185, 7800, 90_061].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["19s", "3m05s", "2h10m", "1d01h"]);
    }
}
