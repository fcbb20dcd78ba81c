//! The agent's command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use lariat_base::escape::escape;

use crate::cases::{self, NO_VERDICT};
use crate::check::{self, EXIT_CONFIG};
use crate::jobs::supervise;
use crate::serve::Stopped;
use crate::start::{self, StartError};
use crate::transport::take_passed;
use crate::{audit, config, enroll_request, key_add, log, own_status, upgrade, usage, worker};

/// The agent of lariat: runs commands and moves files on this host for its fleet's controllers
#[derive(Debug, Parser)]
#[command(name = "lariatd", version, about)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH, global = true, value_parser = config_file)]
    config: PathBuf,
    /// Listen here, whatever the configuration says; port 0 picks one
    #[arg(long, value_name = "ADDR:PORT", value_parser = config::parse_listen)]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check configuration, certificate and keyring, and say what is wrong
    Check,
    /// Show how this host is, and who uses it
    Status {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// The record of what was done on this host
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Change the keyring of this host
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Check rules, and try them, before they go live
    #[command(subcommand)]
    Policy(Policy),
    /// Print a signing request for this host's key, which is made if there is none
    #[command(hide = true)]
    EnrollRequest,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Add the key of a request, with every verb
    Add(key_add::Args),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Say whether the record is whole, or else which line is wrong first: exits 0, or 1
    Verify,
}

#[derive(Debug, Subcommand)]
enum Policy {
    /// Check a keyring: exit 0 if it can be used, 1 if not
    Check {
        /// The keyring
        keyring: PathBuf,
    },
    /// Try the cases of a file: exit 0 if all hold, 1 if one does not
    Test {
        /// The keyring
        keyring: PathBuf,
        /// The cases: [[case]] tables with key, action and expect
        cases: PathBuf,
    },
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
        Some(first) if first == upgrade::SUBCOMMAND => {
            return upgrade::main(std::env::args_os().skip(2));
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
            let words: Vec<String> =
                std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            let line = usage::one_line(&error, &words, Args::command());
            let _ = writeln!(io::stderr(), "lariatd: {line}");
            // Verbs whose 1 is a verdict: here is none. As with a wrong configuration, a restart does not help.
            let judges =
                std::env::args_os().skip(1).any(|word| word == "policy" || word == "audit");
            return if judges { NO_VERDICT } else { EXIT_CONFIG }.into();
        }
    };
    match args.command {
        Some(Command::Check) => check::run(&args.config, &mut io::stdout(), &mut io::stderr())
            .unwrap_or(ExitCode::FAILURE),
        Some(Command::Audit(AuditCommand::Verify)) => {
            audit::verify(&args.config, &mut io::stdout(), &mut io::stderr())
                .unwrap_or(NO_VERDICT.into())
        }
        Some(Command::Status { json }) => {
            match own_status::run(&args.config, json) {
                // Its lines are escaped already.
                Ok(told) => match io::stdout().write_all(told.as_bytes()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::FAILURE,
                },
                Err(why) => tell("status", Err(why)),
            }
        }
        Some(Command::Key { verb: KeyVerb::Add(add) }) => {
            tell("key add", key_add::run(&args.config, &add))
        }
        Some(Command::EnrollRequest) => tell("enroll-request", enroll_request::run(&args.config)),
        Some(Command::Policy(policy)) => {
            let (out, err) = (&mut io::stdout(), &mut io::stderr());
            let done = match policy {
                Policy::Check { keyring } => cases::check(&keyring, out, err),
                Policy::Test { keyring, cases } => cases::test(&keyring, &cases, out, err),
            };
            done.unwrap_or(NO_VERDICT.into())
        }
        None => run(&args),
    }
}

/// Prints what was done, or why it was not.
fn tell(verb: &str, done: Result<String, String>) -> ExitCode {
    match done {
        Ok(done) => {
            let _ = writeln!(io::stdout(), "{}", escape(done.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(io::stderr(), "lariatd: {verb}: {}", escape(why.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

/// A path of `--config`, which people give as that of the bundle.
fn config_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        let file = path.join("agent.toml");
        return Err(format!("{text} is a directory; try: --config {}", file.display()));
    }
    Ok(path)
}

fn run(args: &Args) -> ExitCode {
    // It may execute another program, which is to find everything as systemd has left it.
    let upgrade = upgrade::at_start(&args.config);
    // Before anything is opened.
    let passed = take_passed().map_err(|error| StartError::Config(error.to_string()));
    log::start();
    if let Err(why) = upgrade {
        tracing::warn!("the last upgrade can't be looked at: {why}");
    }
    match passed.and_then(|passed| start::run(&args.config, args.listen, passed)) {
        Ok(Stopped::Asked) => ExitCode::SUCCESS,
        Ok(Stopped::Replaced) => {
            tracing::error!("the agent can't be executed again: {}", upgrade::execute());
            ExitCode::FAILURE
        }
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
    use super::*;

    #[test]
    fn the_man_page_has_every_verb_and_option() {
        fn check(command: &clap::Command, page: &str) {
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(page.contains(verb.get_name()), "{}", verb.get_name());
                check(verb, page);
            }
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&long.replace('-', "\\-")), "--{long}");
            }
        }
        check(&Args::command(), include_str!("../../docs/man/lariatd.8"));
    }

    #[test]
    fn the_command_line_of_the_contract() {
        Args::command().debug_assert();
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let args = parse("lariatd").unwrap();
        assert_eq!(args.config, PathBuf::from("/etc/lariat/agent.toml"));
        let args = parse("lariatd --config x --listen 127.0.0.1:0").unwrap();
        assert_eq!(args.listen, Some("127.0.0.1:0".parse().unwrap()));
        assert!(matches!(parse("lariatd check --config x").unwrap().command, Some(Command::Check)));
    }
}
