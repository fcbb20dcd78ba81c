//! The receiver: says what it has, takes what is missing, and puts the complete file in its place.

mod chunk;
mod cutting;
mod rebuild;
mod receiving;
mod sink;
mod writing;

use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::oneshot;

use self::cutting::Cutting;
pub(super) use self::receiving::Receiver;
pub use self::sink::{Stream, Target};
use super::commit::{CommitOptions, Committed, Sync};
use super::error::TransferError;
use super::offload::{offload, unexpected};
use super::unfinished::Opened;
use super::{Cancel, Progress, rehash};
use lariat_wire::link::{Link, Writer};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Done, Offer};

/// What a receiver did, whether it came to the end or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of the file that they stand for.
    pub moved: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// Whether the file was another one before, or had another mode, time or the like.
    pub changed: bool,
}

/// Receives an offered file, and gives it its name when it is complete. `received` counts as it goes,
/// also when this fails.
///
/// After an error the connection must be ended.
pub async fn receive<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Target,
    offer: &Offer,
    placing: &CommitOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
    received: &mut Received,
) -> Result<(), TransferError> {
    let outcome = take(link, target, offer, placing, progress, cancel, received).await;
    match outcome {
        Ok(()) => Ok(link.send(&Done { changed: received.changed }).await?),
        Err(error) => Err(give_up(link, error).await),
    }
}

/// Tells the sender why no more is taken, if that was decided here. What still arrives is dropped by its
/// number.
pub(super) async fn give_up<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    error: TransferError,
) -> TransferError {
    if let TransferError::Local(failure) = &error
        && !link.writer.is_broken()
    {
        if let Err(broken) = link.send(failure).await {
            return broken.into();
        }
    }
    error
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Target,
    offer: &Offer,
    placing: &CommitOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
    received: &mut Received,
) -> Result<(), TransferError> {
    let path = target.path();
    let failed = |error| Failure::io(Action::Read, &path, &error);
    link.outbox().post(&target.have())?;
    let size = offer.size.unwrap_or_default();
    let left = match target.left() {
        Some((file, ranges)) => Some(rehash::start(file, size, ranges).map_err(failed)?),
        None => None,
    };
    let cutting = match &target {
        Target::File(opened) => opened.basis.as_ref().map(Cutting::start).transpose(),
        Target::Stream(_) => Ok(None),
    };
    let cutting = cutting.map_err(failed)?;
    let mut taking = Receiver::new(target, offer, progress, cancel, received)?;
    let outbox = link.outbox().clone();
    let outcome = {
        let mut run = Box::pin(taking.run(&mut link.reader, &outbox, left));
        tokio::select! {
            biased;
            // What has arrived is taken all the same; when there is no more, the reader fails too.
            _ = tell(&mut link.writer, cutting) => run.await,
            taken = &mut run => taken,
        }
    };
    if let Err(TransferError::Link(_)) = &outcome {
        taking.keep_rebuilt();
    }
    match (outcome, taking.into_target()) {
        (Ok(size), Target::File(opened)) => {
            let committed = commit(link, *opened, size, placing.clone()).await?;
            received.changed = committed != Committed::Unchanged;
            Ok(())
        }
        (Ok(_), Target::Stream(stream)) => {
            received.changed = true;
            Ok(stream.finish().await?)
        }
        (Err(error), Target::File(opened)) => {
            opened.partial.abandon(cause(&error));
            Err(error)
        }
        // Why it failed, the stream itself knows best.
        (Err(_), Target::Stream(stream)) if stream.has_failed() => Ok(stream.finish().await?),
        (Err(error), Target::Stream(_)) => Err(error),
    }
}

fn cause(error: &TransferError) -> &Cause {
    match error {
        TransferError::Local(failure)
        | TransferError::Remote(failure)
        | TransferError::Missed(failure) => &failure.cause,
        TransferError::Link(_) => &Cause::Stopping,
    }
}

/// Sends the basis' pieces as they are cut, and what is posted, until something fails.
async fn tell<W: AsyncWrite>(
    writer: &mut Writer<WriteHalf<W>>,
    cutting: Option<Cutting>,
) -> TransferError {
    if let Some(cutting) = cutting
        && let Err(error) = cutting.tell(writer).await
    {
        return error.into();
    }
    writer.drive().await.into()
}

/// Commits on a thread of its own: forcing a large file to a slow disk may take longer than a peer
/// that hears nothing would wait.
async fn commit<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    opened: Opened,
    size: u64,
    placing: CommitOptions,
) -> Result<Committed, TransferError> {
    let Opened { partial, basis, .. } = opened;
    let work = move |done: oneshot::Sender<_>| {
        // Fails only when nobody waits for it any more.
        let _ = done.send(partial.commit(size, &placing, Sync::First));
        // The replaced file goes when nobody has it open any more; a large one takes its time, which
        // nobody needs to wait for.
        drop(basis);
    };
    Ok(offload("commit", work, unexpected(link)).await??)
}
