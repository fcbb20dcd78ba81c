//! A few random trees against rsync; `soak` runs any number.

use lariat_testing::oracle::{self, Oracle};

/// The rounds that always run; they contain disturbances of each kind.
const SEEDS: std::ops::Range<u64> = 1..9;

#[test]
fn random_trees_are_as_rsync_makes_them() {
    if !oracle::is_possible() {
        eprintln!("skipped: rsync is not here, or not root");
        return;
    }
    let mut oracle = Oracle::new();
    for seed in SEEDS {
        oracle.round(seed).unwrap();
    }
}
