//! The bytes of a connection in frames, for every request that ends as a pipe.

use lariat_wire::link::{Link, LinkError};
use lariat_wire::pipe::{Carried, PipeError, pipe};
use lariat_wire::protocol::failure::{Action, Failure};
use tokio::io::{AsyncRead, AsyncWrite, split};

use crate::core::{Done, Outcome, Session};

/// Carries bytes in frames until both directions have ended, or until `stopped`.
pub(super) async fn framed<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    stream: impl AsyncRead + AsyncWrite,
    address: &str,
    stopped: impl Future<Output = Outcome>,
) -> Result<Outcome, LinkError> {
    let (Carried { sent, received }, result) = tokio::select! {
        biased;
        outcome = stopped => return Ok(outcome),
        ended = pipe(link, split(stream)) => ended,
    };
    match result {
        Ok(()) => Ok(carried(sent + received)),
        Err(PipeError::Local(error)) => {
            Ok(Outcome::Failed(Failure::io(Action::Connect, address.as_bytes(), &error)))
        }
        Err(error @ PipeError::GivenUp) => Ok(Outcome::Over(error.to_string())),
        Err(PipeError::Link(error)) => Err(error),
    }
}

/// Waits until the session, or the request that it serves, is to end, and returns the outcome. Cancel-safe.
pub(super) async fn stopped(session: &Session) -> Outcome {
    session.stopped().await;
    session
        .stop_cause()
        .map_or(Outcome::Abandoned, |cause| Outcome::Failed(Failure::request(cause)))
}

/// The outcome of a connection that has carried this many bytes to its end.
pub(super) fn carried(bytes: u64) -> Outcome {
    Outcome::Done(Done { text: format!("{bytes} bytes"), bytes: Some(bytes), ..Done::default() })
}
