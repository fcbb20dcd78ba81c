//! `lariat shell`: opens an interactive terminal on a host.

pub(super) mod terminal;

mod escapes;
mod keys;
mod raw;

use std::process::ExitCode;
use std::time::Duration;

use lariat_base::clock::whole_milliseconds;
use lariat_base::name::JobId;
use lariat_wire::protocol::exec::{Command, Run};

use crate::context::Context;
use crate::encoding::EncodingOption;
use crate::error::CliError;
use crate::fleet::ReachOptions;
use crate::request_check::check;
use crate::runtime::block_on;
use crate::settle;
use crate::target::Targets;

/// How long a connection may stay broken by default.
const RECONNECT: Duration = Duration::from_secs(5 * 60);

#[derive(clap::Args)]
#[command(after_long_help = "\
Runs the user's login shell, and exits with its status. If the connection drops, lariat reconnects, and nothing \
that was typed or shown is lost. At the beginning of a line, ~. disconnects and ~? lists the other escapes.

Examples:
  lariat shell web1
  lariat shell deploy@web1")]
pub(crate) struct Args {
    /// Which host: web1, or USER@web1
    #[arg(value_name = "HOST")]
    target: Targets,

    /// Run as this user of the host
    ///
    /// The default is the agent's own user. The same as NAME@HOST.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    #[command(flatten)]
    encoding: EncodingOption,

    #[command(flatten)]
    connect: ReachOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let chosen = args.target.one("shell", "a terminal is for one")?;
    let handle = settle::host(context, &args.connect, &chosen)?;
    if !raw::is_terminal() {
        let message = "shell: stdin is no terminal";
        return Err(CliError::new(message).hint(format!("lariat run -i {} -- sh", chosen.host)));
    }
    let reconnect = args.connect.reconnect.unwrap_or(RECONNECT);
    let handle = handle.reconnecting(Some(reconnect));
    let request = Run {
        job: JobId::generate()?,
        command: Command::Login,
        user: chosen.user(args.user.as_deref())?,
        cwd: None,
        env: terminal::variables().collect(),
        streams: terminal::streams(),
        timeout_ms: None,
        grace_ms: whole_milliseconds(reconnect),
    };
    check(&request, "shell")?;
    let local = terminal::Local { with_stdin: true, encoding: args.encoding.name };
    block_on(terminal::run("shell", &request, &handle, local, context))
}
