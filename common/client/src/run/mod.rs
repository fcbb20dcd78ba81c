//! Runs a command on one host: requests it once, and follows it to its end.
//!
//! [`run`] does it all; [`Connections`] is one connection after another, `session` one of them, and [`Job`]
//! outlives them. Invariant: the output that is written locally is the command's, every byte once and in order,
//! or the outcome says that it is not.

mod at_most_once;
mod connections;
mod error;
mod input;
mod job;
mod logs;
mod outcome;
mod output;
mod overdue;
mod session;
mod signals;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io;
use std::time::Duration;

use lariat_base::clock::since_boot;
use lariat_base::script::Interpreter;
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use tokio::io::{AsyncRead, AsyncWrite};

use at_most_once::AtMostOnce;
pub use connections::Connections;
pub use error::{JobStatus, RunError};
pub use job::{Job, Told};
pub use logs::{Log, LogsError, Wanted};
pub use outcome::Outcome;
use signals::SIGPIPE;
pub use signals::{Relay, SIGHUP, SIGTERM, Signals};

/// How long a command may take to end after the reader of its output is gone.
pub const ABANDON: Duration = Duration::from_secs(2);

/// Runs a command and follows it over `connections`. `stdin` is sent to it if the request says so.
pub async fn run<O, E, I>(
    connections: &mut Connections<'_>,
    signals: &mut Signals,
    request: &Run,
    job: &Job<O, E>,
    stdin: Option<I>,
) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
    I: AsyncRead + Unpin,
{
    follow(connections, signals, request, AtMostOnce::default(), job, stdin).await
}

/// Continues a command that another process requested: queries its state first. The command is requested again
/// only if it was first requested this long `before` and that request can't have arrived; never, if that time
/// is not known.
pub async fn resume<O, E>(
    connections: &mut Connections<'_>,
    signals: &mut Signals,
    request: &Run,
    before: Option<Duration>,
    job: &Job<O, E>,
) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let first = before.map(|before| since_boot().saturating_sub(before));
    let (known, stdin) = (AtMostOnce::of_before(first), None::<tokio::io::Empty>);
    follow(connections, signals, request, known, job, stdin).await
}

async fn follow<O, E, I>(
    connections: &mut Connections<'_>,
    signals: &mut Signals,
    request: &Run,
    known: AtMostOnce,
    job: &Job<O, E>,
    stdin: Option<I>,
) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
    I: AsyncRead + Unpin,
{
    // A detached job's time limit is its own; the client only waits for its start.
    let limit = request.timeout_ms.filter(|_| request.streams != Streams::Detached);
    let limit = limit.map(Duration::from_millis);
    let outcome = tokio::select! {
        biased;
        outcome = connections.run(request, known, job) => outcome,
        () = overdue::overdue(job, limit) => Outcome::Overdue,
        signal = signals.forward(job) => Outcome::Left { signal, running: job.may_run() },
        () = abandon(job, stdin) => Outcome::NoReader,
        () = drain(job) => unreachable!("it writes for ever"),
    };
    connections.leave();
    local_error(job).unwrap_or(outcome)
}

/// Writes queued output, forever.
async fn drain<O, E>(job: &Job<O, E>)
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    tokio::join!(job.stdout.drain(), job.stderr.drain());
}

/// Reads stdin. If that fails, or the reader of an output is gone, ends the command as a local one would end.
async fn abandon<O, E, I>(job: &Job<O, E>, stdin: Option<I>)
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
    I: AsyncRead + Unpin,
{
    let stdin = async {
        match stdin {
            Some(stdin) => job.read_stdin(stdin).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = job.stdout.failed() => {}
        () = job.stderr.failed() => {}
        () = stdin => {}
    }
    // A command that ignores SIGPIPE may react to SIGTERM.
    job.signal(SIGPIPE);
    job.signal(SIGTERM);
    tokio::time::sleep(ABANDON).await;
}

/// A failure of this process's own streams, which takes precedence over the command's end.
fn local_error<O, E>(job: &Job<O, E>) -> Option<Outcome>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let stdout = job.stdout.take_error().map(|cause| ("write stdout", cause));
    let (doing, cause) = stdout
        .or_else(|| job.stderr.take_error().map(|cause| ("write stderr", cause)))
        .or_else(|| job.take_stdin_error().map(|cause| ("read stdin", cause)))?;
    if cause.kind() == io::ErrorKind::BrokenPipe {
        return Some(Outcome::NoReader);
    }
    Some(Outcome::Failed(RunError::Local { doing, cause }))
}

/// The failure to execute a command.
pub fn not_run(request: &Run, errno: i32) -> Failure {
    let program = match &request.command {
        // A host may have started a word without a shell, as its rules say.
        command if command.words().is_some() => {
            command.words().and_then(<[_]>::first).cloned().unwrap_or_default()
        }
        Command::Shell(_) | Command::Argv(_) => b"/bin/sh".to_vec(),
        Command::Script { body, .. } => Interpreter::of(body).program.to_vec(),
        Command::Login => b"the login shell".to_vec(),
    };
    Failure { action: Action::Start, path: Some(program), cause: Cause::Os(errno) }
}
