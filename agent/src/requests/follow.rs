//! One session's conversation about one job, however it came by it.
//!
//! Two directions side by side: what the supervisor says goes to the controller, with the output that
//! it has announced, and what the controller says goes to the supervisor. When either side goes, the
//! job stays with its supervisor, for its grace time.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_wire::limits::OUTPUT_FRAME;
use lariat_wire::link::{LinkError, Reader, Writer};
use lariat_wire::protocol::exec::{Ack, Exit, Release, Resize, Signal, StdinEnd};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::jobs::channel::{ChannelError, ToSupervisor};
use crate::jobs::{Commands, Event, Events, Stream};
use crate::session::{Session, SessionLink};

/// How long the controller may take for the frame that is under way when the session is to end.
const STOPPING: Duration = Duration::from_secs(1);

/// Why a job's conversation can't go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The controller's side.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The supervisor's side.
    #[error("the job's supervisor: {0}")]
    Supervisor(#[from] ChannelError),
    /// The controller ended its session in the middle.
    #[error("the controller left")]
    Left,
    /// The session is to end.
    #[error("the session is to end")]
    Stopped,
    /// Another session has the job now.
    #[error("another session has taken the job over")]
    Replaced,
}

/// Carries a job's streams, output from `sent` on, until the controller has everything.
pub(super) async fn follow(
    link: &mut SessionLink,
    job: JobId,
    (ear, mouth): (Events, Commands),
    sent: Ack,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let mut speaking = Speaking { writer: &mut link.writer, ear, sent };
    let outcome = tokio::select! {
        biased;
        listened = listen(&mut link.reader, &mouth) => listened,
        broken = speaking.everything(session) => match broken {
            Ok(failed) => return failed_to_start(link, failed, job, session).await,
            Err(broken) => Err(broken),
        },
        // The frame that was being sent when it was to stop is not taken.
        () = overdue(session) => Err(Broken::Left),
    };
    match outcome {
        Ok(()) => {
            // A supervisor that has gone by itself needs no word.
            let _ = mouth.say(&ToSupervisor::Release).await;
            forgotten(job, session.agent.jobs.release(job));
            Ok(ControlFlow::Continue(()))
        }
        Err(Broken::Link(error)) => Err(error),
        Err(Broken::Left) if link.writer.is_broken() => Err(LinkError::Cut),
        Err(Broken::Left) => Ok(ControlFlow::Break(())),
        // The session itself says goodbye; the job waits for its controller to come back.
        Err(Broken::Stopped) => Ok(ControlFlow::Continue(())),
        Err(broken @ (Broken::Supervisor(_) | Broken::Replaced)) => {
            warn!("job {job}: {broken}");
            if link.writer.is_broken() {
                return Err(LinkError::Cut);
            }
            let replaced = matches!(broken, Broken::Replaced);
            let cause = if replaced { Cause::Superseded } else { Cause::Unwatched };
            link.send(&Failure::request(cause)).await?;
            Ok(ControlFlow::Break(()))
        }
    }
}

/// The command could not be started, and there is nothing to keep.
pub(super) async fn failed_to_start(
    link: &mut SessionLink,
    failure: Failure,
    job: JobId,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    info!("job {job}: {failure}");
    forgotten(job, session.agent.jobs.forget(job));
    link.send(&failure).await?;
    Ok(ControlFlow::Continue(()))
}

pub(super) fn forgotten(job: JobId, result: io::Result<()>) {
    if let Err(error) = result {
        warn!("job {job} can't be forgotten in order: {error}");
    }
}

/// Waits until the session should have ended.
async fn overdue(session: &Session) {
    session.stopped().await;
    sleep(STOPPING).await;
}

