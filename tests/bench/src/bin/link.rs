//! A link by hand: two network namespaces, joined by a link with a delay, loss and a rate.
//!
//! It prints how to run commands at either end, and keeps the link until its input ends.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people who test")]

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lariat_testing::network::{Conditions, FAR, NEAR, Network};

/// Joins two network namespaces by a link, until its input ends (Ctrl-D).
#[derive(Debug, Parser)]
#[command(name = "link")]
struct Options {
    /// Round-trip time, in milliseconds.
    #[arg(long, default_value_t = 100)]
    millis: u32,

    /// Packets of a million that are lost.
    #[arg(long, default_value_t = 0)]
    loss: u32,

    /// Mbit/s in each direction.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

fn main() -> ExitCode {
    let Options { millis, loss, rate } = Options::parse();
    let delay = Duration::from_millis(millis.into()) / 2;
    let network = match Network::new(Conditions::new(delay, loss, u64::from(rate) * 1_000_000)) {
        Ok(network) => network,
        Err(why) => {
            eprintln!("link: {why}");
            return ExitCode::FAILURE;
        }
    };
    for (address, namespace) in [(NEAR, &network.near), (FAR, &network.far)] {
        println!("{address}: nsenter --net={}", namespace.path().display());
    }
    // Whatever is read, or goes wrong, the link ends.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
