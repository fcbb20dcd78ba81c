//! Soak test, run by hand: `soak [SEED [ROUNDS]]` copies random trees with lariat and with rsync, and
//! compares.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people who test")]

use std::process::ExitCode;

use lariat_testing::binaries;
use lariat_testing::oracle::{self, Oracle};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Ok(seed), Ok(rounds)) = (words.next().unwrap_or(Ok(1)), words.next().unwrap_or(Ok(300)))
    else {
        eprintln!("usage: soak [SEED [ROUNDS]]");
        return ExitCode::from(2);
    };
    if !oracle::is_possible() {
        eprintln!("rsync is needed, and root");
        return ExitCode::from(2);
    }
    binaries::build();
    let mut oracle = Oracle::new();
    let mut failed = 0;
    for seed in seed..seed + rounds {
        if let Err(why) = oracle.round(seed) {
            println!("{why}\n");
            failed += 1;
        }
    }
    println!("{rounds} rounds, {failed} failed");
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    oracle.keep();
    ExitCode::FAILURE
}
