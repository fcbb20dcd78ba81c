//! The verbs, one a file: its arguments, what it does, how it reports. This is the one list of them.

mod attach;
mod batch;
mod clean;
mod completions;
mod demo;
mod enroll;
mod forget;
mod hosts;
mod init;
mod jobs;
mod kill;
mod last;
mod logs;
mod man;
mod ping;
mod pull;
mod push;
mod report;
mod rsh;
mod run;
mod shell;

#[cfg(feature = "fuzzing")]
pub use batch::read_plan;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// A verb with its arguments. Those of the other verbs are not built: that would take longer than all else that
/// a command line needs. As they are built last, the doc comment of a type of arguments would replace the verb's
/// own: such a type has a plain comment.
#[derive(Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make a fleet: its CA, your key and an empty inventory
    Init(init::Args),
    /// Make a host part of the fleet: issue the bundle that its agent runs with
    Enroll(enroll::Args),
    /// Take a host out of the fleet
    Forget(forget::Args),
    /// Show the inventory
    Hosts(hosts::Args),
    /// Reach hosts, log in, and time the round trip
    Ping(ping::Args),
    /// Run a command on one host or many
    Run(Box<run::Args>),
    /// Open a terminal on a host
    Shell(shell::Args),
    /// Run a command the way that rsync, git and others start ssh
    Rsh(rsh::Args),
    /// Send files to hosts
    Push(push::Args),
    /// Fetch files from hosts
    Pull(pull::Args),
    /// Remove the partials that transfers to hosts have left
    Clean(clean::Args),
    /// Do the steps of a plan on many hosts
    Batch(batch::Args),
    /// Show the jobs on hosts
    Jobs(jobs::Args),
    /// Show what detached jobs have written
    Logs(logs::Args),
    /// Follow a detached job to its end, and exit as it does
    Attach(attach::Args),
    /// Send a job a signal
    Kill(kill::Args),
    /// Tell what the newest run over several hosts did
    Last(last::Args),
    /// Show all of it on this machine, with a throwaway fleet
    Demo(demo::Args),
    /// Write a shell's completions to stdout
    Completions(completions::Args),
    /// Write the man pages into a directory
    Man(man::Args),
}

impl Command {
    /// Refuses a verb that does not go to one host's agent, with `--local`.
    pub(crate) fn check_local(&self) -> Result<(), CliError> {
        match self {
            Self::Ping(_)
            | Self::Run(_)
            | Self::Shell(_)
            | Self::Rsh(_)
            | Self::Push(_)
            | Self::Pull(_)
            | Self::Clean(_)
            | Self::Jobs(_)
            | Self::Logs(_)
            | Self::Attach(_)
            | Self::Kill(_) => Ok(()),
            Self::Init(_)
            | Self::Enroll(_)
            | Self::Forget(_)
            | Self::Hosts(_)
            | Self::Batch(_)
            | Self::Last(_)
            | Self::Demo(_)
            | Self::Completions(_)
            | Self::Man(_) => {
                Err(CliError::new("--local is for verbs that go to the agent of one host"))
            }
        }
    }

    /// Does it.
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self {
            Self::Init(args) => init::run(args, context),
            Self::Enroll(args) => enroll::run(args, context),
            Self::Forget(args) => forget::run(args, context),
            Self::Hosts(args) => hosts::run(args, context),
            Self::Ping(args) => ping::run(&args, context),
            Self::Run(args) => run::run(&args, context),
            Self::Shell(args) => shell::run(&args, context),
            Self::Rsh(args) => rsh::run(&args, context),
            Self::Push(args) => push::run(args, context),
            Self::Pull(args) => pull::run(args, context),
            Self::Clean(args) => clean::run(&args, context),
            Self::Batch(args) => batch::run(&args, context),
            Self::Jobs(args) => jobs::run(&args, context),
            Self::Logs(args) => logs::run(&args, context),
            Self::Attach(args) => attach::run(&args, context),
            Self::Kill(args) => kill::run(&args, context),
            Self::Last(args) => last::run(&args, context),
            Self::Demo(args) => demo::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
        }
    }
}
