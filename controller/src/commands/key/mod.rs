//! `lariat key`: the keys of people, here and on hosts.

mod add;
mod allow;
mod change;
mod list;
mod new;
mod request;
mod revoke;
mod rotate;

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CliError;

#[derive(clap::Args)]
#[command(after_long_help = "\
A second operator, Bob, with a machine of his own:

  alice$ lariat fleet export fleet.toml        the fleet's hosts and CA; nothing in it is secret
  bob$   lariat fleet import fleet.toml        creates his key; asks for the CA's fingerprint
  bob$   lariat key request > bob.req          as secret as a key: send it over a safe channel;
                                               he reads out what it prints, for example by phone
  alice$ lariat key add bob.req all --verbs run,jobs --expires 365d
  bob$   lariat key rotate all                 replaces the key that was sent")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: KeyVerb,
}

// What to do with keys.
#[derive(clap::Subcommand)]
enum KeyVerb {
    /// Make another key here
    New(new::Args),
    /// Show the keys here, or those of hosts
    List(list::Args),
    /// Write a request, for an operator who adds your key to hosts
    Request(request::Args),
    /// Add the key of a request to hosts
    Add(add::Args),
    /// Replace the rules of a key
    Allow(allow::Args),
    /// Take a key from hosts, at once: its sessions and commands end
    Revoke(revoke::Args),
    /// Replace your own key by a new one
    Rotate(rotate::Args),
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.verb {
        KeyVerb::New(args) => new::run(&args, context),
        KeyVerb::List(args) => list::run(&args, context),
        KeyVerb::Request(args) => request::run(&args, context),
        KeyVerb::Add(args) => add::run(&args, context),
        KeyVerb::Allow(args) => allow::run(&args, context),
        KeyVerb::Revoke(args) => revoke::run(&args, context),
        KeyVerb::Rotate(args) => rotate::run(&args, context),
    }
}
