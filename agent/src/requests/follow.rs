//! A session's conversation about one job.
//!
//! It has two directions: the supervisor's events and the job's output go to the controller, the controller's
//! messages to the supervisor. When the connection breaks, the supervisor keeps the job for its grace time.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_wire::limits::OUTPUT_FRAME;
use lariat_wire::link::{LinkError, Outbox, Reader, Writer};
use lariat_wire::protocol::exec::{Ack, Exit, Release, Resize, Signal, StdinEnd};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::note::NoteLeft;
use lariat_wire::protocol::status::OthersHere;
use lariat_wire::protocol::verb::Verb;
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::digest::StreamDigest;
use crate::core::{Digests, Outcome, Permit, Session};
use crate::jobs::channel::{self, ChannelError, ToSupervisor};
use crate::jobs::{Commands, Event, Events, Stream};
use crate::policy::Rule;
use crate::report::{note, others};
use crate::transport::SessionLink;

/// How long the controller may take for the frame in flight when the session is to end.
const STOPPING: Duration = Duration::from_secs(1);

/// Why a conversation can't go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The controller's side broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The supervisor's side broke.
    #[error("the job's supervisor: {0}")]
    Supervisor(#[from] ChannelError),
    /// The controller ended the session in the middle.
    #[error("the controller left")]
    Left,
    /// The session is to end.
    #[error("the session is to end")]
    Stopped,
    /// The key has no permission to send input.
    #[error("the key sends input, for which it has no permission")]
    Denied,
    /// Another session has the job now.
    #[error("another session has taken the job over")]
    Replaced,
}

/// Passes a job's streams on, with output from the offsets `sent`, until the controller has everything. Who is in a
/// shell is told of new notes.
pub(super) async fn follow(
    link: &mut SessionLink,
    job: JobId,
    (events, commands): (Events, Commands),
    sent: Ack,
    is_shell: bool,
    mut permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    permit.follow(session.job(job));
    let input = permit.grant().input;
    let permit = Cell::new(Some(permit));
    let digests = <[StreamDigest; 2]>::default();
    let notes = (is_shell && session.may_be_told()).then(|| session.agent.notes.subscribe());
    let mut outgoing =
        Outgoing { writer: &mut link.writer, events, sent, digests, notes, permit: &permit };
    let ended = tokio::select! {
        biased;
        released = incoming(&mut link.reader, &commands, input, &permit) => released,
        broken = outgoing.everything(session) => match broken {
            Ok(failure) => {
                forget(job, session);
                return finish(&permit, link.outbox(), &Outcome::Failed(failure));
            }
            Err(broken) => Err(broken),
        },
        // The controller does not read the frame that was being sent when the session was to end.
        () = overdue(session) => Err(Broken::Left),
    };
    match ended {
        Ok(()) => {
            // A supervisor that has ended already needs no release.
            let _ = commands.say(&ToSupervisor::Release(())).await;
            forgotten(job, session.agent.jobs.release(session.job(job)));
            Ok(())
        }
        Err(Broken::Link(error)) => Err(error),
        // The job waits for its controller to come back. A session that is to end says goodbye itself.
        Err(Broken::Left | Broken::Stopped) => Ok(()),
        Err(Broken::Denied) => {
            let (verb, rule) = (Verb::Run, Rule::Stdin.as_str().to_owned());
            let failure = Failure::request(Cause::NotPermitted { verb, rule });
            finish(&permit, link.outbox(), &Outcome::Failed(failure))
        }
        Err(broken @ (Broken::Supervisor(_) | Broken::Replaced)) => {
            warn!("job {job}: {broken}");
            let replaced = matches!(broken, Broken::Replaced);
            let cause = if replaced { Cause::Superseded } else { Cause::Unwatched };
            finish(&permit, link.outbox(), &Outcome::Failed(Failure::request(cause)))
        }
    }
}

/// Finishes the permit, unless it is finished already.
fn finish(
    permit: &Cell<Option<Permit<'_>>>,
    outbox: &Outbox,
    outcome: &Outcome,
) -> Result<(), LinkError> {
    permit.take().map_or(Ok(()), |permit| permit.finish(outbox, outcome))
}

fn is_finished(permit: &Cell<Option<Permit<'_>>>) -> bool {
    let unfinished = permit.take();
    let is_finished = unfinished.is_none();
    permit.set(unfinished);
    is_finished
}

/// Forgets a job whose command could not be started.
pub(super) fn forget(job: JobId, session: &Session) {
    forgotten(job, session.agent.jobs.forget(session.job(job)));
}

pub(super) fn forgotten(job: JobId, result: io::Result<()>) {
    if let Err(error) = result {
        warn!("job {job} can't be forgotten in order: {error}");
    }
}

/// Resolves some time after the session was asked to end.
pub(super) async fn overdue(session: &Session) {
    session.stopped().await;
    sleep(STOPPING).await;
}

