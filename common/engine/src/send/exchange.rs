//! The sender's dialogue for one file, from the receiver's Have to its Done.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::sync::mpsc;

use super::options::{Ending, SendOptions};
use super::receiver_message::ReceiverMessage;
use super::sender::Sender;
use crate::cancel::Cancel;
use crate::chunk::reconcile::indices;
use crate::chunk::rehash;
use crate::delta::Params;
use crate::error::TransferError;
use crate::progress::Progress;
use crate::source::Source;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError, Reader};
use lariat_wire::memory::NoMemory;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Done, HASH_LEN, Hashes, Have, PIECE_LEN};
use lariat_wire::protocol::{Kind, Message};

/// How long a failure may take to be sent to a peer that does not read.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a file that has been offered: waits for what the receiver has, and returns when the file is
/// on its disk. `sent` is counted up during the transfer, also if this fails.
///
/// After an error the connection must be ended.
pub async fn send<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    how: impl Into<SendOptions>,
    progress: &dyn Progress,
    cancel: &Cancel,
    sent: &mut Transferred,
) -> Result<Done, TransferError> {
    let how = how.into();
    let _ending = Ending(how.lanes.clone());
    let have = receive_have(link, source).await?;
    send_having(link, source, &have, how, progress, cancel, sent).await
}

/// Sends a file whose receiver has said what it has; see [`send`].
pub(crate) async fn send_having<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    have: &Have,
    how: impl Into<SendOptions>,
    progress: &dyn Progress,
    cancel: &Cancel,
    sent: &mut Transferred,
) -> Result<Done, TransferError> {
    let SendOptions { sending: how, lanes } = how.into();
    let size = source.offer().size.unwrap_or_default();
    let had: u64 = indices(&have.chunks).map(|index| rehash::chunk_len(size, index) as u64).sum();
    let had = had + have.begun.map_or(0, |begun| u64::from(begun.len));
    progress.begin(source.offer().size, had);
    let (messages, received) = mpsc::unbounded_channel();
    let allowed = Allowed {
        hashes: if have.basis.is_some() {
            source.offer().chunks()
        } else {
            indices(&have.compared()).count() as u64
        },
        pieces: have.basis.map_or(0, |basis| {
            let params = Params::from_average_log2(basis.average_log2);
            params.map_or(0, |params| params.most_pieces(basis.size))
        }),
    };
    // The receiver's messages are kept until they are used, and its pieces to the end.
    let mut charge = link.outbox().memory().charge();
    let bytes = (allowed.hashes + allowed.pieces).saturating_mul(HASH_LEN as u64);
    if charge.set(usize::try_from(bytes).unwrap_or(usize::MAX)).is_err() {
        let failure = Failure::from(NoMemory);
        send_failure(link, &failure).await;
        return Err(failure.into());
    }
    let failing = source.failing();
    let mut sender = Sender::new(&mut link.writer, source, how, progress, cancel, sent)?;
    let outcome = tokio::select! {
        biased;
        done = listen(&mut link.reader, allowed, messages) => done,
        error = sender.run(have, received, lanes.as_ref()) => Err(error),
        cause = cancel.cancelled() => Err(failing(cause).into()),
    };
    let outcome = outcome.and_then(|done| match (sent.hash, done.hash) {
        (None, _) if how.hash => {
            Err(TransferError::misbehaved("it is done before everything was sent"))
        }
        (Some(ours), Some(theirs)) if ours != theirs => {
            let failure = failing(Cause::Mismatch);
            Err(Failure { action: Action::Verify, ..failure }.into())
        }
        _ => Ok(done),
    });
    match &outcome {
        Ok(done) => sent.changed = done.changed,
        Err(TransferError::Local(failure)) => send_failure(link, failure).await,
        Err(_) => {}
    }
    outcome
}

/// Sends a failure of this end to the peer, which reads on until it arrives.
pub(crate) async fn send_failure<S: AsyncRead + AsyncWrite>(link: &mut Link<S>, failure: &Failure) {
    if !link.writer.is_broken() {
        // A peer that does not read it sees the end of the connection instead.
        let _ = tokio::time::timeout(FAILURE_TIMEOUT, link.send(failure)).await;
    }
}

async fn receive_have<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &Source,
) -> Result<Have, TransferError> {
    let frame = link.next().await?.ok_or(LinkError::Cut)?;
    match frame.kind {
        Have::KIND => {
            let have: Have = link.reader.message()?;
            check_have(&have, source)?;
            Ok(have)
        }
        Failure::KIND => Err(TransferError::Remote(link.reader.message()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

/// Checks a Have against the source.
pub(crate) fn check_have(have: &Have, source: &Source) -> Result<(), TransferError> {
    let size = source.offer().size.unwrap_or_default();
    let strange = have.basis.is_some() && source.offer().chunks() < 2;
    if strange || have.check(size).is_err() {
        return Err(TransferError::misbehaved("it has chunks that do not exist"));
    }
    Ok(())
}

/// How much the receiver may still send. Its messages are queued, so they must be bounded and not empty.
struct Allowed {
    hashes: u64,
    pieces: u64,
}

/// Reads the receiver's messages until it has the file or has failed.
async fn listen<R: AsyncRead>(
    reader: &mut Reader<ReadHalf<R>>,
    mut allowed: Allowed,
    messages: mpsc::UnboundedSender<ReceiverMessage>,
) -> Result<Done, TransferError> {
    loop {
        let frame = reader.next().await?.ok_or(LinkError::Cut)?;
        let message = match frame.kind {
            Hashes::KIND => {
                let hashes: Hashes = reader.message()?;
                let left = allowed.hashes.checked_sub(hashes.hashes.len() as u64);
                allowed.hashes = left.filter(|_| !hashes.hashes.is_empty()).ok_or(
                    TransferError::misbehaved("it hashed more chunks than it said it has"),
                )?;
                ReceiverMessage::Hashes(hashes)
            }
            Kind::Pieces => {
                let pieces = frame.len / PIECE_LEN;
                let left = allowed.pieces.checked_sub(pieces as u64);
                let whole = pieces > 0 && frame.len == pieces * PIECE_LEN;
                allowed.pieces = left.filter(|_| whole).ok_or(TransferError::misbehaved(
                    "its basis has more pieces than it can have",
                ))?;
                let mut bytes = vec![0; frame.len];
                reader.bulk(&mut bytes).await?;
                ReceiverMessage::Pieces(bytes)
            }
            Done::KIND => return Ok(reader.message()?),
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        };
        // Fails only when the sender has failed, which its own future returns.
        let _ = messages.send(message);
    }
}
