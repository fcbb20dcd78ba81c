//! Many agents in one process: a crowd to try a fan-out on.
//!
//! Reads a line for each from stdin, `ADDR:PORT CONFIG`, and runs until a signal ends it. What it logs is
//! what `lariatd` logs. Started again by one of its agents it is that agent's supervisor, as `lariatd` is.

#![allow(clippy::print_stderr, reason = "a program for tests: what is wrong goes to stderr")]

use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use lariat_agent::jobs::supervise::SUBCOMMAND;
use lariat_agent::{log, start};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == SUBCOMMAND) {
        return lariat_agent::main();
    }
    log::start();
    let agents: Vec<(SocketAddr, PathBuf)> = stdin()
        .lock()
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| {
            let (address, config) = line.split_once(' ')?;
            Some((address.parse().ok()?, config.into()))
        })
        .collect();
    let threads: Vec<_> = agents
        .into_iter()
        .map(|(address, config)| {
            thread::spawn(move || {
                start::run(&config, Some(address))
                    .inspect_err(|error| eprintln!("agents: {}: {error}", config.display()))
                    .is_ok()
            })
        })
        .collect();
    let ok = threads.into_iter().all(|thread| thread.join().is_ok_and(|ok| ok));
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
