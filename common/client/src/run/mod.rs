//! A command on one host: asked for once, followed to its end.
//!
//! [`run`] does it all; [`Connections`] is one connection after another, `session` one of them, and [`Job`]
//! outlives them.
//! Invariant: what is written here is what the command wrote, every byte once and in order, or the
//! outcome says that it is not.

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
pub use job::Job;
pub use logs::{Log, LogsError, Wanted};
pub use outcome::Outcome;
use signals::SIGPIPE;
pub use signals::{Relay, SIGHUP, SIGTERM, Signals};

/// How long a command may take to end once its output has no reader here.
pub const ABANDON: Duration = Duration::from_secs(2);

/// Runs a command and follows it over `connections`. `stdin` is sent to it, if the request says so.
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

/// Continues a command that another process has asked for: finds out its state first. The command is asked for
/// again only if it was first asked for this long `before` and the request can't have arrived; never, if that
/// time is not known.
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
    // A detached job keeps its own time; the client waits only for its start.
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

/// Writes queued output, for ever.
async fn drain<O, E>(job: &Job<O, E>)
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    tokio::join!(job.stdout.drain(), job.stderr.drain());
}

/// Reads stdin. Once that fails, or one of the outputs has no reader any more, ends the command as
/// that would have ended it here.
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
    // A command that ignores the one understands the other.
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

/// Why a command could not be run, as any other failure.
pub fn not_run(request: &Run, errno: i32) -> Failure {
    let program = match &request.command {
        Command::Shell(_) => b"/bin/sh".to_vec(),
        Command::Argv(words) => words.first().cloned().unwrap_or_default(),
        Command::Script { body, .. } => Interpreter::of(body).program.to_vec(),
        Command::Login => b"the login shell".to_vec(),
    };
    Failure { action: Action::Start, path: Some(program), cause: Cause::Os(errno) }
}
