//! `lariat run`: runs a command on one host as if it ran locally, or on many hosts.

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
use crate::can::Asking;
use crate::commands::shell::terminal;
use crate::context::Context;
use crate::encoding::Conversion;
use crate::error::CliError;
use crate::fanout::{Hosts, Recorded, StdinBroadcast, Verb};
use crate::runtime::block_on;

/// The work of a plan's step.
pub(crate) async fn of_plan(args: &Args) -> Result<RunWork, CliError> {
    let conversion = Conversion::new(args.encoding.name);
    Ok(RunWork {
        task: Task::of_plan(args).await?,
        stdin: StdinSource::Null,
        home: None,
        conversion,
    })
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let command = request::command(args)?;
    let template = request::request(args, command.clone().unwrap_or(Command::Shell(Vec::new())))?;
    if args.dry_run {
        return dry_run(args, context, template, command);
    }
    if args.tty {
        return in_terminal(args, context, template);
    }
    let Args { connect, fanout, json, .. } = args;
    let targets = vec![&args.target];
    let recorded = Recorded::new("run", what(args)).with_job(request::shared_job(&template));
    let recorded = Some(recorded);
    Verb { context, connect, fanout, targets, json: *json, recorded }.run(async |hosts| {
        hosts.check_users(args.user.as_deref())?;
        let task = Task::new(args, template, command, hosts.are_several).await?;
        let home = context.home().ok().filter(|_| context.local.is_none());
        let conversion = Conversion::new(args.encoding.name);
        let stdin = stdin(args, hosts, &conversion).await?;
        Ok(RunWork { task, stdin, home, conversion })
    })
}

/// Asks the hosts whether they would permit it, and runs nothing.
fn dry_run(
    args: &Args,
    context: &Context,
    template: Run,
    command: Option<Command>,
) -> Result<ExitCode, CliError> {
    let Args { connect, fanout, json, .. } = args;
    let targets = vec![&args.target];
    Verb { context, connect, fanout, targets, json: *json, recorded: None }.run(async |hosts| {
        hosts.check_users(args.user.as_deref())?;
        // All lines of a file are read at once, as for several hosts.
        let task = Task::new(args, template, command, true).await?;
        Ok(Asking {
            key: None,
            questions: Box::new(move |chosen| task.questions(chosen)),
            limit: args.timeout,
            json: *json,
        })
    })
}

/// A description of the commands, for the ledger.
fn what(args: &Args) -> String {
    let words = args.command.iter().map(|word| word.to_string_lossy().into_owned());
    let option = |name: &str, path: &Option<PathBuf>| {
        path.as_ref().map(|path| format!("--{name} {}", path.display()))
    };
    let script = option("script", &args.script).or_else(|| option("from", &args.from));
    script.into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// The stdin of the commands. If not all hosts begin at once, it is first read to its end.
async fn stdin(
    args: &Args,
    hosts: &Hosts,
    conversion: &Conversion,
) -> Result<StdinSource, CliError> {
    let readers = hosts.chosen.len();
    if !args.interactive {
        return Ok(StdinSource::Null);
    }
    if !hosts.are_several {
        return Ok(StdinSource::Own);
    }
    let stdin = conversion.stdin(open_stdin()?);
    if args.fanout.limits().all_at_once(readers) {
        return Ok(StdinSource::Broadcast(StdinBroadcast::live(readers), Some(stdin).into()));
    }
    let kept = StdinBroadcast::keep(stdin).await;
    let kept = kept.map_err(|e| CliError::from(e).during("read stdin"))?;
    Ok(StdinSource::Broadcast(kept, None.into()))
}

/// Runs the command in a terminal like the local one, which only one host can use.
fn in_terminal(args: &Args, context: &Context, template: Run) -> Result<ExitCode, CliError> {
    let Args { target, fanout, connect, .. } = args;
    let chosen = target.one("run", "a terminal is for one")?;
    let Some(handle) = fanout.one(connect, [target], &chosen, context)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let handle = handle.within(args.timeout);
    let request = request::for_host(template, &chosen.host, request::Expand::of(args))?;
    let request = Run { user: chosen.user(args.user.as_deref())?, ..request };
    let local = terminal::Local { with_stdin: args.interactive, encoding: args.encoding.name };
    block_on(terminal::run("run", &request, &handle, local, context))
}
