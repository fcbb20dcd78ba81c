//! The agent's command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lariat_base::escape::escape;

use crate::check::{self, EXIT_CONFIG};
use crate::jobs::supervise;
use crate::start::{self, StartError};
use crate::{config, log, worker};

/// The agent of lariat: runs commands and moves files on this host for its fleet's controllers
#[derive(Debug, Parser)]
#[command(name = "lariatd", version, about)]
struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH, global = true)]
    config: PathBuf,
    /// Listen here, whatever the configuration says; port 0 picks one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check configuration, certificate and keyring, and say what is wrong
    Check,
}

/// The agent's `main`.
pub fn main() -> ExitCode {
    // Otherwise a file beyond the limit ends the process with SIGXFSZ; the agent can work all the same.
    let _ = lariat_engine::file_size_limit::report_as_error();
    // Before anything else: a supervisor runs only its loop, and a worker drops its privileges first.
    match std::env::args_os().nth(1) {
        Some(first) if first == supervise::SUBCOMMAND => return supervise::main(),
        Some(first) if first == worker::SUBCOMMAND => {
            return worker::main(std::env::args_os().skip(2));
        }
        _ => {}
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            let _ = writeln!(io::stderr(), "lariatd: {}", one_line(&error));
            // As with a wrong configuration, a restart does not help.
            return EXIT_CONFIG.into();
        }
    };
    match args.command {
        Some(Command::Check) => check::run(&args.config, &mut io::stdout(), &mut io::stderr())
            .unwrap_or(ExitCode::FAILURE),
        None => run(&args),
    }
}

/// clap's first line says what is wrong; the rest is advice.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    escape(line.trim_start_matches("error: ").as_bytes())
}

fn run(args: &Args) -> ExitCode {
    log::start();
    match start::run(&args.config, args.listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = escape(error.to_string().as_bytes());
            let _ = writeln!(io::stderr(), "lariatd: {line}");
            match error {
                StartError::Config(_) => EXIT_CONFIG.into(),
                StartError::System(_) => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_of_the_contract() {
        Args::command().debug_assert();
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let args = parse("lariatd").unwrap();
        assert_eq!(args.config, PathBuf::from("/etc/lariat/agent.toml"));
        let args = parse("lariatd --config x --listen 127.0.0.1:0").unwrap();
        assert_eq!(args.listen, Some("127.0.0.1:0".parse().unwrap()));
        assert!(matches!(parse("lariatd check --config x").unwrap().command, Some(Command::Check)));
        let error = one_line(&parse("lariatd --listen here").unwrap_err());
        assert_eq!(
            error,
            "invalid value 'here' for '--listen <ADDR:PORT>': invalid socket address syntax"
        );
    }
}
