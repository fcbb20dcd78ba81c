//! A pipe of bytes between a session and a local stream, after `Connected`: both ends use it.
//!
//! Each direction has credit and ends by itself, as those of a TCP connection do. The link is read all the time,
//! so that pings are answered and credit arrives while the local stream takes nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, SimplexStream, simplex};
use tokio::sync::Notify;

use crate::link::{Link, LinkError, Outbox, Reader, Writer};
use crate::protocol::Kind;
use crate::protocol::connect::{PipeEnd, PipeTaken};

/// Bytes that may be on their way in one direction before the receiver has taken them.
pub const WINDOW: usize = 1024 * 1024;

/// Most bytes in one frame.
const FRAME: usize = 64 * 1024;

/// Bytes that a pipe has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// From the local stream to the peer.
    pub sent: u64,
    /// From the peer to the local stream.
    pub received: u64,
}

/// Why a pipe ended before both of its directions had.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// The local stream failed.
    #[error("{}", lariat_base::os_error::io_error(.0))]
    Local(#[source] std::io::Error),
    /// The peer ended the request.
    #[error("the other end gave the connection up")]
    GivenUp,
    /// The session failed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What the directions know of each other.
#[derive(Default)]
struct Shared {
    credit: AtomicUsize,
    more_credit: Notify,
    sent: AtomicU64,
    received: AtomicU64,
    /// This end has sent its `PipeEnd`.
    is_over: AtomicBool,
}

/// Carries bytes between the link's current request and a local stream, given as its two directions, until both
/// have ended. Cancel-safe in that both streams can only be dropped afterwards.
pub async fn pipe<S, R, W>(
    link: &mut Link<S>,
    (from, to): (R, W),
) -> (Carried, Result<(), PipeError>)
where
    S: AsyncRead + AsyncWrite,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let shared = Shared { credit: AtomicUsize::new(WINDOW), ..Shared::default() };
    let outbox = link.outbox().clone();
    let (arrived, arriving) = simplex(WINDOW);
    let is_sent = Notify::new();
    let sending = async {
        send(&mut link.writer, from, &shared).await?;
        is_sent.notify_one();
        // What the other direction posts is sent all the same.
        Err::<(), PipeError>(link.writer.drive().await.into())
    };
    let done = async {
        deliver(arrived, to, &outbox, &shared).await?;
        is_sent.notified().await;
        Ok(())
    };
    let result = tokio::select! {
        biased;
        done = done => done,
        failed = sending => failed,
        failed = receive(&mut link.reader, arriving, &shared) => failed,
    };
    let carried = Carried {
        sent: shared.sent.load(Ordering::Relaxed),
        received: shared.received.load(Ordering::Relaxed),
    };
    (carried, result)
}

