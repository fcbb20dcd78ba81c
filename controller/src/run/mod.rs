//! A command on one host: asked for once, followed to its end.
//!
//! [`run`] ends it all; [`Connections`] is one connection after another, [`session`] one of them, and
//! [`Job`] what outlives them.
//! Invariant: what is written here is what the command wrote, every byte once and in order, or the
//! outcome says that it is not.

mod at_most_once;
pub(crate) mod capture;
mod connections;
mod error;
mod input;
mod job;
mod logs;
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
use lariat_wire::limits::MAX_MESSAGE;
use lariat_wire::link::message_frame;
use lariat_wire::protocol::exec::{Command, End, Run, Streams};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use tokio::io::{AsyncRead, AsyncWrite};

use at_most_once::Standing;
pub(crate) use connections::Connections;
pub(crate) use error::{Fate, RunError};
pub(crate) use job::Job;
pub(crate) use logs::{Log, LogsError, Wanted};
pub(crate) use session::Broken;
use signals::SIGPIPE;
pub(crate) use signals::{Relay, SIGHUP, SIGTERM, Signals};

use crate::error::CliError;

/// How long a command whose output has no reader here any more is given to end.
pub(crate) const ABANDON: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The command ended, and all of its output was written.
    Ended(End),
    /// The command was started and goes on by itself.
    Detached,
    /// A second signal, or one before the command was asked for, ended us.
    Left {
        /// The signal.
        signal: u8,
        /// Whether the command may run on there, until the grace time is over.
        running: bool,
    },
    /// The reader of our output went away, and the command was ended for it.
    NoReader,
    /// The command's own time is over, and the host has not said in time how it ended.
    Overdue,
    /// Anything else: the command's end is not known, or its output could not be written.
    Failed(RunError),
}

/// Runs a command and follows it over `connections`. `stdin` is sent to it, if the request says so.
pub(crate) async fn run<O, E, I>(
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
    follow(connections, signals, request, Standing::default(), job, stdin).await
}

/// Goes on with a command that another controller has asked for: looks first what has become of it. It is
/// only asked for if that was done `before` and can't have arrived; never, if nothing is known of when.
pub(crate) async fn resume<O, E>(
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
    let (standing, stdin) = (Standing::of_before(first), None::<tokio::io::Empty>);
    follow(connections, signals, request, standing, job, stdin).await
}

async fn follow<O, E, I>(
    connections: &mut Connections<'_>,
    signals: &mut Signals,
    request: &Run,
    standing: Standing,
    job: &Job<O, E>,
    stdin: Option<I>,
) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
    I: AsyncRead + Unpin,
{
    // A detached job's time is its own: here only its start is waited for.
    let limit = request.timeout_ms.filter(|_| request.streams != Streams::Detached);
    let limit = limit.map(Duration::from_millis);
    let outcome = tokio::select! {
        biased;
        outcome = connections.run(request, standing, job) => outcome,
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

/// What went wrong here counts for more than how the command ended.
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

/// Whether a command can be asked for, for `verb`.
pub(crate) fn check(request: &Run, verb: &str) -> Result<(), CliError> {
    request.check().map_err(|e| CliError::from(e).during(verb))?;
    if message_frame(1, request).is_err() {
        let most = MAX_MESSAGE / 1024;
        let why = format!("{verb}: the command is over {most} KiB long, its environment included");
        return Err(CliError::new(why).hint("lariat run --script FILE, or push a file and name it"));
    }
    Ok(())
}

/// Why a command could not be run, in the words of any other failure.
pub(crate) fn not_run(request: &Run, errno: i32) -> Failure {
    let program = match &request.command {
        Command::Shell(_) => b"/bin/sh".to_vec(),
        Command::Argv(words) => words.first().cloned().unwrap_or_default(),
        Command::Script { body, .. } => Interpreter::of(body).program.to_vec(),
        Command::Login => b"the login shell".to_vec(),
    };
    Failure { action: Action::Start, path: Some(program), cause: Cause::Os(errno) }
}
