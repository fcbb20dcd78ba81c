//! The sender: reads, hashes and sends what the receiver does not have.

mod delta;
mod pace;
mod planning;
mod sending;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::sync::mpsc;

pub(super) use self::pace::Pace;
pub(super) use self::sending::Sender;
use super::delta::Params;
use super::error::TransferError;
use super::reconcile::indices;
use super::{Cancel, Progress, Source, rehash};
use lariat_wire::link::{Link, LinkError, Reader};
use lariat_wire::memory::NoMemory;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::{Done, HASH_LEN, Hashes, Have, PIECE_LEN, Sending};
use lariat_wire::protocol::{Kind, Message};

/// How long a peer that does not read is waited for, when it is told of a failure.
const TELL: Duration = Duration::from_secs(2);

/// What a sender did, whether it came to the end or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of bodies on the wire.
    pub sent: u64,
    /// Bytes of the file that they stand for.
    pub moved: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// Whether the file was another one at the receiver, or had another mode, time or the like.
    pub changed: bool,
}

/// What the receiver says while the sender sends.
enum Heard {
    Hashes(Hashes),
    Pieces(Vec<u8>),
}

/// Sends a file that has been offered: waits for what the receiver has, and returns when the file is
/// on its disk. `sent` counts as it goes, also when this fails.
///
/// After an error the connection must be ended: what is under way on it is not known.
pub async fn send<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    how: Sending,
    progress: &dyn Progress,
    cancel: &Cancel,
    sent: &mut Sent,
) -> Result<Done, TransferError> {
    let have = receive_have(link, source).await?;
    send_having(link, source, &have, how, progress, cancel, sent).await
}

/// The same, once the receiver has said what it has.
pub(super) async fn send_having<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    have: &Have,
    how: Sending,
    progress: &dyn Progress,
    cancel: &Cancel,
    sent: &mut Sent,
) -> Result<Done, TransferError> {
    let size = source.offer().size.unwrap_or_default();
    let had: u64 = indices(&have.chunks).map(|index| rehash::chunk_len(size, index) as u64).sum();
    let had = had + have.begun.map_or(0, |begun| u64::from(begun.len));
    progress.begin(source.offer().size, had);
    let (heard, hearing) = mpsc::unbounded_channel();
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
    // What the receiver says is kept until it is looked at, and its pieces to the end.
    let mut kept = link.outbox().memory().charge();
    let bytes = (allowed.hashes + allowed.pieces).saturating_mul(HASH_LEN as u64);
    if kept.set(usize::try_from(bytes).unwrap_or(usize::MAX)).is_err() {
        let failure = Failure::from(NoMemory);
        tell(link, &failure).await;
        return Err(failure.into());
    }
    let failing = source.failing();
    let mut sender = Sender::new(&mut link.writer, source, how, progress, cancel, sent)?;
    let outcome = tokio::select! {
        biased;
        done = listen(&mut link.reader, allowed, heard) => done,
        error = sender.run(have, hearing) => Err(error),
        cause = cancel.cancelled() => Err(failing(cause).into()),
    };
    match &outcome {
        Ok(done) => sent.changed = done.changed,
        Err(TransferError::Local(failure)) => tell(link, failure).await,
        Err(_) => {}
    }
    outcome
}

/// Tells the peer why there is no more to come.
pub(super) async fn tell<S: AsyncRead + AsyncWrite>(link: &mut Link<S>, failure: &Failure) {
    if !link.writer.is_broken() {
        // A peer that does not take it sees the connection end, which is as good.
        let _ = tokio::time::timeout(TELL, link.send(failure)).await;
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

/// Checks what the receiver says it has of a source.
pub(super) fn check_have(have: &Have, source: &Source) -> Result<(), TransferError> {
    let size = source.offer().size.unwrap_or_default();
    let strange = have.basis.is_some() && source.offer().chunks() < 2;
    if strange || have.check(size).is_err() {
        return Err(TransferError::misbehaved("it has chunks that do not exist"));
    }
    Ok(())
}

/// What the receiver may still say: it is kept until it is looked at, so it must have an end, and
/// something must be in it.
struct Allowed {
    hashes: u64,
    pieces: u64,
}

/// Listens to the receiver until the file is done or has failed there.
async fn listen<R: AsyncRead>(
    reader: &mut Reader<ReadHalf<R>>,
    mut allowed: Allowed,
    heard: mpsc::UnboundedSender<Heard>,
) -> Result<Done, TransferError> {
    loop {
        let frame = reader.next().await?.ok_or(LinkError::Cut)?;
        let said = match frame.kind {
            Hashes::KIND => {
                let hashes: Hashes = reader.message()?;
                let left = allowed.hashes.checked_sub(hashes.hashes.len() as u64);
                allowed.hashes = left.filter(|_| !hashes.hashes.is_empty()).ok_or(
                    TransferError::misbehaved("it hashed more chunks than it said it has"),
                )?;
                Heard::Hashes(hashes)
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
                Heard::Pieces(bytes)
            }
            Done::KIND => return Ok(reader.message()?),
            Failure::KIND => return Err(TransferError::Remote(reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        };
        // Fails only when the sending has ended, which is about to be noticed.
        let _ = heard.send(said);
    }
}
