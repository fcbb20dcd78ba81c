//! One connection of a job: receives and sends frames until the command's end has arrived or the connection
//! breaks. State that must outlive it is in [`Job`].

use std::pin::pin;
use std::time::Duration;

use lariat_wire::grown::Grown;
use lariat_wire::limits::PING_AFTER;
use lariat_wire::link::{Link, LinkError, Outbox, Reader, Writer};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::{Ack, Exit, Release, Signal, Started, StdinEnd, StdinTaken};
use lariat_wire::protocol::job::Reading;
use lariat_wire::protocol::note::NoteLeft;
use lariat_wire::protocol::status::OthersHere;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::input::Next;
use super::job::{Job, Told};
use super::output::{Output, PART};
use crate::broken::Broken;

/// Unacknowledged bytes after which an acknowledgement is sent at once.
const ACK_BYTES: u64 = 256 * 1024;

/// How long fewer bytes wait for their acknowledgement.
const ACK_AFTER: Duration = Duration::from_millis(50);

/// How long the agent may take to read the last frames after it has sent the exit.
const GOODBYE: Duration = Duration::from_secs(1);

/// Follows the job until its end; then all output is written locally and acknowledged.
pub(crate) async fn follow<S, O, E>(link: &mut Link<S>, job: &Job<O, E>) -> Result<Exit, Broken>
where
    S: AsyncRead + AsyncWrite,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let outbox = link.outbox().clone();
    // The acknowledgements of an earlier connection may not have arrived.
    let mut incoming = Incoming { job, outbox, acked: Ack::default() };
    let mut sending = pin!(send(&mut link.writer, job));
    tokio::select! {
        biased;
        exit = incoming.receive(&mut link.reader) => {
            let exit = exit?;
            // The exit has arrived: a failure to send the last frames has no consequences.
            job.leave_connection();
            let _ = timeout(GOODBYE, sending).await;
            Ok(exit)
        }
        sent = &mut sending => Err(sent.err().unwrap_or(LinkError::Cut).into()),
    }
}

/// Reads the rest of a frame of output, which begins at this offset. While the queue is full and nothing is
/// read, `sign` tells the host that this client is alive.
pub(super) async fn take<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut Reader<R>,
    part: &mut Vec<u8>,
    offset: u64,
    output: &Output<W>,
    sign: impl Fn() -> Result<(), LinkError>,
) -> Result<(), LinkError> {
    output.begin(offset, reader.bulk_left())?;
    // Most commands write little: no more is allocated and cleared than they need.
    let most = reader.bulk_left().min(PART);
    if part.len() < most {
        part.resize(most, 0);
    }
    while reader.bulk_left() > 0 {
        // Takes partial frames: the next connection continues after whatever has arrived.
        let len = reader.bulk_arrived(part).await?;
        output.push(&part[..len]).await;
        while output.is_full() {
            tokio::select! {
                () = output.changed() => {}
                () = sleep(PING_AFTER) => sign()?,
            }
        }
    }
    Ok(())
}

/// Waits for the confirmation that a detached job was started; returns its exit if it has ended already.
pub(super) async fn answer<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
) -> Result<Option<Exit>, Broken> {
    match link.next().await?.ok_or(LinkError::Cut)?.kind {
        Kind::Started => {
            let Started { pid: _ } = link.reader.message()?;
            Ok(None)
        }
        Kind::Exit => Ok(Some(link.reader.message()?)),
        Kind::Failed => Err(Broken::Failed(link.reader.message()?)),
        other => Err(LinkError::Unexpected(other).into()),
    }
}