/// Passes the controller's messages on, until it releases the job. Without `input` it may send none to the command.
///
/// A supervisor that accepts no more messages may have reported its command's end before. So errors of this
/// direction are ignored: the events tell whether the supervisor is lost.
async fn incoming<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    commands: &Commands,
    input: bool,
    permit: &Cell<Option<Permit<'_>>>,
) -> Result<(), Broken> {
    let mut buffer = Vec::new();
    loop {
        let frame = reader.next().await?.ok_or(Broken::Left)?;
        let word = match frame.kind {
            Ack::KIND => ToSupervisor::Ack(reader.message::<Ack>()?.into()),
            Kind::Stdin | StdinEnd::KIND | Resize::KIND if !input => return Err(Broken::Denied),
            StdinEnd::KIND => ToSupervisor::StdinEnd(reader.message::<StdinEnd>()?.len),
            Signal::KIND => {
                let Signal { number } = reader.message()?;
                ToSupervisor::Signal(channel::Signal { number, once: [0; 16] })
            }
            Resize::KIND => ToSupervisor::Resize(reader.message::<Resize>()?.into()),
            Release::KIND if is_finished(permit) => return Ok(()),
            // The command would run on, uncounted and out of its key's sight.
            Release::KIND => {
                return Err(LinkError::Misbehaved("it releases a job that runs").into());
            }
            Kind::Stdin => {
                let offset = u64::from_le_bytes(reader.bulk_array().await?);
                buffer.resize(reader.bulk_left(), 0);
                reader.bulk(&mut buffer).await?;
                if offset.checked_add(buffer.len() as u64).is_none() {
                    return Err(LinkError::Misbehaved("its stdin goes on behind the end").into());
                }
                log_unsent(commands.stdin(offset, &buffer).await);
                continue;
            }
            other => return Err(LinkError::Unexpected(other).into()),
        };
        log_unsent(commands.say(&word).await);
    }
}

fn log_unsent(said: Result<(), ChannelError>) {
    if let Err(error) = said {
        debug!("the job's supervisor takes no more words: {error}");
    }
}

/// Passes the supervisor's events and the job's output to the controller.
struct Outgoing<'a, 's, W> {
    writer: &'a mut Writer<W>,
    events: Events,
    sent: Ack,
    /// Of what was sent.
    digests: [StreamDigest; 2],
    /// Notices notes that are left, if the controller is to be told of them.
    notes: Option<watch::Receiver<()>>,
    /// Finished with the last frame that the agent sends for this request.
    permit: &'a Cell<Option<Permit<'s>>>,
}

impl<W: AsyncWrite + Unpin> Outgoing<'_, '_, W> {
    /// Passes everything on. Returns only if the command could not be started, a side broke, or the session
    /// is to end.
    async fn everything(&mut self, session: &Session) -> Result<Failure, Broken> {
        let mut buffer = Vec::new();
        let mut ends = self.sent;
        if self.notes.is_some() && self.sent == Ack::default() {
            let others = others(&session.agent, session.owner());
            self.writer.outbox().post(&OthersHere { others })?;
            self.tell_notes(session)?;
        }
        let mut exit: Option<Exit> = None;
        loop {
            self.output(ends, &mut buffer, session).await?;
            if let Some(exit) = exit.take_if(|exit| self.sent == totals(*exit)) {
                self.writer.outbox().post(&exit)?;
                let [stdout, stderr] = std::mem::take(&mut self.digests);
                let (stdout, stderr) = (stdout.of(exit.stdout), stderr.of(exit.stderr));
                let outcome = Outcome::Exited(exit, Digests { stdout, stderr });
                finish(self.permit, self.writer.outbox(), &outcome)?;
                // The supervisor has nothing more to report, and may end.
                return Err(tokio::select! {
                    () = session.stopped() => Broken::Stopped,
                    error = self.writer.drive() => error.into(),
                });
            }
            let event = tokio::select! {
                biased;
                () = session.stopped() => return Err(Broken::Stopped),
                error = self.writer.drive() => return Err(error.into()),
                event = self.events.next() => event?,
                () = left(&mut self.notes) => {
                    self.tell_notes(session)?;
                    continue;
                }
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

    /// Tells of the notes that the key has not seen.
    fn tell_notes(&mut self, session: &Session) -> Result<(), LinkError> {
        let unread = session.agent.notes.take_unread(session.owner()).into_iter();
        unread.map(note).try_for_each(|note| self.writer.outbox().post(&NoteLeft { note }))
    }

    /// Sends the output up to `ends`, both streams in turn.
    async fn output(
        &mut self,
        ends: Ack,
        buffer: &mut Vec<u8>,
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
        buffer: &mut Vec<u8>,
    ) -> Result<u64, Broken> {
        if from >= upto {
            return Ok(0);
        }
        // Most commands write little: no more is allocated and cleared than they need.
        let most = usize::try_from(upto - from).map_or(OUTPUT_FRAME, |len| len.min(OUTPUT_FRAME));
        if buffer.len() < most {
            buffer.resize(most, 0);
        }
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        let len = self.events.read(stream, from, upto, buffer)?;
        if len == 0 {
            return Err(ChannelError::Malformed.into());
        }
        self.digests[stream as usize].update(from, &buffer[..len]);
        self.writer.bulk(kind, &from.to_le_bytes(), &buffer[..len]).await?;
        Ok(len as u64)
    }
}

/// Waits until a note is left. Cancel-safe.
async fn left(notes: &mut Option<watch::Receiver<()>>) {
    if let Some(notes) = notes
        && notes.changed().await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

/// Where the output of an ended job ends.
pub(super) fn totals(exit: Exit) -> Ack {
    Ack { stdout: exit.stdout, stderr: exit.stderr }
}
