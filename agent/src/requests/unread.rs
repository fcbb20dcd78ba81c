//! The rest of a job that ended without its controller: the output that the controller has not acknowledged,
//! and the exit. It is read from the job's directory, because the supervisor has ended.

use std::io;
use std::os::fd::OwnedFd;

use lariat_base::name::JobId;
use lariat_wire::limits::OUTPUT_FRAME;
use lariat_wire::link::{LinkError, Reader, Writer};
use lariat_wire::protocol::exec::{Ack, Exit, Release, Resize, Signal, StdinEnd};
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::job::Reading;
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite};

use super::follow::{forgotten, totals};
use crate::core::{Outcome, Permit, Session};
use crate::jobs::{LogReader, Stream};
use crate::transport::SessionLink;

/// What the controller has not received of an ended job.
pub(super) struct Unread {
    readers: [LogReader; 2],
    exit: Exit,
    from: Ack,
    /// Whether the controller has to be told where the output begins.
    is_told: bool,
}

/// Why sending did not reach the end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The controller ended the session in the middle.
    #[error("the controller left")]
    Left,
}

impl Unread {
    /// Opens the output from the offsets `received`, or all that is left. Returns `None` if output before
    /// what is left is wanted.
    pub(super) fn open(
        directory: OwnedFd,
        exit: Exit,
        received: Option<Ack>,
    ) -> io::Result<Option<Self>> {
        let other = directory.try_clone()?;
        let mut readers =
            [LogReader::new(directory, Stream::Stdout), LogReader::new(other, Stream::Stderr)];
        let ends = totals(exit);
        let first = |reader: &mut LogReader, end: u64| {
            let (first, upto) = reader.bounds()?;
            // Output that did not fit the disk is incomplete, so none of it is sent.
            io::Result::Ok(if upto == end { first } else { end })
        };
        let [stdout, stderr] = &mut readers;
        let left = Ack { stdout: first(stdout, ends.stdout)?, stderr: first(stderr, ends.stderr)? };
        let from = received.unwrap_or(left);
        let is_there = (left.stdout..=ends.stdout).contains(&from.stdout)
            && (left.stderr..=ends.stderr).contains(&from.stderr);
        Ok(is_there.then_some(Self { readers, exit, from, is_told: received.is_none() }))
    }

    /// Sends the output, and forgets the job once the controller has everything.
    pub(super) async fn serve(
        mut self,
        link: &mut SessionLink,
        job: JobId,
        permit: Permit<'_>,
        session: &Session,
    ) -> Result<(), LinkError> {
        if self.is_told {
            link.outbox().post(&Reading { from: self.from })?;
        }
        let exit = self.exit;
        let broken = tokio::select! {
            biased;
            released = listen(&mut link.reader) => match released {
                Ok(()) => {
                    forgotten(job, session.agent.jobs.release(session.job(job)));
                    return permit.finish(link.outbox(), &Outcome::Exited(exit));
                }
                Err(broken) => broken,
            },
            // The session itself says goodbye.
            () = session.stopped() => return Ok(()),
            broken = self.send(&mut link.writer) => broken,
        };
        match broken {
            Broken::Link(error) => Err(error),
            Broken::Left => Ok(()),
            Broken::Io(error) => {
                let failure = Failure::io(Action::Read, b"its output", &error);
                permit.finish(link.outbox(), &Outcome::Failed(failure))
            }
        }
    }

    /// Sends the output and the exit, then whatever is posted. Returns only with an error.
    async fn send<W: AsyncWrite + Unpin>(&mut self, writer: &mut Writer<W>) -> Broken {
        match self.output(writer).await {
            Ok(()) => writer.drive().await.into(),
            Err(broken) => broken,
        }
    }

    async fn output<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut Writer<W>,
    ) -> Result<(), Broken> {
        let Self { readers: [stdout, stderr], exit, from, .. } = self;
        let mut buffer = vec![0; OUTPUT_FRAME];
        let streams = [
            (Kind::Stdout, stdout, from.stdout, exit.stdout),
            (Kind::Stderr, stderr, from.stderr, exit.stderr),
        ];
        for (kind, reader, mut at, end) in streams {
            while at < end {
                let read = reader.read(at, &mut buffer)?.filter(|(offset, _)| *offset == at);
                let (_, len) = read.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
                writer.bulk(kind, &at.to_le_bytes(), &buffer[..len]).await?;
                at += len as u64;
            }
        }
        Ok(writer.outbox().post(exit)?)
    }
}

/// Waits until the controller releases the job.
async fn listen<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> Result<(), Broken> {
    loop {
        let frame = reader.next().await?.ok_or(Broken::Left)?;
        match frame.kind {
            Release::KIND => return Ok(()),
            Ack::KIND => drop(reader.message::<Ack>()?),
            // The command has ended: these no longer matter.
            Signal::KIND | StdinEnd::KIND | Resize::KIND => {}
            Kind::Stdin => reader.skip_bulk().await?,
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}
