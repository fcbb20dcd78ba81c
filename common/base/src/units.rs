//! Durations, rates and sizes as people write them.

use std::time::Duration;

/// A text is not a duration, rate or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// See [`parse_duration`].
    #[error("{0:?} is not a duration such as 500ms, 1s, 5m, 2h or 30d, or 30 for seconds")]
    Duration(String),
    /// See [`parse_rate`].
    #[error("{0:?} is not a rate in bytes a second such as 500K, 10M or 1G")]
    Rate(String),
    /// See [`parse_size`].
    #[error("{0:?} is not a size in bytes such as 500K, 10M or 1G")]
    Size(String),
}

/// Parses `500ms`, `1s`, `5m`, `2h`, `1d` or bare seconds; a fraction such as `1.5s` is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, BadUnit> {
    let bad = || BadUnit::Duration(text.to_owned());
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(bad()),
    };
    let number = plain_number(number).ok_or_else(bad)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())
}

/// Parses a rate in bytes per second, with an optional K, M or G (powers of 1024). 0 is an error.
pub fn parse_rate(text: &str) -> Result<u64, BadUnit> {
    bytes(text).ok_or_else(|| BadUnit::Rate(text.to_owned()))
}

/// Parses a number of bytes, with an optional K, M or G (powers of 1024). 0 is an error.
pub fn parse_size(text: &str) -> Result<u64, BadUnit> {
    bytes(text).ok_or_else(|| BadUnit::Size(text.to_owned()))
}

fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" => 1.0,
        "K" => 1024.0,
        "M" => 1024.0 * 1024.0,
        "G" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = plain_number(number)? * factor;
    // Above 2^53 a float is not exact; no network is that fast, and no disk that large.
    if !(1.0..9e15).contains(&bytes) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Some(bytes as u64)
}

/// Digits with at most one point: no sign, exponent, `inf` or `nan`.
fn plain_number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_of_the_contract() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "s", "-1", "1x", "1e3", "nan", "1 s", "99999999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_of_the_contract() {
        assert_eq!(parse_rate("100"), Ok(100));
        assert_eq!(parse_rate("10M"), Ok(10 * 1024 * 1024));
        assert_eq!(parse_rate("1.5k"), Ok(1536));
        for bad in ["", "0", "M", "-1", "1T", "inf"] {
            assert!(parse_rate(bad).is_err() && parse_size(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
            let _ = parse_rate(&text);
        }
    }
}
