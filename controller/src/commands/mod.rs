//! The verbs, one per file: its arguments, what it does, how it reports. This is the only list of them.

mod attach;
mod audit;
mod batch;
mod ca;
mod can;
mod clean;
mod complete;
mod completions;
mod demo;
mod discover;
mod doctor;
mod enroll;
mod fleet;
mod forget;
mod forward;
mod hosts;
mod init;
mod jobs;
mod key;
mod kill;
mod last;
mod logs;
mod man;
mod not_run;
mod note;
mod ping;
mod pull;
mod push;
mod renew;
mod report;
pub(crate) mod rsh;
mod run;
mod shell;
mod status;
mod upgrade;
mod watch;

#[cfg(feature = "fuzzing")]
pub use batch::read_plan;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// A verb with its arguments. Only the selected verb's are built, because building all of them would dominate
/// the run time of a command line. As they are built last, the doc comment of a type of arguments would replace
/// the verb's own: such a type has a plain comment.
#[derive(Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Create a fleet: its CA, your key and an empty inventory
    Init(init::Args),
    /// Install agents on hosts over ssh, or issue a bundle
    Enroll(Box<enroll::Args>),
    /// Remove a host from the fleet
    Forget(forget::Args),
    /// Give the fleet's hosts to another operator, or take them from one
    Fleet(fleet::Args),
    /// Keys of people: make, add, allow, revoke, rotate
    Key(Box<key::Args>),
    /// Show the fleet's CA
    Ca(ca::Args),
    /// Give hosts new certificates
    Renew(renew::Args),
    /// Replace the agents of hosts by another version
    Upgrade(upgrade::Args),
    /// Show the inventory
    Hosts(hosts::Args),
    /// Find the fleet's hosts on the local network
    Discover(discover::Args),
    /// Connect to hosts, log in, and measure the round trip
    Ping(ping::Args),
    /// Run a command on one host or many
    Run(Box<run::Args>),
    /// Open a terminal on a host
    Shell(shell::Args),
    /// Forward ports through a host
    Forward(forward::Args),
    /// Run a command the way that rsync, git and others start ssh
    Rsh(rsh::Args),
    /// Send files to hosts
    Push(push::Args),
    /// Fetch files from hosts
    Pull(pull::Args),
    /// Remove the partials of abandoned transfers to hosts
    Clean(clean::Args),
    /// Run the steps of a plan on many hosts
    Batch(batch::Args),
    /// Show the jobs on hosts
    Jobs(jobs::Args),
    /// Show the output of detached jobs
    Logs(logs::Args),
    /// Follow a detached job to its end, and exit as it does
    Attach(attach::Args),
    /// Send a signal to a job
    Kill(kill::Args),
    /// Show, copy or verify the record of what was done on hosts
    Audit(audit::Args),
    /// Ask hosts what a key may do
    Can(can::Args),
    /// Show how hosts are, and who uses them
    Status(status::Args),
    /// Watch hosts live, the worst first
    Watch(watch::Args),
    /// Leave notes on hosts for the next operator
    Note(note::Args),
    /// Check this machine and hosts for what is or soon will be wrong
    Doctor(doctor::Args),
    /// Show the results of the last command over several hosts
    Last(last::Args),
    /// Take a tour on this machine, with a temporary fleet
    Demo(demo::Args),
    /// Write a shell's completions to stdout
    Completions(completions::Args),
    /// Write the man pages into a directory
    Man(man::Args),
    /// Print what can be typed next, for the completions of shells
    #[command(hide = true)]
    Complete(complete::Args),
}

impl Command {
    /// Whether the verb has a `--key` of its own.
    pub(crate) fn is_key_a_filter(&self) -> bool {
        matches!(self, Self::Audit(args) if args.is_key_a_filter())
    }

    /// What the verb's own `--key` names.
    #[cfg(test)]
    pub(crate) fn filter(&self) -> Option<&str> {
        match self {
            Self::Audit(args) => args.filter(),
            _ => None,
        }
    }

    /// With `--local`, refuses verbs that do not use a host's agent.
    pub(crate) fn check_local(&self) -> Result<(), CliError> {
        match self {
            Self::Ping(_)
            | Self::Run(_)
            | Self::Shell(_)
            | Self::Forward(_)
            | Self::Rsh(_)
            | Self::Push(_)
            | Self::Pull(_)
            | Self::Clean(_)
            | Self::Jobs(_)
            | Self::Logs(_)
            | Self::Attach(_)
            | Self::Kill(_)
            | Self::Audit(_)
            | Self::Can(_)
            | Self::Status(_)
            | Self::Watch(_)
            | Self::Note(_)
            | Self::Doctor(_) => Ok(()),
            Self::Init(_)
            | Self::Enroll(_)
            | Self::Forget(_)
            | Self::Fleet(_)
            | Self::Key(_)
            | Self::Ca(_)
            | Self::Renew(_)
            | Self::Upgrade(_)
            | Self::Hosts(_)
            | Self::Discover(_)
            | Self::Batch(_)
            | Self::Last(_)
            | Self::Demo(_)
            | Self::Completions(_)
            | Self::Complete(_)
            | Self::Man(_) => {
                Err(CliError::new("--local is for verbs that go to the agent of one host"))
            }
        }
    }

    /// Runs the verb.
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self {
            Self::Init(args) => init::run(args, context),
            Self::Enroll(args) => enroll::run(*args, context),
            Self::Forget(args) => forget::run(args, context),
            Self::Fleet(args) => fleet::run(args, context),
            Self::Key(args) => key::run(*args, context),
            Self::Ca(args) => ca::run(&args, context),
            Self::Renew(args) => renew::run(&args, context),
            Self::Upgrade(args) => upgrade::run(&args, context),
            Self::Hosts(args) => hosts::run(args, context),
            Self::Discover(args) => discover::run(&args, context),
            Self::Ping(args) => ping::run(&args, context),
            Self::Run(args) => run::run(&args, context),
            Self::Shell(args) => shell::run(&args, context),
            Self::Forward(args) => forward::run(&args, context),
            Self::Rsh(args) => rsh::run(&args, context),
            Self::Push(args) => push::run(args, context),
            Self::Pull(args) => pull::run(args, context),
            Self::Clean(args) => clean::run(&args, context),
            Self::Batch(args) => batch::run(&args, context),
            Self::Jobs(args) => jobs::run(&args, context),
            Self::Logs(args) => logs::run(&args, context),
            Self::Attach(args) => attach::run(&args, context),
            Self::Kill(args) => kill::run(&args, context),
            Self::Audit(args) => audit::run(&args, context),
            Self::Can(args) => can::run(args, context),
            Self::Note(args) => note::run(&args, context),
            Self::Status(args) => status::run(&args, context),
            Self::Watch(args) => watch::run(&args, context),
            Self::Doctor(args) => doctor::run(&args, context),
            Self::Last(args) => last::run(&args, context),
            Self::Demo(args) => demo::run(&args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(&args, context),
            Self::Complete(args) => complete::run(args, context),
        }
    }
}
