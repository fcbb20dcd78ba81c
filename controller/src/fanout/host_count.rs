//! So many hosts, or so many in a hundred of them: `5`, `20%`.

use std::str::FromStr;

/// A number of hosts, or a part of them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCount {
    /// This many.
    Count(usize),
    /// This many in a hundred, at most 100.
    Percent(u8),
}

/// A text is no [`HostCount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number of hosts such as 5 or 20%")]
pub(crate) struct BadHostCount(String);

impl HostCount {
    /// How many of `all` it is, a part of one host counting as one.
    pub(super) fn up(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent.into()).div_ceil(100),
        }
    }

    /// How many of `all` it is, a part of one host counting for nothing.
    pub(super) fn down(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent.into()) / 100,
        }
    }

    /// Whether it is 0 of any number.
    pub(crate) fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }
}

impl FromStr for HostCount {
    type Err = BadHostCount;

    fn from_str(text: &str) -> Result<Self, BadHostCount> {
        let bad = || BadHostCount(text.to_owned());
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        match text.strip_suffix('%') {
            Some(percent) if digits(percent) => {
                let percent = percent.parse().ok().filter(|&percent| percent <= 100);
                percent.map(Self::Percent).ok_or_else(bad)
            }
            None if digits(text) => text.parse().map(Self::Count).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_part_of_all() {
        let of =
            |text: &str, all| text.parse().map(|share: HostCount| (share.up(all), share.down(all)));
        assert_eq!(of("5", 40), Ok((5, 5)));
        assert_eq!(of("25%", 40), Ok((10, 10)));
        assert_eq!(of("10%", 25), Ok((3, 2)));
        assert_eq!(of("0%", 25), Ok((0, 0)));
        assert_eq!(of("100%", usize::MAX).map(|(up, _)| up > 0), Ok(true));
        for bad in ["", "%", "101%", "-1", "+1", "1.5", "5 %", "99999999999999999999"] {
            assert_eq!(bad.parse::<HostCount>(), Err(BadHostCount(bad.to_owned())), "{bad}");
        }
    }
}
