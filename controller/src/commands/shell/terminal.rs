//! Uses a terminal on a host from the local one.
//!
//! Invariant: the local terminal's settings are restored in every case.

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::seconds;
use lariat_client::HostHandle;
use lariat_client::run::{self, Connections, Job, Outcome, SIGHUP, Signals};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::keys::{Keys, Left};
use super::raw::{self, Raw, is_terminal};
use crate::commands::report;
use crate::context::Context;
use crate::encoding::{Conversion, HostEncoding};
use crate::error::CliError;
use crate::fanout::Sink;
use crate::output::style::Paint;
use crate::status;
use crate::stdio::{LocalOutput, Stdin};
use crate::{notes, output};

/// The default of TERM.
const TERM: &str = "dumb";

/// Time limit for telling the host that the terminal is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// The streams of a job with a terminal like the local one.
pub(in crate::commands) fn streams() -> Streams {
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
    let term = term.unwrap_or_else(|| TERM.to_owned()).into_bytes();
    Streams::Terminal { term, size: raw::size() }
}

/// Environment variables that describe the local terminal.
pub(in crate::commands) fn variables() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let value = std::env::var("COLORTERM").ok();
    value.into_iter().map(|value| (b"COLORTERM".to_vec(), value.into_bytes()))
}

/// Why the terminal was closed.
enum End {
    Outcome(Outcome),
    /// `~.`
    Left,
    Signal(u8),
}

/// How the local terminal is used.
pub(in crate::commands) struct Local {
    /// Stdin is sent even if it is no terminal.
    pub(in crate::commands) with_stdin: bool,
    /// The encoding of text on the host, if it differs.
    pub(in crate::commands) encoding: Option<HostEncoding>,
}

/// Runs a job in its terminal for `verb`, until it ends or the user disconnects.
pub(in crate::commands) async fn run(
    verb: &str,
    request: &Run,
    handle: &HostHandle,
    Local { with_stdin, encoding }: Local,
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
    let conversion = Conversion::new(encoding);
    let stdin = stdin.map(|stdin| conversion.stdin(stdin));
    let stdout = LocalOutput::stdout().map_err(failed("write stdout"))?;
    let stderr = LocalOutput::stderr().map_err(failed("write stderr"))?;
    let (stdout, stderr) = Sink::decoding((Sink::Own(stdout), Sink::Own(stderr)), encoding);
    let host = handle.name().clone();
    let job = Job::new(stdout, stderr).telling(move |told| {
        let now = seconds(SystemTime::now());
        if let Some(line) = notes::lines(&host, &told, now, Paint::stderr()) {
            // The terminal is raw. A closed stderr has no consequences.
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("\r{line}\r\n").as_bytes());
        }
    });
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
            // The local terminal is about to be closed.
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
    let (stdout, stderr) = job.into_outputs();
    let told = conversion.told_output(stdout.replaced(), stderr.replaced());
    for told in told.into_iter().chain(conversion.told_stdin()) {
        output::notes::because(&format!("lariat: {verb} on {name}: {told}"));
    }
    Ok(match end {
        End::Outcome(outcome) => {
            if let Some(error) = report::error(verb, &outcome, handle, request) {
                error.report(context.verbose);
            }
            let unread = connections.unread_notes();
            connections.finish().await;
            if unread > 0 && request.command != Command::Login {
                notes::show(handle).await;
            }
            ExitCode::from(report::status(&outcome))
        }
        End::Left => {
            output::note(&format!("left {name}"));
            ExitCode::from(status::FAILURE)
        }
        End::Signal(number) => ExitCode::from(status::signal(number)),
    })
}

/// Waits for a signal that would otherwise end this process with a raw terminal.
async fn ended() -> io::Result<u8> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let number = tokio::select! {
        _ = hangup.recv() => SignalKind::hangup(),
        _ = quit.recv() => SignalKind::quit(),
        _ = terminate.recv() => SignalKind::terminate(),
    };
    u8::try_from(number.as_raw_value()).map_err(io::Error::other)
}

/// Forwards each change of the local terminal's size.
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
