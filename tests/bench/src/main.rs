//! The benchmark: lariat beside the tools that it replaces, on this machine, in turn.
//!
//! ```text
//! cargo run --release -p lariat-bench -- [CASE...] [--rounds N] [--out docs/benchmarks.md]
//! ```
//!
//! Each case runs its contenders one after the other, round after round (A B C, C B A, ...), so that
//! other load on the machine affects all of them; only figures of one round are compared. The
//! benchmark starts its own servers, on loopback, on ports that the system picks; files are on a tmpfs.
//! The clock runs from the start of the client's process to its end. Between rounds the destinations
//! are removed, while sources stay in memory; each contender's first copy is compared with its source,
//! outside the clock.
//!
//! Everything lives in one directory and one process group, which are removed however the benchmark
//! ends: see [`guard`]. To add a case, write a file in `cases` and add it to the list there.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people: tables on stdout, progress on stderr"
)]

mod bar;
mod cases;
mod guard;
mod machine;
mod measure;
mod options;
mod process;
mod report;
mod rounds;
mod sampler;
mod stage;
mod stats;
mod table;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use machine::Machine;
use options::Options;
use stage::Stage;

fn main() -> ExitCode {
    let options = Options::parse();
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build, whose figures mean nothing: use cargo run --release");
    }
    if options.list {
        cases::ALL.iter().for_each(|case| println!("{:10} {}", case.name, case.about));
        return ExitCode::SUCCESS;
    }
    let cases = match cases::chosen(&options.cases) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::from(2);
        }
    };
    let stage = Stage::new(options);
    let machine = Machine::look(&stage.tools);
    println!("{}\n", machine.text());
    let mut tables = Vec::new();
    for case in cases {
        let table = (case.run)(&stage);
        println!("{}", report::text(&table));
        tables.push(table);
    }
    println!("{}", report::noise(&tables));
    let Some(out) = &stage.options.out else { return ExitCode::SUCCESS };
    match report::write(out, &machine, &tables, &stage.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: write {}: {error}", out.display());
            ExitCode::FAILURE
        }
    }
}
