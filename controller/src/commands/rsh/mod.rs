//! `lariat rsh`, and `lariat-ssh`: this program in the place of ssh.

mod identity;
mod option;
mod pipe;
mod table;
mod words;

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::pin::pin;
use std::process::ExitCode;

use lariat_base::clock::whole_milliseconds;
use lariat_base::name::JobId;
use lariat_client::run::{self, Connections, Job, Signals};
use lariat_client::{Address, HostHandle};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use tokio::task::LocalSet;

use self::option::{BadOption, Control, Options, Terminal};
use self::words::{BadCall, Call, Parsed, Wish};
use super::report;
use super::shell::terminal;
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::ReachOptions;
use crate::forward::Forwards;
use crate::output;
use crate::request_check::check;
use crate::runtime::block_on;
use crate::settle;
use crate::status;
use crate::stdio::{LocalOutput, Stdin};

/// A shell line that runs sftp-server wherever the system has it.
const SFTP: &str = "\
for directory in /usr/lib/openssh /usr/lib/ssh /usr/libexec/openssh /usr/libexec /usr/lib; do \
[ -x $directory/sftp-server ] && exec $directory/sftp-server; done; \
echo 'sftp-server is not installed on this host' >&2; exit 127";

/// A shell line that is a login without a terminal.
const LOGIN: &str = "exec \"${SHELL:-/bin/sh}\" -l";

#[derive(clap::Args)]
#[command(
    override_usage = "lariat rsh [ssh's options] [USER@]HOST [COMMAND...]",
    after_long_help = "\
Takes ssh's command line: the words of COMMAND are joined by spaces into one line for the host's /bin/sh, and \
stdin, stdout, stderr and the exit status are the command's own; 255 is a failure of lariat itself. Called as \
lariat-ssh, or as ssh, this program is the same without `rsh`.

-t -tt -T -n -N -s sftp -l -p -J -L -R -D -W -G -V -v -O, SendEnv, SetEnv and ConnectTimeout have a meaning here; what \
is about ssh's login and output (-q -x -a -A -C -4 -6 -i -F -E -M -S, most of -o) is ignored; -f, -g, -w, -X, -o \
HostName and -o ProxyCommand are refused. PORT is the host's own. If the connection drops, lariat reconnects, as in run.

Examples:
  rsync -a -e 'lariat rsh' site/ web1:/srv/www/
  GIT_SSH_COMMAND='lariat rsh' git clone web1:/srv/project.git
  sftp -S /usr/bin/lariat-ssh web1
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

