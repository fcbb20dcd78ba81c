//! The destination of one host's results, and its source of signals: this process's own streams and signals for
//! a single host, the shared printers and the relay for one of many.

use std::future::pending;
use std::sync::Arc;

use lariat_base::name::HostName;
use lariat_client::run::{Job, Log, Relay, Signals};

use super::Sink;
use crate::capture::Capture;
use crate::error::CliError;
use crate::outages::Outages;
use crate::output;
use crate::output::printer::Printer;
use crate::stdio::LocalOutput;

/// How a host's work is presented.
#[derive(Clone)]
pub(crate) enum Outlet {
    /// A single host: plain bytes.
    Own { verbose: bool, outages: Outages },
    /// One of many hosts: whole lines with the host's name.
    Shared { stdout: Printer, stderr: Printer, relay: Arc<Relay> },
}

impl Outlet {
    /// The signals that the work handles itself: this process's own, or those relayed to all hosts.
    pub(crate) fn signals(&self) -> Result<Signals, CliError> {
        match self {
            Self::Own { .. } => {
                Signals::new().map_err(|e| CliError::from(e).during("wait for signals"))
            }
            Self::Shared { relay, .. } => Ok(relay.signals()),
        }
    }

    /// Resolves when many hosts must abandon their work. For a single host, a signal ends the process.
    pub(crate) async fn interrupted(&self) {
        match self {
            Self::Own { .. } => pending().await,
            Self::Shared { relay, .. } => drop(relay.signals().next().await),
        }
    }

    /// The destinations of a host's stdout and stderr.
    pub(crate) fn streams(&self, host: &HostName) -> Result<(Sink, Sink), CliError> {
        let own = || Ok((LocalOutput::stdout()?, LocalOutput::stderr()?));
        Ok(match self {
            Self::Own { .. } => {
                let (stdout, stderr) =
                    own().map_err(|e: std::io::Error| CliError::from(e).during("write output"))?;
                (Sink::Own(stdout), Sink::Own(stderr))
            }
            Self::Shared { stdout, stderr, .. } => {
                let lines = |printer| Sink::lines(host, printer);
                (lines(stdout), lines(stderr))
            }
        })
    }

    /// Destinations that capture both streams.
    pub(crate) fn captures(&self) -> (Sink, Sink) {
        let kept = || match self {
            Self::Own { .. } => Sink::Kept(Box::default()),
            Self::Shared { .. } => Sink::Kept(Box::new(Capture::one_of_many())),
        };
        (kept(), kept())
    }

    /// A command whose output goes to these destinations.
    pub(crate) fn job(&self, (stdout, stderr): (Sink, Sink)) -> Job<Sink, Sink> {
        match self {
            Self::Own { .. } => Job::new(stdout, stderr),
            Self::Shared { .. } => Job::one_of_many(stdout, stderr),
        }
    }

    /// A detached job's log that goes to these destinations.
    pub(crate) fn log(&self, (stdout, stderr): (Sink, Sink)) -> Log<Sink, Sink> {
        match self {
            Self::Own { .. } => Log::new(stdout, stderr),
            Self::Shared { .. } => Log::one_of_many(stdout, stderr),
        }
    }

    /// Waits until there is room for a result.
    pub(crate) async fn room(&self) {
        if let Self::Shared { stdout, .. } = self {
            stdout.room().await;
        }
    }

    /// Writes a result.
    pub(crate) fn put(&self, result: &[u8]) -> Result<(), CliError> {
        match self {
            Self::Own { .. } => output::bytes(result),
            Self::Shared { stdout, .. } => {
                stdout.put(result);
                Ok(())
            }
        }
    }

    /// Writes a line on stderr.
    pub(crate) fn tell(&self, line: &str) {
        match self {
            Self::Own { .. } => output::notes::because(line),
            Self::Shared { stderr, .. } => stderr.put(format!("{line}\n").as_bytes()),
        }
    }

    /// Sends results to stderr, because stdout is used for other ones.
    pub(crate) fn on_stderr(&self) -> Self {
        match self {
            Self::Own { .. } => self.clone(),
            Self::Shared { stderr, relay, .. } => {
                let (stdout, relay) = (stderr.clone(), Arc::clone(relay));
                Self::Shared { stdout, stderr: stderr.clone(), relay }
            }
        }
    }
}