/// What the controller says, until it has everything.
///
/// A supervisor that takes no more words may have said how its command ended before: whether it is
/// lost is for the ear alone to find out.
async fn listen<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    mouth: &Commands,
) -> Result<(), Broken> {
    let mut buffer = Vec::new();
    loop {
        let frame = reader.next().await?.ok_or(Broken::Left)?;
        let word = match frame.kind {
            Ack::KIND => ToSupervisor::Ack(reader.message()?),
            StdinEnd::KIND => ToSupervisor::StdinEnd(reader.message::<StdinEnd>()?),
            Signal::KIND => ToSupervisor::Signal(reader.message()?),
            Resize::KIND => ToSupervisor::Resize(reader.message()?),
            Release::KIND => return Ok(()),
            Kind::Stdin => {
                let offset = u64::from_le_bytes(reader.bulk_array().await?);
                buffer.resize(reader.bulk_left(), 0);
                reader.bulk(&mut buffer).await?;
                if offset.checked_add(buffer.len() as u64).is_none() {
                    return Err(LinkError::Misbehaved("its stdin goes on behind the end").into());
                }
                unheard(mouth.stdin(offset, &buffer).await);
                continue;
            }
            other => return Err(LinkError::Unexpected(other).into()),
        };
        unheard(mouth.say(&word).await);
    }
}

fn unheard(said: Result<(), ChannelError>) {
    if let Err(error) = said {
        debug!("the job's supervisor takes no more words: {error}");
    }
}

/// The controller's side of what the supervisor says.
struct Speaking<'a, W> {
    writer: &'a mut Writer<W>,
    ear: Events,
    sent: Ack,
}

impl<W: AsyncWrite + Unpin> Speaking<'_, W> {
    /// Passes everything on. Returns only when the command could not be started, a side broke, or the
    /// session is to end.
    async fn everything(&mut self, session: &Session) -> Result<Failure, Broken> {
        let mut buffer = vec![0; OUTPUT_FRAME];
        let mut ends = self.sent;
        let mut exit: Option<Exit> = None;
        loop {
            self.output(ends, &mut buffer, session).await?;
            if let Some(exit) = exit.take_if(|exit| self.sent == totals(*exit)) {
                self.writer.outbox().post(&exit)?;
                // The supervisor has nothing more to say, and may go.
                return Err(tokio::select! {
                    () = session.stopped() => Broken::Stopped,
                    error = self.writer.drive() => error.into(),
                });
            }
            let event = tokio::select! {
                biased;
                () = session.stopped() => return Err(Broken::Stopped),
                error = self.writer.drive() => return Err(error.into()),
                event = self.ear.next() => event?,
            };
            match event {
                Event::Started(started) => self.writer.outbox().post(&started)?,
                Event::Failed(failure) => return Ok(failure),
                Event::Output(upto) => ends = upto,
                Event::StdinTaken(taken) => self.writer.outbox().post(&taken)?,
                Event::Exit(ended) => {
                    ends = totals(ended);
                    exit = Some(ended);
                }
                Event::Replaced => return Err(Broken::Replaced),
                Event::OutputRange(_) => return Err(ChannelError::Malformed.into()),
            }
        }
    }

    /// Sends the output up to `ends`, both streams in turn.
    async fn output(
        &mut self,
        ends: Ack,
        buffer: &mut [u8],
        session: &Session,
    ) -> Result<(), Broken> {
        while self.sent.stdout < ends.stdout || self.sent.stderr < ends.stderr {
            if session.is_stopped() {
                return Err(Broken::Stopped);
            }
            self.sent.stdout +=
                self.part(Stream::Stdout, self.sent.stdout, ends.stdout, buffer).await?;
            self.sent.stderr +=
                self.part(Stream::Stderr, self.sent.stderr, ends.stderr, buffer).await?;
        }
        Ok(())
    }

    /// Sends the next frame of one stream, if it has more. Returns its length in bytes.
    async fn part(
        &mut self,
        stream: Stream,
        from: u64,
        upto: u64,
        buffer: &mut [u8],
    ) -> Result<u64, Broken> {
        if from >= upto {
            return Ok(0);
        }
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        let len = self.ear.read(stream, from, upto, buffer)?;
        if len == 0 {
            return Err(ChannelError::Malformed.into());
        }
        self.writer.bulk(kind, &from.to_le_bytes(), &buffer[..len]).await?;
        Ok(len as u64)
    }
}

/// How far the output of a job that has ended reaches.
pub(super) fn totals(exit: Exit) -> Ack {
    Ack { stdout: exit.stdout, stderr: exit.stderr }
}
