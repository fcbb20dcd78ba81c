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
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;
use lariat_wire::protocol::transfer::{self, Offer};
use lariat_wire::protocol::tree::Settled;
use lariat_wire::protocol::{Kind, Message};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::sleep;
use tracing::warn;

use super::Begin;
use super::kinds::may_say;
use super::process::{self, Worker};
use super::request::WorkerRequest;
use crate::core::{Done, Outcome, Session};
use crate::meter::Meter;
use crate::policy::Confinement;
use crate::transfers::Running;
use crate::transport::SessionLink;
use crate::user::User;

/// Bytes of a bulk frame that are passed on at a time.
const PIECE: usize = 256 * 1024;

/// How long a worker may take to end when its session ends or a newer request takes over.
pub(super) const ENDING: Duration = Duration::from_secs(3);

/// How long a worker may take to save what has arrived when the controller is gone.
pub(super) const KEEPING: Duration = Duration::from_secs(10);

/// How a worker's service ended.
enum End {
    /// The worker closed its socket, as it does after its last frame. Holds the failure that it reported, if
    /// any, and what it did.
    Finished(Option<Failure>, Done),
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
    request: WorkerRequest,
    (user, root): (&User, Option<Confinement>),
    (session, meter): (&Session, &Meter),
) -> Result<Outcome, LinkError> {
    let (memory, _charge) = match granted(&request, session) {
        Ok(granted) => granted,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let controller = FromController::default();
    let mut asked_to_end = None;
    let end = match begin(&mut worker, &request, (user, root), session, memory).await {
        Ok(mut to_worker) => {
            let running = match &request {
                WorkerRequest::File(request) => {
                    session.agent.transfers.begin_asked(session.owner(), user.uid, request)
                }
                WorkerRequest::Socket(_) | WorkerRequest::Look(_) => None,
            };
            let end = pass(
                link,
                &mut to_worker,
                &worker,
                &request,
                running.as_ref(),
                (session, meter),
                &controller,
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
        End::Finished(failure, done) => match worker.ended(ENDING).await? {
            Some(status) if status.success() => {
                let failed = failure.map(|failure| Outcome::Over(failure.to_string()));
                let text = format!("as {}", user.name());
                let bytes = match &request {
                    WorkerRequest::File(_) | WorkerRequest::Look(_) => done.bytes,
                    WorkerRequest::Socket(_) => {
                        Some(done.bytes.unwrap_or_default() + controller.bytes.get())
                    }
                };
                return Ok(failed.unwrap_or(Outcome::Done(Done { text, bytes, ..done })));
            }
            // The controller gave the request up and cut the worker off in the middle: not its fault.
            _ if controller.is_over.get() => return Ok(Outcome::Abandoned),
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
pub(super) fn granted(
    request: &WorkerRequest,
    session: &Session,
) -> Result<(usize, Charge), Failure> {
    const MIB: usize = 1024 * 1024;
    let mut charge = session.memory.charge();
    if let WorkerRequest::Socket(_) | WorkerRequest::Look(_) = request {
        charge.set(4 * MIB)?;
        return Ok((4 * MIB, charge));
    }
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
pub(super) async fn begin(
    worker: &mut Worker,
    request: &WorkerRequest,
    (user, root): (&User, Option<Confinement>),
    session: &Session,
    memory: usize,
) -> Result<Link<UnixStream>, LinkError> {
    let (key, home) = (session.owner(), user.home.clone());
    let begin = Begin { key, uid: user.uid, home, root, memory: memory as u64 };
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
    request: &WorkerRequest,
    running: Option<&Running>,
    (session, meter): (&Session, &Meter),
    controller: &FromController,
) -> End {
    if let WorkerRequest::File(FileRequest::Push(push)) = request {
        meter.listed(push.offer.size.unwrap_or_default());
    }
    let from_worker = FromWorker { request, buffer: vec![0; PIECE], meter };
    let is_pull = matches!(request, WorkerRequest::File(FileRequest::Pull(_)));
    let received = (!is_pull).then_some(meter);
    tokio::select! {
        biased;
        end = from_worker.all(&mut to_worker.reader, &mut link.writer) => end,
        error = controller.all(&mut link.reader, &mut to_worker.writer, received) => {
            End::Controller(error)
        }
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
        () = session.stopped() => session.stop_cause().unwrap_or(Cause::Stopping),
        cause = superseded => cause,
    };
    worker.signal(signal_for(&cause));
    sleep(ENDING).await;
    cause
}

/// Why the worker was asked to end, if it was.
fn cause_to_end(running: Option<&Running>, session: &Session) -> Option<Cause> {
    session.stop_cause().or_else(|| running?.cancel.cause())
}

/// The signal that asks a worker to end for this cause.
fn signal_for(cause: &Cause) -> Signal {
    if *cause == Cause::Superseded { Signal::USR1 } else { Signal::TERM }
}

/// Passes frames from the worker to the controller.
struct FromWorker<'a> {
    request: &'a WorkerRequest,
    buffer: Vec<u8>,
    meter: &'a Meter,
}

impl FromWorker<'_> {
    async fn all<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut self,
        worker: &mut Reader<R>,
        controller: &mut Writer<W>,
    ) -> End {
        let (mut failure, mut done) = (None, Done::default());
        loop {
            let next = tokio::select! {
                biased;
                error = controller.drive() => return End::Controller(error),
                next = worker.next() => next,
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                // Its exit status tells whether it ended in order.
                Ok(None) | Err(LinkError::Cut) => return End::Finished(failure, done),
                Err(error) => return End::Broken(error),
            };
            if !may_say(self.request, frame.kind) {
                return End::Broken(LinkError::Unexpected(frame.kind));
            }
            if frame.kind == Failure::KIND {
                failure = worker.message::<Failure>().ok();
                failure.iter().for_each(|failure| self.meter.failed(failure));
            }
            said(self.request, frame, worker, &mut done);
            match self.request {
                WorkerRequest::File(FileRequest::Pull(_)) if frame.kind == Offer::KIND => {
                    self.meter.listed(done.bytes.unwrap_or_default());
                }
                WorkerRequest::File(FileRequest::Pull(_)) if frame.kind.is_bulk() => {
                    self.meter.moved(frame.len as u64);
                }
                _ => {}
            }
            match controller.relay(frame, worker, &mut self.buffer).await {
                Ok(()) => {}
                Err(RelayError::To(error)) => return End::Controller(error),
                Err(RelayError::From(LinkError::Cut)) => return End::Finished(failure, done),
                Err(RelayError::From(error)) => return End::Broken(error),
            }
        }
    }
}

/// Notes what the worker's messages say of its work, for the audit.
fn said<R: AsyncRead + Unpin>(
    request: &WorkerRequest,
    Frame { kind, len }: Frame,
    worker: &Reader<R>,
    done: &mut Done,
) {
    if kind == Kind::PipeBytes {
        done.bytes = Some(done.bytes.unwrap_or_default() + len as u64);
    } else if kind == Settled::KIND
        && let Ok(Settled { files, bytes, .. }) = worker.message()
    {
        (done.files, done.bytes) = (Some(files), Some(bytes));
    } else if kind == Offer::KIND
        && let Ok(Offer { size, .. }) = worker.message()
    {
        done.bytes = size;
    } else if kind == transfer::Done::KIND
        && let (Ok(transfer::Done { hash, .. }), WorkerRequest::File(FileRequest::Push(push))) =
            (worker.message(), request)
    {
        (done.bytes, done.sum) = (push.offer.size, hash);
    }
}

/// Passes frames from the controller to the worker.
#[derive(Default)]
struct FromController {
    /// The controller's last frame of the request has come: it has its answer, or has given the request up.
    is_over: Cell<bool>,
    /// Bytes of a pipe.
    bytes: Cell<u64>,
}

impl FromController {
    /// Passes on all of them, until the controller's connection fails. What the host receives is counted.
    async fn all<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        controller: &mut Reader<R>,
        worker: &mut Writer<W>,
        received: Option<&Meter>,
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
                    self.is_over.set(true);
                    let _ = worker.finish().await;
                    match worker_reads_no_more().await {}
                }
                Err(error) => return error,
            };
            if let Some(meter) = received.filter(|_| frame.kind.is_bulk()) {
                meter.moved(frame.len as u64);
            }
            if frame.kind == Kind::PipeBytes {
                self.bytes.set(self.bytes.get() + frame.len as u64);
            }
            match worker.relay(frame, controller, &mut buffer).await {
                Ok(()) => {}
                Err(RelayError::From(error)) => return error,
                Err(RelayError::To(_)) => match worker_reads_no_more().await {},
            }
        }
    }
}

/// The worker reads no more. Its frames and its exit status will tell why.
async fn worker_reads_no_more() -> Infallible {
    pending().await
}
