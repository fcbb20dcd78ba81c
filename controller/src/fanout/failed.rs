//! Classifies a host's failure for the fan-out summary and the exit status.

use std::time::Duration;

use lariat_client::{AskError, Broken, ConnectError, HostHandle};
use lariat_wire::protocol::failure::Cause;

use super::End;
use crate::error::CliError;

/// Why a host has no outcome.
pub(crate) struct Failed {
    /// Its classification.
    pub(crate) end: End,
    /// Why.
    pub(crate) error: CliError,
}

impl Failed {
    /// The fan-out was interrupted before the host answered.
    pub(crate) fn interrupted() -> Self {
        Self { end: End::NotStarted, error: CliError::new("interrupted").quiet() }
    }

    /// Puts a word or two before a message that begins with its host.
    pub(crate) fn before(self, what: &str) -> Self {
        Self { error: self.error.before(what), ..self }
    }

    /// The connection broke, or the agent reported a failure.
    pub(crate) fn broken(error: Broken, host: &HostHandle) -> Self {
        host.broken(error).into()
    }
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self { end: (&error).into(), error: error.into() }
    }
}

impl From<AskError> for Failed {
    fn from(error: AskError) -> Self {
        let end = match &error {
            AskError::Connect(error) => error.into(),
            AskError::Broken { error: Broken::Link(_), .. } => End::Unreachable,
            AskError::Broken { error: Broken::Failed(failure), .. } => failure.into(),
        };
        let old = match &error {
            AskError::Broken { host, error: Broken::Failed(failure), .. } => {
                matches!(failure.cause, Cause::UnknownRequest(_)).then(|| host.clone())
            }
            _ => None,
        };
        let mut error = CliError::from(error);
        if let Some(host) = old {
            error = error.hint(format!("lariat upgrade {host}"));
        }
        Self { end, error }
    }
}

impl From<CliError> for Failed {
    fn from(error: CliError) -> Self {
        Self { end: error.end(), error }
    }
}

impl From<Failed> for CliError {
    fn from(failed: Failed) -> Self {
        failed.error.counting_as(failed.end)
    }
}

/// Cancels a host's work after the time limit.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    host: &HostHandle,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    let Some(limit) = limit else { return work.await };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        host.outage().give_up();
        Err(CliError::timed_out(limit).during(host.place()).into())
    })
}
