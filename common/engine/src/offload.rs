//! Runs work that may take longer than a silent peer is waited for on a thread of its own, while the connection
//! is served.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::error::TransferError;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure};

/// Runs `work` on a thread, and returns the result that it sends. What it does after that is not waited for.
/// `meanwhile` serves the connection, and ends only with an error. Even then the work is waited for, because the
/// next attempt would find its locks.
pub(crate) async fn offload<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
    meanwhile: impl Future<Output = TransferError>,
) -> Result<T, TransferError> {
    let (result, mut done) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || work(result));
    spawned.map_err(|error| {
        Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
    })?;
    let error = tokio::select! {
        biased;
        done = &mut done => return done.map_err(|_| Failure::request(Cause::Internal).into()),
        error = meanwhile => error,
    };
    // The connection has failed, so the result is dropped.
    let _ = done.await;
    Err(error)
}

/// Waits for the end of a dialogue in which no message of the peer is expected.
pub(crate) async fn unexpected<S: AsyncRead + AsyncWrite>(link: &mut Link<S>) -> TransferError {
    let frame = match link.next().await {
        Ok(frame) => frame.map(|frame| frame.kind),
        Err(error) => return error.into(),
    };
    match frame {
        Some(Failure::KIND) => match link.reader.message() {
            Ok(failure) => TransferError::Remote(failure),
            Err(error) => error.into(),
        },
        Some(other) => LinkError::Unexpected(other).into(),
        None => LinkError::Cut.into(),
    }
}
