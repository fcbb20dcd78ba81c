//! Passes frames between a controller and the worker that serves its request.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_wire::codec;
use lariat_wire::frame::Header;
use lariat_wire::link::{Frame, Link, LinkError, Reader, RelayError, Writer};
use lariat_wire::memory::Charge;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::sleep;
use tracing::warn;

use super::Begin;
use super::kinds::may_say;
use super::process::{self, Worker};
use crate::core::{Outcome, Session};
use crate::transfers::Running;
use crate::transport::SessionLink;
use crate::user::User;

/// Bytes of a bulk frame that are passed on at a time.
const PIECE: usize = 256 * 1024;

/// How long a worker may take to end when its session ends or a newer request takes over.
const ENDING: Duration = Duration::from_secs(3);

/// How long a worker may take to save what has arrived when the controller is gone.
const KEEPING: Duration = Duration::from_secs(10);

/// How a worker's service ended.
enum End {
    /// The worker closed its socket, as it does after its last frame. Holds the failure that it reported, if
    /// any.
    Finished(Option<Failure>),
    /// The worker was asked to end, and did not.
    Overdue(Cause),
    /// The worker broke the protocol.
    Broken(LinkError),
    /// The connection to the controller broke.
    Controller(LinkError),
}

/// Has the worker serve the request, passing frames between it and the controller.
pub(crate) async fn relay(
    link: &mut SessionLink,
    mut worker: Worker,
    request: FileRequest,
    user: &User,
    session: &Session,
) -> Result<Outcome, LinkError> {
    let (memory, _charge) = match granted(session) {
        Ok(granted) => granted,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let abandoned = Cell::new(false);
    let mut asked_to_end = None;
    let end = match begin(&mut worker, &request, user, session, memory).await {
        Ok(mut to_worker) => {
            let running = session.agent.transfers.begin_asked(session.key.id, user.uid, &request);
            let end = pass(
                link,
                &mut to_worker,
                &worker,
                &request,
                running.as_ref(),
                session,
                &abandoned,
            )
            .await;
            asked_to_end = cause_to_end(running.as_ref(), session);
            if matches!(end, End::Controller(_)) {
                // The worker sees the cut, saves what has arrived, and ends. One that hangs is killed.
                let keep = async {
                    let _ = to_worker.writer.finish().await;
                    let _ = worker.ended(KEEPING).await;
                };
                let _ = tokio::time::timeout(KEEPING, keep).await;
            }
            end
        }
        Err(error) => End::Broken(error),
    };
    let why = match end {
        End::Controller(error) => return Err(error),
        End::Overdue(cause) => {
            warn!("a worker that was told to end did not, and was killed");
            return failed(link, Failure::request(cause));
        }
        End::Broken(error) => error.to_string(),
        End::Finished(failure) => match worker.ended(ENDING).await? {
            Some(status) if status.success() => {
                let failed = failure.map(|failure| Outcome::Over(failure.to_string()));
                return Ok(failed.unwrap_or_else(|| Outcome::Done(format!("as {}", user.name()))));
            }
            // The controller gave the request up and cut the worker off in the middle: not its fault.
            _ if abandoned.get() => return Ok(Outcome::Abandoned),
            // The signal to end came before the worker handled it.
            Some(status) => match asked_to_end {
                Some(cause) if status.signal() == Some(signal_for(&cause).as_raw()) => {
                    return failed(link, Failure::request(cause));
                }
                _ => process::describe(status),
            },
            None => "it does not end".to_owned(),
        },
    };
    warn!("the worker that acts as {} failed: {why}", escape(&user.name));
    failed(link, Failure::request(Cause::WorkerFailed))
}

/// Reports the failure to the controller, unless a frame was sent in part.
fn failed(link: &SessionLink, failure: Failure) -> Result<Outcome, LinkError> {
    if link.writer.is_broken() { Err(LinkError::Cut) } else { Ok(Outcome::Failed(failure)) }
}

/// How much memory the worker may keep, and the charge for it. A worker can't ask for more later, so it gets
/// as much as is available at the start. An owner's worker gets a large limit, and is charged only for what
/// it is likely to keep.
fn granted(session: &Session) -> Result<(usize, Charge), Failure> {
    const MIB: usize = 1024 * 1024;
    let mut charge = session.memory.charge();
    if session.holder.is_owner() {
        charge.set(8 * MIB)?;
        return Ok((256 * MIB, charge));
    }
    for memory in [64 * MIB, 32 * MIB, 16 * MIB] {
        if charge.set(memory).is_ok() {
            return Ok((memory, charge));
        }
    }
    charge.set(8 * MIB)?;
    Ok((8 * MIB, charge))
}

/// Sends the worker its `Begin` and its request.
async fn begin(
    worker: &mut Worker,
    request: &FileRequest,
    user: &User,
    session: &Session,
    memory: usize,
) -> Result<Link<UnixStream>, LinkError> {
    let (key, home) = (session.key.id, user.home.clone());
    let begin = Begin { key, uid: user.uid, home, memory: memory as u64 };
    let begin = codec::encode(&begin)?;
    let len = u32::try_from(begin.len()).map_err(|_| LinkError::Misbehaved("a home too long"))?;
    let (kind, payload) = request.encode()?;
    let header = Header { kind, request: 1, len: payload.len() }.encode();
    let mut socket = UnixStream::from_std(worker.take_socket()?)?;
    let first = [&len.to_le_bytes()[..], &begin, &header, &payload].concat();
    let write = socket.write_all(&first);
    tokio::time::timeout(KEEPING, write).await.map_err(|_| LinkError::Silent)??;
    Ok(Link::new(socket))
}

/// Passes frames on in both directions until either end is done.
async fn pass(
    link: &mut SessionLink,
    to_worker: &mut Link<UnixStream>,
    worker: &Worker,
    request: &FileRequest,
    running: Option<&Running>,
    session: &Session,
    abandoned: &Cell<bool>,
) -> End {
    let from_worker = FromWorker { request, buffer: vec![0; PIECE] };
    tokio::select! {
        biased;
        end = from_worker.all(&mut to_worker.reader, &mut link.writer) => end,
        error = forward(&mut link.reader, &mut to_worker.writer, abandoned) => End::Controller(error),
        cause = end_in_order(worker, running, session) => End::Overdue(cause),
    }
}

/// Asks the worker to end when the session stops or a newer request takes over. Resolves if it has not ended
/// in time.
async fn end_in_order(worker: &Worker, running: Option<&Running>, session: &Session) -> Cause {
    let superseded = async {
        match running {
            Some(running) => running.cancel.cancelled().await,
            None => pending().await,
        }
    };
    let cause = tokio::select! {
        () = session.stopped() => Cause::Stopping,
        cause = superseded => cause,
    };
    worker.signal(signal_for(&cause));
    sleep(ENDING).await;
    cause
}

/// Why the worker was asked to end, if it was.
fn cause_to_end(running: Option<&Running>, session: &Session) -> Option<Cause> {
    let stopping = session.is_stopped().then_some(Cause::Stopping);
    stopping.or_else(|| running?.cancel.cause())
}

/// The signal that asks a worker to end for this cause.
fn signal_for(cause: &Cause) -> Signal {
    if *cause == Cause::Stopping { Signal::TERM } else { Signal::USR1 }
}

/// Passes frames from the worker to the controller.
struct FromWorker<'a> {
    request: &'a FileRequest,
    buffer: Vec<u8>,
}

