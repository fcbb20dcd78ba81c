//! A terminal on a host, used from the one here.
//!
//! Invariant: however it ends, this end's terminal is what it was before.

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, SIGHUP, Signals};
use lariat_wire::protocol::exec::{Run, Streams};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::keys::{Keys, Left};
use super::raw::{self, Raw, is_terminal};
use crate::commands::report;
use crate::context::Context;
use crate::error::CliError;
use crate::status;
use crate::stdio::{LocalOutput, Stdin};

/// The kind of terminal that is meant when nothing is said.
const TERM: &str = "dumb";

/// How long the host may take to hear that we leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a job's streams are that has a terminal like this one.
pub(in crate::commands) fn streams() -> Streams {
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
    let term = term.unwrap_or_else(|| TERM.to_owned()).into_bytes();
    Streams::Terminal { term, size: raw::size() }
}

/// Variables that say more of the terminal here.
pub(in crate::commands) fn variables() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let value = std::env::var("COLORTERM").ok();
    value.into_iter().map(|value| (b"COLORTERM".to_vec(), value.into_bytes()))
}

/// Why a terminal was left.
enum End {
    Outcome(Outcome),
    /// `~.`
    Left,
    Signal(u8),
}

/// Runs a job in its terminal for `verb`, to its end or until it is left.
pub(in crate::commands) async fn run(
    verb: &str,
    request: &Run,
    handle: &HostHandle,
    with_stdin: bool,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let failed = |what: &'static str| move |e: io::Error| CliError::from(e).during(what);
    let mut signals = Signals::new().map_err(failed("wait for signals"))?;
    let mut connections = Connections::new(handle);
    let left = Left::default();
    let stdin = match (is_terminal(), with_stdin) {
        (true, _) => Some(Stdin::new().map(|stdin| Keys::typed(stdin, left.clone()))),
        (false, true) => Some(Stdin::new().map(Keys::plain)),
        (false, false) => None,
    };
    let stdin = stdin.transpose().map_err(failed("read stdin"))?;
    let stdout = LocalOutput::stdout().map_err(failed("write stdout"))?;
    let stderr = LocalOutput::stderr().map_err(failed("write stderr"))?;
    let job = Job::new(stdout, stderr);
    let raw = Raw::enter().map_err(|e| failed("set up the terminal")(e.into()))?;
    if raw.is_some() {
        context.outages.overlay();
    }
    let end = {
        let running = run::run(&mut connections, &mut signals, request, &job, stdin);
        let mut running = pin!(running);
        let end = tokio::select! {
            biased;
            outcome = &mut running => End::Outcome(outcome),
            () = left.came() => End::Left,
            number = ended() => End::Signal(number.map_err(failed("wait for signals"))?),
            never = resized(&job) => return Err(never).map_err(failed("wait for signals")),
        };
        if !matches!(end, End::Outcome(_)) {
            // Its terminal is gone.
            job.signal(SIGHUP);
            let _ = timeout(GOODBYE, running).await;
        }
        end
    };
    let is_half_seen = job.has_started() && !matches!(end, End::Outcome(Outcome::Ended(_)));
    if raw.is_some() && is_half_seen {
        raw::undo();
    }
    drop(raw);
    let name = handle.name();
    Ok(match end {
        End::Outcome(outcome) => {
            if let Some(error) = report::error(verb, &outcome, handle, request) {
                error.report(context.verbose);
            }
            connections.finish().await;
            ExitCode::from(report::status(&outcome))
        }
        End::Left => {
            crate::output::note(&format!("left {name}"));
            ExitCode::from(status::FAILURE)
        }
        End::Signal(number) => ExitCode::from(status::signal(number)),
    })
}

/// Waits for a signal that would end this process and leave its terminal raw.
async fn ended() -> io::Result<u8> {
    let [mut hangup, mut quit, mut terminate] =
        [SignalKind::hangup(), SignalKind::quit(), SignalKind::terminate()].map(signal);
    let number = tokio::select! {
        _ = hangup.as_mut().map_err(copy)?.recv() => SignalKind::hangup(),
        _ = quit.as_mut().map_err(copy)?.recv() => SignalKind::quit(),
        _ = terminate.as_mut().map_err(copy)?.recv() => SignalKind::terminate(),
    };
    u8::try_from(number.as_raw_value()).map_err(io::Error::other)
}

fn copy(error: &mut io::Error) -> io::Error {
    io::Error::from(error.kind())
}

/// Passes on each new size of the terminal here, for ever.
async fn resized<O, E>(job: &Job<O, E>) -> io::Error
where
    O: tokio::io::AsyncWrite + Unpin,
    E: tokio::io::AsyncWrite + Unpin,
{
    let mut changes = match signal(SignalKind::window_change()) {
        Ok(changes) => changes,
        Err(error) => return error,
    };
    loop {
        changes.recv().await;
        job.resize(raw::size());
    }
}
