//! `lariatd`.

use std::process::ExitCode;

use lariat_agent::jobs::supervise;

fn main() -> ExitCode {
    // Before anything else is made: a supervisor is nothing but its loop.
    if std::env::args_os().nth(1).is_some_and(|first| first == supervise::SUBCOMMAND) {
        return supervise::main();
    }
    ExitCode::SUCCESS
}
