//! `logs`: the output of a detached job, as far as it is kept.
//!
//! The output is read from the job's own files, which exist as long as the job is kept. The supervisor of a
//! running job only announces new output. Any number of sessions may read at a time, each at its own pace.

use std::io;

use lariat_wire::limits::OUTPUT_FRAME;
use lariat_wire::link::{LinkError, Reader, Writer};
use lariat_wire::protocol::exec::Ack;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::job::{Logs, LogsEnd, Reading, Start, State};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite};

use super::find::find;
use super::follow::overdue;
use crate::core::{Outcome, Permit, Session};
use crate::jobs::{Event, Events, Found, JobName, JobStatus, LogReader, Stream};
use crate::transport::SessionLink;

/// Why reading did not reach the end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The files can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The controller ended the session or gave the request up.
    #[error("the controller left")]
    Left,
    /// The session is to end.
    #[error("the session is to end")]
    Stopped,
}

/// Sends the output, and follows the job to its end if the request asks for that.
pub(super) async fn serve(
    link: &mut SessionLink,
    logs: Logs,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let mut job = match open(logs, session).await {
        Ok(job) => job,
        Err(failure) => return permit.finish(link.outbox(), &Outcome::Failed(failure)),
    };
    link.outbox().post(&Reading { from: job.sent })?;
    let ended = tokio::select! {
        biased;
        left = listen(&mut link.reader) => Err(left),
        ended = job.everything(&mut link.writer, logs, session) => ended,
        // The controller does not read the frame that was being sent when the session was to end.
        () = overdue(session) => Err(Broken::Left),
    };
    let outcome = match ended {
        Ok(end) => {
            link.outbox().post(&end)?;
            Outcome::Done("read".to_owned())
        }
        Err(Broken::Link(error)) => return Err(error),
        // A session that is to end says goodbye itself.
        Err(Broken::Left | Broken::Stopped) => return Ok(()),
        Err(Broken::Io(error)) => Outcome::Failed(Failure::io(Action::Read, b"its log", &error)),
    };
    permit.finish(link.outbox(), &outcome)
}

async fn open(logs: Logs, session: &Session) -> Result<Job, Failure> {
    let Found { name, record, directory, status } = find(session, logs.job, logs.all_keys).await?;
    // The unread output of an ended job is kept too, detached or not.
    if !record.detached && !matches!(status, JobStatus::Over(_)) {
        return Err(Failure::request(Cause::NotKept));
    }
    let (events, state) = match status {
        JobStatus::Alive(events, _, _) => (Some(events), State::Running),
        JobStatus::Over(exit) => (None, State::Ended(exit.end)),
        JobStatus::Dead => (None, session.agent.jobs.died(&record)),
    };
    let failed = |error: io::Error| Failure::io(Action::Read, b"its log", &error);
    let other = directory.try_clone().map_err(failed)?;
    let mut readers =
        [LogReader::new(directory, Stream::Stdout), LogReader::new(other, Stream::Stderr)];
    if let State::Died { with_host: true } = state {
        for reader in &mut readers {
            reader.cut_unwritten().map_err(failed)?;
        }
    }
    let sent = begin(&mut readers, logs.from).map_err(failed)?;
    Ok(Job { name, readers, sent, events, state })
}

fn begin([stdout, stderr]: &mut [LogReader; 2], from: Start) -> io::Result<Ack> {
    Ok(match from {
        Start::Beginning => Ack { stdout: stdout.bounds()?.0, stderr: stderr.bounds()?.0 },
        Start::Lines(lines) => Ack { stdout: stdout.lines(lines)?, stderr: stderr.lines(lines)? },
        Start::Offsets(offsets) => offsets,
    })
}

/// Reads the controller's acknowledgements, which serve only to show that it is there.
async fn listen<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> Broken {
    loop {
        match reader.next().await {
            Ok(Some(frame)) if frame.kind == Ack::KIND => {
                if let Err(error) = reader.message::<Ack>() {
                    return error.into();
                }
            }
            Ok(Some(frame)) => return LinkError::Unexpected(frame.kind).into(),
            Ok(None) => return Broken::Left,
            Err(error) => return error.into(),
        }
    }
}

/// A job whose output is read.
struct Job {
    name: JobName,
    readers: [LogReader; 2],
    sent: Ack,
    /// Announces new output, as long as the job runs.
    events: Option<Events>,
    state: State,
}

impl Job {
    async fn everything<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut Writer<W>,
        logs: Logs,
        session: &Session,
    ) -> Result<LogsEnd, Broken> {
        let mut buffer = vec![0; OUTPUT_FRAME];
        loop {
            self.available(writer, &mut buffer, session).await?;
            let Some(events) = self.events.as_mut().filter(|_| logs.follow) else {
                return Ok(LogsEnd { upto: self.sent, state: self.state });
            };
            let event = tokio::select! {
                biased;
                () = session.stopped() => return Err(Broken::Stopped),
                error = writer.drive() => return Err(error.into()),
                event = events.next() => event,
            };
            match event {
                Ok(Event::Exit(exit)) => (self.events, self.state) = (None, State::Ended(exit.end)),
                Ok(_) => {}
                Err(_) => {
                    self.events = None;
                    self.state = session.agent.jobs.left_behind(self.name).map_err(Broken::Io)?;
                }
            }
        }
    }

    /// Sends what is available now, both streams in turn.
    async fn available<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut Writer<W>,
        buffer: &mut [u8],
        session: &Session,
    ) -> Result<(), Broken> {
        loop {
            if session.is_stopped() {
                return Err(Broken::Stopped);
            }
            let [stdout, stderr] = &mut self.readers;
            let one = part(stdout, Kind::Stdout, &mut self.sent.stdout, writer, buffer).await?;
            let two = part(stderr, Kind::Stderr, &mut self.sent.stderr, writer, buffer).await?;
            if !one && !two {
                return Ok(());
            }
        }
    }
}

/// Sends the next frame of a stream. Returns `false` if there is nothing to send.
async fn part<W: AsyncWrite + Unpin>(
    reader: &mut LogReader,
    kind: Kind,
    sent: &mut u64,
    writer: &mut Writer<W>,
    buffer: &mut [u8],
) -> Result<bool, Broken> {
    let Some((offset, len)) = reader.read(*sent, buffer)? else { return Ok(false) };
    writer.bulk(kind, &offset.to_le_bytes(), &buffer[..len]).await?;
    *sent = offset + len as u64;
    Ok(true)
}
