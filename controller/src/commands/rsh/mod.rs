//! `lariat rsh`: runs a command for programs that expect ssh's command line.

mod option;
mod words;

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use lariat_base::name::JobId;
use lariat_client::run::{self, Connections, Job, Signals};
use lariat_client::{Address, HostHandle};
use lariat_wire::protocol::exec::{Command, Run, Streams};

use self::words::{BadCall, Call, Wish};
use super::report;
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::ReachOptions;
use crate::output;
use crate::request_check::check;
use crate::runtime::block_on;
use crate::settle;
use crate::stdio::{LocalOutput, Stdin};

/// A shell line that runs sftp-server wherever the system has it.
const SFTP: &str = "\
for directory in /usr/lib/openssh /usr/lib/ssh /usr/libexec/openssh /usr/libexec /usr/lib; do \
[ -x $directory/sftp-server ] && exec $directory/sftp-server; done; \
echo 'sftp-server is not installed on this host' >&2; exit 127";

#[derive(clap::Args)]
#[command(
    override_usage = "lariat rsh [-l USER] [-n] [-o OPTION]... [USER@]HOST COMMAND...",
    after_long_help = "\
Takes ssh's command line: the words of COMMAND are joined by spaces into one line for the host's /bin/sh, and \
stdin, stdout, stderr and the exit status are the command's own. Options of ssh without a meaning here (-T, -x, \
-q, -a, -4, -6, -C, most of -o) are ignored, all others refused. -s sftp serves sftp, scp and sshfs. If the \
connection drops, lariat reconnects, as in run.

Examples:
  rsync -a -e 'lariat rsh' site/ web1:/srv/www/
  GIT_SSH_COMMAND='lariat rsh' git clone web1:/srv/project.git
  lariat rsh web1 tar -c -C /srv www | tar -x"
)]
pub(crate) struct Args {
    /// ssh's options, the host, and the command
    #[arg(
        value_name = "WORDS",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    words: Vec<OsString>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let call = Call::parse(&args.words).map_err(bad_call)?;
    let mut connect = ReachOptions::default();
    if let Some(limit) = call.options.connect_timeout {
        connect.connect_timeout = limit;
    }
    let handle = settle::host(context, &connect, &call.target)?;
    check_port(&call, &handle)?;
    let line = match call.wish {
        Wish::Explain => return explain(&call, &handle),
        Wish::Sftp => SFTP.as_bytes().to_vec(),
        Wish::Line(line) => line,
    };
    let sent = call.options.send.into_iter().filter_map(|name| {
        let value = std::env::var_os(&name)?;
        Some((name.into_bytes(), value.into_vec()))
    });
    let request = Run {
        job: JobId::generate()?,
        command: Command::Shell(line),
        user: call.target.user,
        cwd: None,
        env: sent.chain(call.options.set).collect(),
        streams: Streams::Followed { stdin: call.stdin },
        timeout_ms: None,
        grace_ms: u64::try_from(handle.reconnect().as_millis()).unwrap_or(u64::MAX),
    };
    check(&request, "rsh")?;
    block_on(follow(&request, &handle, context))
}

async fn follow(
    request: &Run,
    handle: &HostHandle,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let failed = |what| move |error: std::io::Error| CliError::from(error).during(what);
    let mut signals = Signals::new().map_err(failed("wait for signals"))?;
    let mut connections = Connections::new(handle);
    let wants = request.streams == Streams::Followed { stdin: true };
    let stdin = wants.then(Stdin::new).transpose().map_err(failed("read stdin"))?;
    let stdout = LocalOutput::stdout().map_err(failed("write stdout"))?;
    let stderr = LocalOutput::stderr().map_err(failed("write stderr"))?;
    let job = Job::new(stdout, stderr);
    let outcome = run::run(&mut connections, &mut signals, request, &job, stdin).await;
    if let Some(error) = report::error("rsh", &outcome, handle, request) {
        error.report(context.verbose);
    }
    connections.finish().await;
    Ok(ExitCode::from(report::status(&outcome)))
}

/// Accepts a port only if it is the host's own: another one, such as sshd's, would not reach an agent.
fn check_port(call: &Call, handle: &HostHandle) -> Result<(), CliError> {
    let Some(own) = handle.address().map(Address::port) else { return Ok(()) };
    match call.options.port {
        Some(port) if port != own => {
            let host = &call.target.host;
            let error = CliError::new(format!("rsh: port {port} is not {host}'s, which is {own}"));
            Err(error.next("the inventory knows each host's port: lariat hosts"))
        }
        _ => Ok(()),
    }
}

/// Prints what `ssh -G` would, as far as it applies: git uses it to detect ssh's options.
fn explain(call: &Call, handle: &HostHandle) -> Result<ExitCode, CliError> {
    let user = call.target.user.as_ref().map(|user| format!("user {user}\n")).unwrap_or_default();
    let mut text = format!("host {}\n{user}", call.target.host);
    if let Some(address) = handle.address() {
        let _ = writeln!(text, "hostname {}\nport {}", address.host(), address.port());
    }
    output::bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn bad_call(bad: BadCall) -> CliError {
    let error = |bad| CliError::from(bad).during("rsh");
    match bad {
        BadCall::Refused('t') => error(bad).hint("lariat run --tty HOST -- COMMAND"),
        BadCall::Refused('i' | 'F') => error(bad).next("lariat proves itself with its own key"),
        BadCall::NoCommand => error(bad).hint("lariat shell HOST, for a terminal"),
        BadCall::NoHost => error(bad).hint("lariat rsh HOST COMMAND..."),
        other => error(other).hint("lariat rsh --help"),
    }
}
