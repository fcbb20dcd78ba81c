//! Work that may take longer than a peer that hears nothing would wait: it is done on a thread of its
//! own, while the connection is looked after.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::error::TransferError;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure};

/// Does `work` on a thread, and gives what it tells; what it does after that nobody waits for.
/// `meanwhile` looks after the connection, and ends only when that fails: the work is waited for all the
/// same, for what it has locked the next attempt would find locked.
pub(super) async fn offload<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
    meanwhile: impl Future<Output = TransferError>,
) -> Result<T, TransferError> {
    let (tell, mut done) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || work(tell));
    spawned.map_err(|error| {
        Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
    })?;
    let error = tokio::select! {
        biased;
        done = &mut done => return done.map_err(|_| Failure::request(Cause::Internal).into()),
        error = meanwhile => error,
    };
    // What it says has nobody to go to.
    let _ = done.await;
    Err(error)
}

/// Waits for what ends a dialogue in which the peer has nothing more to say.
pub(super) async fn unexpected<S: AsyncRead + AsyncWrite>(link: &mut Link<S>) -> TransferError {
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
