//! Clock times for people, in UTC.

use lariat_base::date;

/// A time in seconds since 1970: `20:15:56Z` if it is on the day of `now`, else `2026-11-26 20:15Z`.
pub(crate) fn clock(at: u64, now: u64) -> String {
    const DAY: usize = "2026-11-26".len();
    const MINUTE: usize = "2026-11-26T20:15".len();
    let (Some(at), Some(now)) = (date::format(at), date::format(now)) else { return "?".into() };
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
    fn a_time_of_another_day_has_its_date() {
        let now = 1_795_810_556;
        assert_eq!(clock(now, now + 3), "20:15:56Z");
        assert_eq!(clock(now - 86_400, now), "2026-11-26 20:15Z");
        assert_eq!(clock(u64::MAX, now), "?");
    }
}
