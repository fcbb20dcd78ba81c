//! From the words of the command line to a request.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use lariat_common::escape::escape;
use lariat_common::limits::MAX_MESSAGE;
use lariat_common::name::{HostName, JobId};
use lariat_common::protocol::exec::{Command, Run, Streams};

use super::Args;
use crate::commands::shell::terminal;
use crate::error::CliError;
use crate::run::check;
use crate::transfer;

/// Room for the rest of the request beside a script, in bytes.
const BESIDE_SCRIPT: usize = 128 * 1024;

/// What to run; nothing if it is to be read from a file line by line.
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

/// The request for a command, with a new job's id.
pub(super) fn request(args: &Args, command: Command) -> Result<Run, CliError> {
    let terminal = args.tty.then(terminal::variables).into_iter().flatten();
    let request = Run {
        job: JobId::generate()?,
        command,
        user: args.user.clone(),
        cwd: args.cwd.clone().map(OsString::into_vec),
        env: terminal.map(Ok).chain(args.env.iter().map(variable)).collect::<Result<_, _>>()?,
        streams: match (args.detach, args.tty) {
            (true, _) => Streams::Kept,
            (false, true) => terminal::streams(),
            (false, false) => Streams::Followed { stdin: args.interactive },
        },
        timeout_ms: args.timeout.map(milliseconds),
        grace_ms: milliseconds(args.connect.reconnect()),
    };
    check(&request, "run")?;
    Ok(request)
}

/// The request of a plan for one host: `{host}` in its words is the host's name.
pub(super) fn for_host(request: Run, host: &HostName) -> Result<Run, CliError> {
    let named = |text: Vec<u8>| transfer::for_host(&text, host);
    let all = |words: Vec<Vec<u8>>| words.into_iter().map(named).collect();
    let command = match request.command {
        Command::Shell(line) => Command::Shell(named(line)),
        Command::Argv(words) => Command::Argv(all(words)),
        Command::Script { body, args } => Command::Script { body, args: all(args) },
        Command::Login => Command::Login,
    };
    let env = request.env.into_iter().map(|(name, value)| (name, named(value))).collect();
    let request = Run { command, cwd: request.cwd.map(named), env, ..request };
    // A name is longer than what stands for it.
    check(&request, "run")?;
    Ok(request)
}

fn variable(text: &OsString) -> Result<(Vec<u8>, Vec<u8>), CliError> {
    let bytes = text.as_bytes();
    let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else {
        let message = format!("--env {}: there is no '=' in it", text.to_string_lossy());
        return Err(CliError::new(message).hint("--env NAME=VALUE"));
    };
    Ok((bytes[..equals].to_vec(), bytes[equals + 1..].to_vec()))
}

/// A limit of less than a millisecond is still one.
pub(super) fn milliseconds(time: Duration) -> u64 {
    let up = time.saturating_add(Duration::from_nanos(999_999)).as_millis();
    u64::try_from(up).unwrap_or(u64::MAX)
}