impl Args {
    /// The arguments of a program that is called in the place of ssh.
    pub(crate) fn of_ssh(words: Vec<OsString>) -> Self {
        Self { words }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let call = match words::parse(&args.words).map_err(bad_call)? {
        Parsed::Version => {
            let version = env!("CARGO_PKG_VERSION");
            output::error(&format!("{version}, in the place of OpenSSH_9.0"));
            return Ok(ExitCode::SUCCESS);
        }
        Parsed::Call(call) => *call,
    };
    if let Wish::Control(control) = call.wish {
        return Ok(shared(control));
    }
    let key = identity::selected(&call.options, context)?.or(context.key.clone());
    let verbose = context.verbose || call.options.verbose;
    let context = &Context { key, verbose, ..context.clone() };
    let mut connect = ReachOptions { jump: call.options.jump.clone(), ..ReachOptions::default() };
    if let Some(limit) = call.options.connect_timeout {
        connect.connect_timeout = limit;
    }
    let handle = settle::host(context, &connect, &call.target)?;
    if call.wish != Wish::Explain {
        check_port(&call, &handle)?;
    }
    let user = call.target.user.clone();
    let (line, is_shell) = match call.wish {
        Wish::Explain => return explain(&call, &handle),
        Wish::Pipe(to) => return block_on(pipe::run(handle, &to, user.as_deref())),
        Wish::Nothing => (None, false),
        Wish::Sftp => (Some(SFTP.as_bytes().to_vec()), false),
        Wish::Shell => (Some(LOGIN.as_bytes().to_vec()), true),
        Wish::Line(line) => (Some(line), false),
        Wish::Control(_) => unreachable!("it needs no host"),
    };
    let through = if call.options.forwards.is_empty() && line.is_some() {
        None
    } else {
        Some(settle::host(context, &connect, &call.target)?)
    };
    let forwards = call.options.forwards.clone();
    let request = line.map(|line| request(line, is_shell, user.clone(), &handle, call.options));
    let request = request.transpose()?;
    block_on(LocalSet::new().run_until(async {
        let work = async {
            match &request {
                Some(request) => follow(request, &handle, context).await,
                None => std::future::pending().await,
            }
        };
        let mut work = pin!(work);
        let Some(through) = through else { return work.await };
        let forwards = Forwards::begin(through, user, &forwards).await?;
        let told = |listening: crate::forward::Listening| {
            if context.verbose || listening.direction == "remote" {
                output::note(&listening.told(handle.name()));
            }
        };
        forwards.listening().for_each(told);
        match forwards.serve(work.as_mut(), true, told).await {
            Ok(status) => status,
            // The command may go on without them.
            Err(error) if request.is_some() => {
                error.report(context.verbose);
                work.await
            }
            Err(error) => Err(error),
        }
    }))
}

/// The request to run a line, or the login shell where there is a terminal for it.
fn request(
    line: Vec<u8>,
    is_shell: bool,
    user: Option<String>,
    handle: &HostHandle,
    options: Options,
) -> Result<Run, CliError> {
    let has_terminal = rustix::termios::isatty(rustix::stdio::stdin()) && !options.no_stdin;
    let is_terminal = match options.terminal {
        Terminal::Auto => is_shell && has_terminal,
        Terminal::No => false,
        Terminal::Yes if !has_terminal => {
            output::note("stdin is no terminal: the command gets none (-tt gives it one)");
            false
        }
        Terminal::Yes | Terminal::Force => true,
    };
    let sent = options.send.into_iter().filter_map(|name| {
        let value = std::env::var_os(&name)?;
        Some((name.into_bytes(), value.into_vec()))
    });
    let mut env: Vec<_> = sent.chain(options.set).collect();
    let streams = if is_terminal {
        env.extend(terminal::variables());
        terminal::streams()
    } else {
        Streams::Followed { stdin: !options.no_stdin }
    };
    let request = Run {
        job: JobId::generate()?,
        command: if is_shell && is_terminal { Command::Login } else { Command::Shell(line) },
        user,
        cwd: None,
        env,
        streams,
        timeout_ms: None,
        grace_ms: whole_milliseconds(handle.reconnect()),
    };
    check(&request, "rsh")?;
    Ok(request)
}

async fn follow(
    request: &Run,
    handle: &HostHandle,
    context: &Context,
) -> Result<ExitCode, CliError> {
    if let Streams::Terminal { .. } = request.streams {
        let local = terminal::Local { with_stdin: true, encoding: None };
        return terminal::run("rsh", request, handle, local, context).await;
    }
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

/// Answers `-O`: every command has a connection of its own, so there is none that is shared, and none is missed.
fn shared(control: Control) -> ExitCode {
    match control {
        Control::Check => {
            output::error("no connection is shared, nor needs to be");
            ExitCode::from(status::FAILURE)
        }
        Control::End => ExitCode::SUCCESS,
    }
}

/// Prints what `ssh -G` would, as far as it applies: git uses it to detect ssh's options, with the port that it was given.
/// A wrong one is reported by the call itself.
fn explain(call: &Call, handle: &HostHandle) -> Result<ExitCode, CliError> {
    let mut text = format!("host {}\n", call.target.host);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} {value}");
    };
    if let Some(user) = &call.target.user {
        line("user", user);
    }
    if let Some(address) = handle.address() {
        line("hostname", address.host());
        line("port", &address.port().to_string());
    }
    if let Some(jump) = &call.options.jump {
        line("proxyjump", &jump.to_string());
    }
    for (name, value) in [
        ("batchmode", "yes"),
        ("controlmaster", "false"),
        ("forwardagent", "no"),
        ("forwardx11", "no"),
        ("stricthostkeychecking", "true"),
        ("tcpkeepalive", "yes"),
    ] {
        line(name, value);
    }
    output::bytes(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn bad_call(bad: BadCall) -> CliError {
    let refused = match &bad {
        BadCall::Option(BadOption::Refused(option)) => option.clone(),
        _ => String::new(),
    };
    let error = CliError::from(bad).during("rsh");
    match refused.as_str() {
        "-f" => error.next("a shell starts it in the background with &"),
        "-o ProxyCommand" | "-o HostName" => error.next("hosts.toml has addresses, via and proxy"),
        "" => error.hint("lariat rsh --help"),
        _ => error.hint("lariat rsh --help, for those that are"),
    }
}
