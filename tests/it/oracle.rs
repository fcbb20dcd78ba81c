//! A few random trees against rsync; `soak` has as many as one likes.

use lariat_testing::oracle::{self, Oracle};

/// Rounds that are played each time, disturbances of each kind among them.
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
