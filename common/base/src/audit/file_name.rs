//! The names of an audit's files.

use std::fmt;
use std::str::FromStr;

/// A file's name: the number of its first line in 12 digits, then `.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(pub u64);

/// What follows the number.
const SUFFIX: &str = ".jsonl";

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}{SUFFIX}", self.0)
    }
}

impl FromStr for FileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_suffix(SUFFIX).ok_or(())?;
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if is_number { digits.parse().map_err(|_| ())? } else { return Err(()) };
        // There is always a next number.
        let name = Self(Some(number).filter(|&number| number < u64::MAX).ok_or(())?);
        // One name for each number.
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        assert_eq!("000000000170.jsonl".parse(), Ok(FileName(170)));
        assert_eq!(
            FileName(1_234_567_890_123).to_string().parse(),
            Ok(FileName(1_234_567_890_123))
        );
        for bad in [
            "170.jsonl",
            "0000000000170.jsonl",
            "+00000000170.jsonl",
            "000000000170.json",
            ".jsonl",
            "18446744073709551615.jsonl",
        ] {
            assert_eq!(bad.parse::<FileName>(), Err(()), "{bad}");
        }
    }
}
