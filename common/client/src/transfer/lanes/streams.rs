//! How many connections a transfer may use.

use std::str::FromStr;

use lariat_wire::protocol::transfer::MAX_STREAMS;

/// How many connections a transfer uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// As many as raise the rate of a large file, one on a loopback address.
    #[default]
    Auto,
    /// This many, the first included.
    Exactly(u8),
}

/// A text that is no number of connections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither auto nor a number from 1 to {MAX_STREAMS}")]
pub struct BadStreams(String);

impl Streams {
    /// One connection and no more.
    pub const ONE: Self = Self::Exactly(1);
}

impl FromStr for Streams {
    type Err = BadStreams;

    fn from_str(text: &str) -> Result<Self, BadStreams> {
        let number = text.parse().ok().filter(|number| (1..=MAX_STREAMS).contains(number));
        match number {
            Some(number) => Ok(Self::Exactly(number)),
            None if text == "auto" => Ok(Self::Auto),
            None => Err(BadStreams(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_eight_or_auto() {
        assert_eq!(("auto".parse(), "8".parse()), (Ok(Streams::Auto), Ok(Streams::Exactly(8))));
        for bad in ["0", "9", "-1", "", "Auto", "1.5", "256"] {
            assert!(bad.parse::<Streams>().is_err(), "{bad}");
        }
    }
}