/// Sends what the local stream gives, within the credit, and its end.
async fn send<W: AsyncWrite + Unpin>(
    writer: &mut Writer<W>,
    mut from: impl AsyncRead + Unpin,
    shared: &Shared,
) -> Result<(), PipeError> {
    let mut buffer = vec![0; FRAME];
    loop {
        let next = async {
            let most = shared.credit().await.min(FRAME);
            from.read(&mut buffer[..most]).await.map_err(PipeError::Local)
        };
        let read = tokio::select! {
            biased;
            read = next => read?,
            error = writer.drive() => return Err(error.into()),
        };
        if read == 0 {
            writer.outbox().post(&PipeEnd)?;
            shared.is_over.store(true, Ordering::Relaxed);
            return Ok(writer.flush().await?);
        }
        shared.credit.fetch_sub(read, Ordering::Relaxed);
        writer.bulk(Kind::PipeBytes, &[], &buffer[..read]).await?;
        shared.sent.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// Reads frames into `arriving`, for which the credit leaves room at any time, until the session fails.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    arriving: tokio::io::WriteHalf<SimplexStream>,
    shared: &Shared,
) -> Result<(), PipeError> {
    let mut arriving = Some(arriving);
    let mut buffer = vec![0; FRAME];
    let mut received = 0;
    loop {
        let Some(frame) = reader.next().await? else {
            if arriving.is_none() && shared.is_over.load(Ordering::Relaxed) {
                // The peer has seen both ends of the pipe. What has arrived is still being passed on.
                return std::future::pending().await;
            }
            return Err(PipeError::GivenUp);
        };
        match (frame.kind, &mut arriving) {
            (Kind::PipeBytes, Some(arriving)) => {
                received += frame.len as u64;
                if received > shared.received.load(Ordering::Relaxed) + WINDOW as u64 {
                    return Err(LinkError::Misbehaved("it sends more than it may").into());
                }
                while reader.bulk_left() > 0 {
                    let read = reader.bulk_some(&mut buffer).await?;
                    // Where nobody reads any more, the pipe has failed, and says so by itself.
                    let _ = arriving.write_all(&buffer[..read]).await;
                }
            }
            (Kind::PipeEnd, Some(ended)) => {
                ended.shutdown().await.map_err(PipeError::Local)?;
                arriving = None;
            }
            (Kind::PipeTaken, _) => {
                let PipeTaken { bytes } = reader.message()?;
                shared.returned(bytes)?;
            }
            (Kind::Failed, _) => return Err(PipeError::GivenUp),
            (other, _) => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

/// Passes on what has arrived, and its end, and returns the credit.
async fn deliver(
    mut arrived: tokio::io::ReadHalf<SimplexStream>,
    mut to: impl AsyncWrite + Unpin,
    outbox: &Outbox,
    shared: &Shared,
) -> Result<(), PipeError> {
    let mut buffer = vec![0; FRAME];
    loop {
        let read = arrived.read(&mut buffer).await.map_err(PipeError::Local)?;
        if read == 0 {
            return to.shutdown().await.map_err(PipeError::Local);
        }
        to.write_all(&buffer[..read]).await.map_err(PipeError::Local)?;
        to.flush().await.map_err(PipeError::Local)?;
        shared.received.fetch_add(read as u64, Ordering::Relaxed);
        outbox.post(&PipeTaken { bytes: read as u64 })?;
    }
}

impl Shared {
    /// Waits for credit, and returns how much there is.
    async fn credit(&self) -> usize {
        loop {
            match self.credit.load(Ordering::Relaxed) {
                0 => self.more_credit.notified().await,
                credit => return credit,
            }
        }
    }

    fn returned(&self, bytes: u64) -> Result<(), LinkError> {
        let more = usize::try_from(bytes).ok().filter(|&more| {
            more > 0 && more <= WINDOW.saturating_sub(self.credit.load(Ordering::Relaxed))
        });
        let more = more.ok_or(LinkError::Misbehaved("it returns more credit than it was given"))?;
        self.credit.fetch_add(more, Ordering::Relaxed);
        self.more_credit.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::protocol::audit::AuditHead;
    use crate::protocol::session::Finished;

    /// A pipe between two local streams, over a link.
    fn piped() -> (DuplexStream, DuplexStream, impl Future<Output = [Result<(), PipeError>; 2]>) {
        let (near, far) = duplex(8 * 1024);
        let ((left, left_local), (right, right_local)) = (duplex(1000), duplex(1000));
        let both = async move {
            let (mut near, mut far) = (Link::new(near), Link::new(far));
            let one = pipe(&mut near, tokio::io::split(left_local));
            let other = pipe(&mut far, tokio::io::split(right_local));
            let ((_, one), (_, other)) = tokio::join!(one, other);
            [one, other]
        };
        (left, right, both)
    }

    #[tokio::test]
    async fn both_directions_carry_all_and_each_ends_by_itself() {
        let (mut left, mut right, both) = piped();
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let there = async {
            left.write_all(&sent).await.unwrap();
            left.shutdown().await.unwrap();
            let mut back = Vec::new();
            left.read_to_end(&mut back).await.unwrap();
            back
        };
        let back = async {
            let mut came = Vec::new();
            right.read_to_end(&mut came).await.unwrap();
            // This direction is still open.
            right.write_all(&came).await.unwrap();
            right.shutdown().await.unwrap();
        };
        let ([one, other], back, ()) = tokio::join!(both, there, back);
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        assert!(back == sent);
    }

    #[tokio::test]
    async fn what_has_arrived_is_passed_on_though_the_peer_is_done_with_the_request() {
        let (near, far) = duplex(1024 * 1024);
        let (mut local, kept) = duplex(16);
        let (mut near, mut far) = (Link::new(near), Link::new(far));
        local.shutdown().await.unwrap();
        let peer = async {
            far.writer.bulk(Kind::PipeBytes, &[], &vec![7; 100_000]).await.unwrap();
            far.outbox().post(&PipeEnd).unwrap();
            far.outbox().post(&Finished { audit: AuditHead::default() }).unwrap();
            far.writer.drive().await
        };
        let mut came = Vec::new();
        let read = async {
            // Not before all of it is there.
            tokio::task::yield_now().await;
            local.read_to_end(&mut came).await.unwrap();
        };
        let piped = async { tokio::join!(pipe(&mut near, tokio::io::split(kept)), read).0 };
        let (_, result) = tokio::select! {
            error = peer => panic!("{error}"),
            piped = piped => piped,
        };
        assert!(result.is_ok(), "{result:?}");
        assert!(came == vec![7; 100_000] && near.reader.take_finished());
    }

    #[tokio::test]
    async fn a_side_that_reads_nothing_stops_only_its_own_direction() {
        let (mut left, mut right, both) = piped();
        let far_too_much = async {
            let mut written = 0;
            let write = async {
                while left.write(&[0; 1000]).await.is_ok() {
                    written += 1000;
                }
            };
            tokio::select! {
                () = write => {}
                // The other direction goes on.
                () = async { for _ in 0..100 { right.write_all(&[7; 10]).await.unwrap(); } } => {}
            }
            written
        };
        let written = tokio::select! {
            _ = both => 0,
            written = far_too_much => written,
        };
        assert!(written < 3 * WINDOW, "{written}");
    }

    #[tokio::test]
    async fn whoever_sends_more_than_it_may_is_cut_off() {
        let (near, far) = duplex(64 * 1024);
        let (_local, kept) = duplex(16);
        let mut near = Link::new(near);
        let mut far = Link::new(far);
        let hostile = async {
            let bytes = vec![0; FRAME];
            for _ in 0..=WINDOW / FRAME + 1 {
                if far.writer.bulk(Kind::PipeBytes, &[], &bytes).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            (_, result) = pipe(&mut near, tokio::io::split(kept)) => result,
            () = hostile => Ok(()),
        };
        assert!(matches!(result, Err(PipeError::Link(LinkError::Misbehaved(_)))), "{result:?}");
        let shared = Shared::default();
        shared.credit.store(WINDOW - 1, Ordering::Relaxed);
        assert!(shared.returned(0).is_err() && shared.returned(2).is_err());
        assert!(shared.returned(u64::MAX).is_err() && shared.returned(1).is_ok());
    }
}
