//! `lariat run`: a command on a host, as if it ran here, or on many.

mod args;
mod begun;
mod lines;
mod output;
mod request;
mod task;
mod work;

pub(crate) use args::Args;
pub(crate) use begun::{Before, StepLog};
pub(crate) use work::RunWork;

use std::path::PathBuf;
use std::process::ExitCode;

use lariat_wire::protocol::exec::{Command, Run};

use self::task::Task;
use self::work::{StdinSource, open_stdin};
use crate::commands::shell::terminal;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Hosts, StdinBroadcast, Verb};
use crate::runtime::block_on;

/// What a step of a plan runs.
pub(crate) async fn of_plan(args: &Args) -> Result<RunWork, CliError> {
    Ok(RunWork { task: Task::of_plan(args).await?, stdin: StdinSource::Null })
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let command = request::command(args)?;
    let template = request::request(args, command.clone().unwrap_or(Command::Shell(Vec::new())))?;
    if args.tty {
        return in_terminal(args, context, template);
    }
    let Args { connect, fanout, json, .. } = args;
    let (targets, recorded) = (vec![&args.target], Some(("run", what(args))));
    Verb { context, connect, fanout, targets, json: *json, recorded }.run(async |hosts| {
        hosts.check_users(args.user.as_deref())?;
        let task = Task::new(args, template, command, hosts.are_several).await?;
        Ok(RunWork { task, stdin: stdin(args, hosts).await? })
    })
}

/// What is run, for the ledger.
fn what(args: &Args) -> String {
    let words = args.command.iter().map(|word| word.to_string_lossy().into_owned());
    let option = |name: &str, path: &Option<PathBuf>| {
        path.as_ref().map(|path| format!("--{name} {}", path.display()))
    };
    let script = option("script", &args.script).or_else(|| option("from", &args.from));
    script.into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// What the commands of these hosts read. If not all of them begin at once, it is read to its end first.
async fn stdin(args: &Args, hosts: &Hosts) -> Result<StdinSource, CliError> {
    let readers = hosts.chosen.len();
    if !args.interactive {
        return Ok(StdinSource::Null);
    }
    if !hosts.are_several {
        return Ok(StdinSource::Own);
    }
    let stdin = open_stdin()?;
    if args.fanout.limits().all_at_once(readers) {
        return Ok(StdinSource::Broadcast(StdinBroadcast::live(readers), Some(stdin).into()));
    }
    let kept = StdinBroadcast::keep(stdin).await;
    let kept = kept.map_err(|e| CliError::from(e).during("read stdin"))?;
    Ok(StdinSource::Broadcast(kept, None.into()))
}

/// Runs it in a terminal like the one here, which is for one host.
fn in_terminal(args: &Args, context: &Context, template: Run) -> Result<ExitCode, CliError> {
    let Args { target, fanout, connect, .. } = args;
    let Some(chosen) = target.plain() else {
        let message = format!("run: {target} names several hosts; a terminal is for one");
        return Err(CliError::new(message));
    };
    let Some(handle) = fanout.one(connect, [target], &chosen, context)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let handle = handle.within(args.timeout);
    let request = request::for_host(template, &chosen.host, request::Expand::of(args))?;
    let request = Run { user: chosen.user(args.user.as_deref())?, ..request };
    block_on(terminal::run("run", &request, &handle, args.interactive, context))
}
