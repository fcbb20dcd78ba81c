//! The receiver: says what it has, takes what is missing, and puts the complete file in its place.

mod rebuild;
mod receiving;
mod sink;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use self::receiving::Receiver;
pub use self::sink::{Stream, Target};
use super::commit::Finish;
use super::delta::Cutter;
use super::error::TransferError;
use super::partial::{Opened, Partial};
use super::send::{cut, encode_piece};
use super::{Cancel, Progress, rehash};
use crate::link::{Link, LinkError, Writer};
use crate::protocol::failure::{Action, Cause, Failure};
use crate::protocol::transfer::{Done, Offer};
use crate::protocol::{Kind, Message};

/// How long the sender may take to notice that the receiver has failed.
const DRAIN: Duration = Duration::from_secs(10);

/// What a receiver did, whether it came to the end or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of the file that they stand for.
    pub moved: u64,
    /// The file's size in bytes.
    pub size: u64,
}

/// Receives an offered file, and gives it its name when it is complete. `received` counts as it goes,
/// also when this fails.
///
/// After an error the connection must be ended.
pub async fn receive<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Target,
    offer: &Offer,
    finish: &Finish,
    progress: &dyn Progress,
    cancel: &Cancel,
    received: &mut Received,
) -> Result<(), TransferError> {
    let path = target.path();
    let outcome = take(link, target, offer, finish, progress, cancel, received).await;
    match outcome {
        Ok(()) => Ok(link.send(&Done { path }).await?),
        Err(error) => {
            if let TransferError::Local(failure) = &error
                && !link.writer.is_broken()
            {
                link.send(failure).await?;
                link.drain(DRAIN).await;
            }
            Err(error)
        }
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Target,
    offer: &Offer,
    finish: &Finish,
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
    let pieces = match &target {
        Target::File(Opened { basis: Some(basis), .. }) => {
            let cutter = Cutter::new(basis.file.clone(), basis.size, basis.params, basis.seed);
            Some(cut(cutter).map_err(failed)?)
        }
        _ => None,
    };
    let mut taking = Receiver::new(target, offer, progress, cancel, received)?;
    let outbox = link.outbox().clone();
    let outcome = tokio::select! {
        biased;
        error = tell(&mut link.writer, pieces) => Err(error),
        taken = taking.run(&mut link.reader, &outbox, left) => taken,
    };
    match (outcome, taking.into_target()) {
        (Ok(size), Target::File(opened)) => {
            commit(link, opened.partial, offer.clone(), size, finish.clone()).await
        }
        (Ok(_), Target::Stream(stream)) => Ok(stream.finish().await?),
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
        TransferError::Local(failure) | TransferError::Remote(failure) => &failure.cause,
        TransferError::Link(_) => &Cause::Stopping,
    }
}

/// Sends the basis' pieces as they are cut, and what is posted, until something fails.
async fn tell<W: AsyncWrite>(
    writer: &mut Writer<WriteHalf<W>>,
    pieces: Option<mpsc::Receiver<std::io::Result<Vec<super::delta::Piece>>>>,
) -> TransferError {
    if let Some(mut pieces) = pieces {
        let mut bytes = Vec::new();
        loop {
            let batch = tokio::select! {
                biased;
                error = writer.drive() => return error.into(),
                batch = pieces.recv() => batch,
            };
            let Some(batch) = batch else { break };
            // A basis that can't be read on is told of as it is: shorter than it was said to be.
            let Ok(batch) = batch else {
                return Failure::request(Cause::SourceShrank).into();
            };
            bytes.clear();
            batch.iter().for_each(|piece| bytes.extend_from_slice(&encode_piece(piece)));
            if let Err(error) = writer.bulk(Kind::Pieces, &[], &bytes).await {
                return error.into();
            }
        }
    }
    writer.drive().await.into()
}

/// Commits on a thread of its own: forcing a large file to a slow disk may take longer than a peer
/// that hears nothing would wait.
async fn commit<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    partial: Partial,
    offer: Offer,
    size: u64,
    finish: Finish,
) -> Result<(), TransferError> {
    let (done, mut committed) = oneshot::channel();
    let failed = partial.failed(Action::Sync);
    let thread = std::thread::Builder::new().name("commit".to_owned());
    let work = move || {
        // Fails only when nobody waits for it any more.
        let _ = done.send(partial.commit(&offer, size, &finish));
    };
    thread.spawn(work).map_err(failed)?;
    tokio::select! {
        biased;
        committed = &mut committed => match committed {
            Ok(committed) => Ok(committed?),
            Err(_) => Err(Failure::request(Cause::Internal).into()),
        },
        frame = link.next() => match frame?.map(|frame| frame.kind) {
            Some(Failure::KIND) => Err(TransferError::Remote(link.reader.message()?)),
            Some(other) => Err(LinkError::Unexpected(other).into()),
            None => Err(LinkError::Cut.into()),
        }
    }
}
