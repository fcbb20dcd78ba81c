//! The agent's binary: see [`lariat_agent::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lariat_agent::main()
}
