//! Sums of bytes on their way: XXH3-128 under a transfer's seed.

use lariat_wire::protocol::transfer::Sum;
use twox_hash::xxhash3_128::Hasher;

/// The sum of these bytes.
pub fn sum(seed: u64, bytes: &[u8]) -> Sum {
    Hasher::oneshot_with_seed(seed, bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_its_bytes_and_its_seed() {
        let empty = sum(0, b"");
        assert_eq!(hex::encode(empty), "7f498d4624c30160d8984701d306aa99");
        assert_ne!(sum(1, b"abc"), sum(2, b"abc"));
        assert_ne!(sum(1, b"abc"), sum(1, b"abd"));
    }
}
