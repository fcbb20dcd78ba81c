//! Bytes for people, in full.

use std::fmt::{self, Display, Formatter};

use indicatif::BinaryBytes;

/// A number of bytes: `256.00 MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        BinaryBytes(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_decimals() {
        let of = |bytes| Bytes(bytes).to_string();
        assert_eq!([of(0), of(1023), of(1024)], ["0 B", "1023 B", "1.00 KiB"]);
        assert_eq!([of((3 << 20) + 5300), of(u64::MAX)], ["3.01 MiB", "16.00 EiB"]);
    }
}
