//! Frames between a controller and the worker that does its request.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
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

/// How long a worker may take to end in order, when its session ends or a newer request takes over.
const ENDING: Duration = Duration::from_secs(3);

/// How long it may take to keep what has arrived, when the controller is gone.
const KEEPING: Duration = Duration::from_secs(10);

/// How a worker's work came to its end.
enum End {
    /// Its socket has ended, as it does behind its last word; the failure that it told of, if it did.
    Finished(Option<Failure>),
    /// It was told to end, and did not.
    Overdue(Cause),
    /// It did not keep to its part.
    Broken(LinkError),
    /// The controller is gone.
    Controller(LinkError),
}

/// Has the worker do the request, and passes on what it and the controller say to each other.
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
    let left = Cell::new(false);
    let end = match begin(&mut worker, &request, user, session, memory).await {
        Ok(mut to_worker) => {
            let running = session.agent.transfers.begin_asked(session.key.id, user.uid, &request);
            let end =
                pass(link, &mut to_worker, &worker, &request, running.as_ref(), session, &left)
                    .await;
            if matches!(end, End::Controller(_)) {
                // What has arrived is kept: the worker sees the cut and ends. One that reads nothing, or
                // does not end, is killed.
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
            // It was cut off in the middle, which it can't help.
            _ if left.get() => return Ok(Outcome::Abandoned),
            Some(status) => process::describe(status),
            None => "it does not end".to_owned(),
        },
    };
    warn!("the worker that acts as {} failed: {why}", escape(&user.name));
    failed(link, Failure::request(Cause::WorkerFailed))
}

/// Tells the controller, unless it is in the middle of a frame.
fn failed(link: &SessionLink, failure: Failure) -> Result<Outcome, LinkError> {
    if link.writer.is_broken() { Err(LinkError::Cut) } else { Ok(Outcome::Failed(failure)) }
}

/// What the worker may keep, and the charge for that. It can't ask for more later, so it gets what can
/// be had at the start; an owner's gets much, and is not charged for what it may never keep.
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

/// Tells the worker what it is for.
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

/// Passes frames on until there are no more.
async fn pass(
    link: &mut SessionLink,
    to_worker: &mut Link<UnixStream>,
    worker: &Worker,
    request: &FileRequest,
    running: Option<&Running>,
    session: &Session,
    left: &Cell<bool>,
) -> End {
    let says = Says { request, buffer: vec![0; PIECE] };
    tokio::select! {
        biased;
        end = says.all(&mut to_worker.reader, &mut link.writer) => end,
        error = hears(&mut link.reader, &mut to_worker.writer, left) => End::Controller(error),
        cause = told_to_end(worker, running, session) => End::Overdue(cause),
    }
}

/// Tells the worker to end when it must, and gives it time to do so in order.
async fn told_to_end(worker: &Worker, running: Option<&Running>, session: &Session) -> Cause {
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
    worker.signal(if cause == Cause::Stopping { Signal::TERM } else { Signal::USR1 });
    sleep(ENDING).await;
    cause
}

/// What the worker says to the controller.
struct Says<'a> {
    request: &'a FileRequest,
    buffer: Vec<u8>,
}

impl Says<'_> {
    async fn all<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut self,
        worker: &mut Reader<R>,
        controller: &mut Writer<W>,
    ) -> End {
        let mut failure = None;
        loop {
            let came = tokio::select! {
                biased;
                error = controller.drive() => return End::Controller(error),
                came = worker.next() => came,
            };
            let frame = match came {
                Ok(Some(frame)) => frame,
                // How its process ended tells whether that was in order.
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

/// What the controller says to the worker, until the controller's connection fails. `left` becomes true when
/// it says no more: it has its answer, or gave the request up.
async fn hears<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    controller: &mut Reader<R>,
    worker: &mut Writer<W>,
    left: &Cell<bool>,
) -> LinkError {
    let mut buffer = vec![0; PIECE];
    loop {
        let came = tokio::select! {
            biased;
            _gone = worker.drive() => match unheard().await {},
            came = controller.next() => came,
        };
        let frame: Frame = match came {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                left.set(true);
                let _ = worker.finish().await;
                match unheard().await {}
            }
            Err(error) => return error,
        };
        match worker.relay(frame, controller, &mut buffer).await {
            Ok(()) => {}
            Err(RelayError::From(error)) => return error,
            Err(RelayError::To(_)) => match unheard().await {},
        }
    }
}

/// The worker hears nothing more. It is for what it says, and for its process, to tell why.
async fn unheard() -> Infallible {
    pending().await
}
