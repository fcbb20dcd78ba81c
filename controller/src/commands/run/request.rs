//! Builds the request from the arguments.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::{HostName, JobId};
use lariat_wire::limits::MAX_MESSAGE;
use lariat_wire::protocol::exec::{Command, Run, Streams};

use super::args::Args;
use crate::commands::shell::terminal;
use crate::error::CliError;
use crate::request_check::check;
use crate::template::Template;
use crate::tilde;

/// Bytes that the request needs besides a script.
const BESIDE_SCRIPT: usize = 128 * 1024;

/// The command; `None` if commands are read from a file.
pub(super) fn command(args: &Args) -> Result<Option<Command>, CliError> {
    let bytes = |text: &OsString| text.clone().into_vec();
    let words = || args.command.iter().map(bytes).collect();
    Ok(match (&args.script, &args.from, args.command.as_slice()) {
        (Some(script), ..) => Some(Command::Script { body: read(script)?, args: words() }),
        (None, Some(_), _) => None,
        (None, None, [line]) => Some(Command::Shell(bytes(line))),
        (None, None, _) => Some(Command::Argv(words())),
    })
}

fn read(script: &Path) -> Result<Vec<u8>, CliError> {
    let shown = escape(script.as_os_str().as_bytes());
    let body = std::fs::read(script)
        .map_err(|e| CliError::from(e).during(format!("read the script {shown}")))?;
    let most = MAX_MESSAGE - BESIDE_SCRIPT;
    if body.len() > most {
        let message = format!("the script {shown} is over {} KiB", most / 1024);
        return Err(CliError::new(message).hint("push it, and run it there"));
    }
    Ok(body)
}

/// The request for a command, with a new job id.
pub(super) fn request(args: &Args, command: Command) -> Result<Run, CliError> {
    let terminal = args.tty.then(terminal::variables).into_iter().flatten();
    let request = Run {
        job: JobId::generate()?,
        command,
        user: args.user.clone(),
        cwd: args.cwd.as_ref().map(working_directory).transpose()?,
        env: terminal.map(Ok).chain(args.env.iter().map(variable)).collect::<Result<_, _>>()?,
        streams: match (args.detach, args.tty) {
            (true, _) => Streams::Detached,
            (false, true) => terminal::streams(),
            (false, false) => Streams::Followed { stdin: args.interactive },
        },
        timeout_ms: args.timeout.map(milliseconds),
        grace_ms: milliseconds(args.connect.reconnect()),
    };
    check(&request, "run")?;
    Ok(request)
}

/// The id that the detached jobs of all hosts have.
pub(super) fn shared_job(template: &Run) -> Option<JobId> {
    (template.streams == Streams::Detached).then_some(template.job)
}

/// Which texts of a request contain the placeholder `{host}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expand {
    Nothing,
    /// The words of the command, with `--expand`.
    Words,
    /// All texts in a plan: the directory, which is a path, and words and values, which may contain other
    /// braces.
    Plan,
}

impl Expand {
    /// The choice of the command line.
    pub(super) fn of(args: &Args) -> Self {
        if args.expand { Self::Words } else { Self::Nothing }
    }
}

/// The request for one host.
pub(super) fn for_host(request: Run, host: &HostName, expand: Expand) -> Result<Run, CliError> {
    if expand == Expand::Nothing {
        return Ok(request);
    }
    let request = replaced(request, expand, |template| template.for_host(host))?;
    // The host's name may be longer than the placeholder.
    check(&request, "run")?;
    Ok(request)
}

/// Checks the placeholders.
pub(super) fn check_expansion(request: Run, expand: Expand) -> Result<(), CliError> {
    replaced(request, expand, |template| template.text()).map(drop)
}

fn replaced(
    request: Run,
    expand: Expand,
    made: impl Fn(Template) -> Vec<u8>,
) -> Result<Run, CliError> {
    if expand == Expand::Nothing {
        return Ok(request);
    }
    let word = |text: Vec<u8>| -> Result<Vec<u8>, CliError> {
        let template = match expand {
            Expand::Words => Template::parse(&text)?,
            _ => Template::of_shell(&text),
        };
        Ok(made(template))
    };
    let all = |words: Vec<Vec<u8>>| words.into_iter().map(word).collect::<Result<_, _>>();
    let command = match request.command {
        Command::Shell(line) => Command::Shell(word(line)?),
        Command::Argv(words) => Command::Argv(all(words)?),
        Command::Script { body, args } => Command::Script { body, args: all(args)? },
        Command::Login => Command::Login,
    };
    let request = Run { command, ..request };
    if expand == Expand::Words {
        return Ok(request);
    }
    let cwd = request.cwd.map(|cwd| Template::parse(&cwd).map(&made)).transpose()?;
    let value = |(name, value): (Vec<u8>, Vec<u8>)| (name, made(Template::of_shell(&value)));
    let env = request.env.into_iter().map(value).collect();
    Ok(Run { cwd, env, ..request })
}

/// `~` alone is the home, which is the default working directory.
fn working_directory(cwd: &OsString) -> Result<Vec<u8>, CliError> {
    let path = tilde::remote(cwd.as_bytes()).map_err(|error| error.during("--cwd"))?;
    Ok(if path.is_empty() { b".".to_vec() } else { path })
}

fn variable(text: &OsString) -> Result<(Vec<u8>, Vec<u8>), CliError> {
    let bytes = text.as_bytes();
    let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else {
        let message = format!("--env {}: there is no '=' in it", text.to_string_lossy());
        return Err(CliError::new(message).hint("--env NAME=VALUE"));
    };
    Ok((bytes[..equals].to_vec(), bytes[equals + 1..].to_vec()))
}

/// A limit of less than a millisecond is rounded up.
pub(super) fn milliseconds(time: Duration) -> u64 {
    let up = time.saturating_add(Duration::from_nanos(999_999)).as_millis();
    u64::try_from(up).unwrap_or(u64::MAX)
}
