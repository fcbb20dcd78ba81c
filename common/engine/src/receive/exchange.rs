//! The receiver's dialogue for one file, from its Have to its Done.

use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::oneshot;

use super::basis_cutter::BasisCutter;
use super::receiver::Receiver;
use super::target::{Receiving, Target};
use crate::cancel::Cancel;
use crate::chunk::rehash;
use crate::error::TransferError;
use crate::file::commit::{CommitOptions, Committed, Sync};
use crate::file::unfinished::Opened;
use crate::offload::{offload, unexpected};
use crate::progress::Progress;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, Writer};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Complete, Done, Hash, Offer};

/// Receives an offered file, and gives it its name when it is complete. `received` is counted up during the
/// transfer, also if this fails.
///
/// After an error the connection must be ended.
pub async fn receive<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    into: impl Into<Receiving>,
    offer: &Offer,
    options: &CommitOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
    transferred: &mut Transferred,
) -> Result<(), TransferError> {
    let outcome = take(link, into.into(), offer, options, progress, cancel, transferred).await;
    match outcome {
        Ok(()) => {
            let Transferred { changed, hash, .. } = *transferred;
            Ok(link.send(&Done { changed, hash }).await?)
        }
        Err(error) => Err(give_up(link, error).await),
    }
}

/// Sends a failure of this end to the sender. What still arrives is dropped by its request's number.
pub(crate) async fn give_up<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    error: TransferError,
) -> TransferError {
    if let TransferError::Local(failure) = &error
        && !link.writer.is_broken()
        && let Err(broken) = link.send(failure).await
    {
        return broken.into();
    }
    error
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    Receiving { target, lanes }: Receiving,
    offer: &Offer,
    options: &CommitOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
    transferred: &mut Transferred,
) -> Result<(), TransferError> {
    let path = target.path();
    let failed = |error| Failure::io(Action::Read, &path, &error);
    link.outbox().post(&target.have())?;
    let size = offer.size.unwrap_or_default();
    let left = match target.left() {
        Some((file, ranges)) => Some(rehash::start(file, size, ranges).map_err(failed)?),
        None => None,
    };
    let cutter = match &target {
        Target::File(opened) => opened.basis.as_ref().map(BasisCutter::start).transpose(),
        Target::Stream(_) => Ok(None),
    };
    let cutter = cutter.map_err(failed)?;
    let mut receiver = Receiver::new(target, offer, progress, cancel, transferred)?;
    if let Some(lanes) = lanes {
        receiver.share(lanes);
    }
    let outbox = link.outbox().clone();
    let outcome = {
        let mut run = Box::pin(receiver.run(&mut link.reader, &outbox, left));
        tokio::select! {
            biased;
            // What has arrived is still taken. At its end the reader fails too.
            _ = write(&mut link.writer, cutter) => run.await,
            done = &mut run => done,
        }
    };
    if let Err(TransferError::Link(_)) = &outcome {
        receiver.keep_rebuilt();
    }
    // Nobody writes into the file any more when it is committed or abandoned.
    let outcome = match receiver.finish_lanes().await {
        Ok(()) => outcome,
        Err(failure) => outcome.and(Err(failure.into())),
    };
    match (outcome, receiver.into_target()) {
        (Ok(complete), Target::File(opened)) => {
            let (committed, hash) = commit(link, *opened, complete, options.clone()).await?;
            transferred.changed = committed != Committed::Unchanged;
            transferred.hash = hash;
            Ok(())
        }
        (Ok(_), Target::Stream(stream)) => {
            transferred.changed = true;
            Ok(stream.finish().await?)
        }
        (Err(error), Target::File(opened)) => {
            opened.file.abandon(cause(&error));
            Err(error)
        }
        // The stream has the cause.
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

/// Sends the pieces of the basis as they are cut, and what is posted, until something fails.
async fn write<W: AsyncWrite>(
    writer: &mut Writer<WriteHalf<W>>,
    cutter: Option<BasisCutter>,
) -> TransferError {
    if let Some(cutter) = cutter
        && let Err(error) = cutter.send(writer).await
    {
        return error.into();
    }
    writer.drive().await.into()
}

/// Commits on a thread of its own: to sync a large file to a slow disk may take longer than a silent peer is
/// waited for.
async fn commit<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    opened: Opened,
    complete: Complete,
    options: CommitOptions,
) -> Result<(Committed, Option<Hash>), TransferError> {
    let Opened { file, basis, .. } = opened;
    let work = move |done: oneshot::Sender<_>| {
        // Fails only when the transfer is over.
        let _ = done.send(file.commit(complete, &options, Sync::First));
        // The replaced file is freed by its last close. For a large one that takes time, which the transfer need
        // not wait for.
        drop(basis);
    };
    Ok(offload("commit", work, unexpected(link)).await??)
}
