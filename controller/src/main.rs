//! The `lariat` command. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lariat_controller::main()
}