struct Incoming<'a, O, E> {
    job: &'a Job<O, E>,
    outbox: Outbox,
    acked: Ack,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Incoming<'_, O, E> {
    async fn receive<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
    ) -> Result<Exit, Broken> {
        let mut part = Vec::new();
        loop {
            match self.next(reader).await? {
                Kind::Stdout => self.output(reader, &mut part, &self.job.stdout).await?,
                Kind::Stderr => self.output(reader, &mut part, &self.job.stderr).await?,
                Kind::Started => {
                    let Started { pid: _ } = reader.message()?;
                    self.job.started();
                }
                Kind::Reading => {
                    let Reading { from } = reader.message()?;
                    self.job.begins_at(from)?;
                    self.acked = from;
                }
                Kind::NoteLeft => {
                    let NoteLeft { note } = reader.message()?;
                    self.job.tell(Told::Note(note.0));
                }
                Kind::OthersHere => {
                    let OthersHere { others } = reader.message()?;
                    let others = others.into_iter().map(|Grown(one)| one);
                    self.job.tell(Told::Others(others.collect()));
                }
                Kind::StdinTaken => {
                    let taken: StdinTaken = reader.message()?;
                    self.job.stdin_taken(taken)?;
                }
                Kind::Exit => {
                    let exit: Exit = reader.message()?;
                    self.end(exit).await?;
                    return Ok(exit);
                }
                Kind::Failed => return Err(Broken::Failed(reader.message()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            }
        }
    }

    /// Waits for a frame, and sends acknowledgements meanwhile.
    async fn next<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut Reader<R>,
    ) -> Result<Kind, LinkError> {
        loop {
            let unacked = self.unacked();
            if unacked >= ACK_BYTES {
                self.acknowledge()?;
            }
            tokio::select! {
                biased;
                frame = reader.next() => return frame?.map(|f| f.kind).ok_or(LinkError::Cut),
                () = self.job.stdout.changed() => {}
                () = self.job.stderr.changed() => {}
                () = sleep(ACK_AFTER), if unacked > 0 => self.acknowledge()?,
            }
        }
    }

    async fn output<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        reader: &mut Reader<R>,
        part: &mut Vec<u8>,
        output: &Output<W>,
    ) -> Result<(), LinkError> {
        let offset = u64::from_le_bytes(reader.bulk_array().await?);
        take(reader, part, offset, output, || self.outbox.post(&self.job.written())).await
    }

    /// The command has ended: its output must be complete, and is written before the exit is returned.
    async fn end(&mut self, exit: Exit) -> Result<(), LinkError> {
        let received = (self.job.stdout.position().received, self.job.stderr.position().received);
        if received != (exit.stdout, exit.stderr) {
            return Err(LinkError::Misbehaved("output is missing at the command's end"));
        }
        let drained = async { tokio::join!(self.job.stdout.drained(), self.job.stderr.drained()) };
        let mut drained = pin!(drained);
        loop {
            tokio::select! {
                biased;
                _ = &mut drained => break,
                () = sleep(PING_AFTER) => self.outbox.post(&self.job.written())?,
            }
        }
        self.acknowledge()?;
        self.outbox.post(&Release)
    }

    fn unacked(&self) -> u64 {
        let written = self.job.written();
        (written.stdout - self.acked.stdout) + (written.stderr - self.acked.stderr)
    }

    fn acknowledge(&mut self) -> Result<(), LinkError> {
        self.acked = self.job.written();
        self.outbox.post(&self.acked)
    }
}

/// Sends signals, stdin and posted frames, until the connection is finished.
async fn send<W, O, E>(writer: &mut Writer<W>, job: &Job<O, E>) -> Result<(), LinkError>
where
    W: AsyncWrite + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let mut body = Vec::new();
    loop {
        while let Some(number) = job.next_signal() {
            writer.outbox().post(&Signal { number })?;
        }
        if let Some(size) = job.next_size() {
            writer.outbox().post(&size)?;
        }
        match job.next_stdin(&mut body) {
            Some(Next::Bytes(offset)) => {
                writer.bulk(Kind::Stdin, &offset.to_le_bytes(), &body).await?;
                continue;
            }
            Some(Next::End(len)) => writer.outbox().post(&StdinEnd { len })?,
            None => {}
        }
        if job.is_leaving() {
            return writer.flush().await;
        }
        tokio::select! {
            biased;
            () = job.upward() => {}
            error = writer.drive() => return Err(error),
        }
    }
}
