//! A command on one host: asked for once, followed to its end.
//!
//! [`run`] is the loop over connections; [`session`] is one of them; [`Job`] is what outlives it.
//! Invariant: what is written here is what the command wrote, every byte once and in order, or the
//! outcome says that it is not.

pub(crate) mod capture;
mod input;
mod job;
mod output;
mod session;
mod signals;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io;
use std::time::Duration;

use lariat_common::protocol::exec::{Command, End, Run};
use lariat_common::protocol::failure::{Action, Cause, Failure, io_error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connect::{ConnectError, Session};
use crate::reach::Reach;
pub(crate) use job::Job;
pub(crate) use session::Broken;
use signals::{SIGPIPE, SIGTERM};

/// How long a command whose output has no reader here any more is given to end.
const ABANDON: Duration = Duration::from_secs(2);

/// What is left to say when the connection broke during a command.
const STARTED: &str = "; the command was running, and is ended there unless it ended by itself";

/// What is left to say when it broke before the command was seen to run.
const UNKNOWN: &str = "; it is not known whether the command ran";

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The command ended, and all of its output was written.
    Ended(End),
    /// A second signal, or one before the command ran, ended us.
    Left {
        /// The signal.
        signal: u8,
        /// Whether the command runs on there, until the grace time is over.
        running: bool,
    },
    /// The reader of our output went away, and the command was ended for it.
    NoReader,
    /// Anything else: the command's end is not known, or its output could not be written.
    Failed(RunError),
}

/// Why a command was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The host was not reached.
    #[error("{0}{hint}", hint = if .0.may_have_asked() { UNKNOWN } else { "" })]
    Connect(#[from] ConnectError),
    /// The agent could not do it.
    #[error("{0}")]
    Failed(Failure),
    /// The connection broke, or the agent is stopping.
    #[error("{cause}{hint}", hint = if *.started { STARTED } else { UNKNOWN })]
    Broken {
        /// Why.
        cause: Broken,
        /// Whether the command is known to have been started.
        started: bool,
    },
    /// One of this process's own streams failed.
    #[error("{doing}: {}", io_error(.cause))]
    Local {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// Signals can't be waited for.
    #[error("wait for signals: {}", io_error(.0))]
    Signals(io::Error),
}

/// Runs a command and follows it. `stdin` is sent to it, if the request says so.
pub(crate) async fn run<O, E, I>(
    reach: &Reach,
    request: &Run,
    job: &Job<O, E>,
    stdin: Option<I>,
) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
    I: AsyncRead + Unpin,
{
    let outcome = tokio::select! {
        biased;
        outcome = connections(reach, request, job) => outcome,
        left = signals::forward(job) => match left {
            Ok(signal) => Outcome::Left { signal, running: job.has_started() },
            Err(error) => Outcome::Failed(RunError::Signals(error)),
        },
        () = abandon(job, stdin) => Outcome::NoReader,
        () = drain(job) => unreachable!("it writes for ever"),
    };
    local_error(job).unwrap_or(outcome)
}

/// One connection after another, until the command's end is known or nothing more can be done.
async fn connections<O, E>(reach: &Reach, request: &Run, job: &Job<O, E>) -> Outcome
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let mut session = match reach.connect(request).await {
        Ok(session) => session,
        Err(error) => return Outcome::Failed(error.into()),
    };
    let followed = session::follow(&mut session.link, job).await;
    match followed {
        Ok(exit) => {
            end(session).await;
            Outcome::Ended(exit.end)
        }
        Err(Broken::Failed(failure)) => {
            end(session).await;
            Outcome::Failed(RunError::Failed(failure))
        }
        // Coming back after a cut begins here.
        Err(cause) => {
            // What did come is the command's, and is written.
            tokio::join!(job.stdout.drained(), job.stderr.drained());
            Outcome::Failed(RunError::Broken { cause, started: job.has_started() })
        }
    }
}

/// Ends a connection in order. Whether the agent sees it changes nothing.
async fn end(mut session: Session) {
    let _ = timeout(Duration::from_secs(1), session.link.writer.finish()).await;
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

/// Why a command could not be run, in the words of any other failure.
pub(crate) fn not_run(request: &Run, errno: i32) -> Failure {
    let program = match &request.command {
        Command::Shell(_) => b"/bin/sh".to_vec(),
        Command::Argv(words) => words.first().cloned().unwrap_or_default(),
    };
    Failure { action: Action::Start, path: Some(program), cause: Cause::Os(errno) }
}