impl FromWorker<'_> {
    async fn all<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut self,
        worker: &mut Reader<R>,
        controller: &mut Writer<W>,
    ) -> End {
        let mut failure = None;
        loop {
            let next = tokio::select! {
                biased;
                error = controller.drive() => return End::Controller(error),
                next = worker.next() => next,
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                // Its exit status tells whether it ended in order.
                Ok(None) | Err(LinkError::Cut) => return End::Finished(failure),
                Err(error) => return End::Broken(error),
            };
            if !may_say(self.request, frame.kind) {
                return End::Broken(LinkError::Unexpected(frame.kind));
            }
            if frame.kind == Failure::KIND {
                failure = worker.message::<Failure>().ok();
            }
            match controller.relay(frame, worker, &mut self.buffer).await {
                Ok(()) => {}
                Err(RelayError::To(error)) => return End::Controller(error),
                Err(RelayError::From(LinkError::Cut)) => return End::Finished(failure),
                Err(RelayError::From(error)) => return End::Broken(error),
            }
        }
    }
}

/// Passes frames from the controller to the worker, until the controller's connection fails. Sets `abandoned`
/// after the controller's last frame of the request: it has its answer, or has given the request up.
async fn forward<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    controller: &mut Reader<R>,
    worker: &mut Writer<W>,
    abandoned: &Cell<bool>,
) -> LinkError {
    let mut buffer = vec![0; PIECE];
    loop {
        let next = tokio::select! {
            biased;
            _gone = worker.drive() => match worker_reads_no_more().await {},
            next = controller.next() => next,
        };
        let frame: Frame = match next {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                abandoned.set(true);
                let _ = worker.finish().await;
                match worker_reads_no_more().await {}
            }
            Err(error) => return error,
        };
        match worker.relay(frame, controller, &mut buffer).await {
            Ok(()) => {}
            Err(RelayError::From(error)) => return error,
            Err(RelayError::To(_)) => match worker_reads_no_more().await {},
        }
    }
}

/// The worker reads no more. Its frames and its exit status will tell why.
async fn worker_reads_no_more() -> Infallible {
    pending().await
}
