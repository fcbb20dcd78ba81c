//! Reads the output of a detached job, over as many connections as necessary.
//!
//! Nothing is acknowledged: reading changes nothing on the host.

use std::io;
use std::time::{Duration, Instant};

use lariat_base::name::JobId;
use lariat_wire::link::{Link, LinkError, Outbox, Reader};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::Ack;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::job::{Logs, LogsEnd, Reading, Start, State};
use tokio::io::{AsyncRead, AsyncWrite};

use super::output::{Output, QUEUE, QUEUE_OF_MANY};
use super::session::take;
use crate::backoff::is_broken_connection;
use crate::broken::Broken;
use crate::connect::{ConnectError, Session};
use crate::host::HostHandle;
use crate::retry::Retry;
use crate::watch::Watched;

/// A connection that has lasted this long counts as progress.
const GOOD: Duration = Duration::from_secs(10);

/// How long a connection may be silent before another one is tried beside it.
const SECOND_AFTER: Duration = Duration::from_millis(2500);

/// The reader of a detached job's output.
pub struct Log<O, E> {
    stdout: Output<O>,
    stderr: Output<E>,
}

/// The requested output.
pub struct Wanted {
    /// The job whose output is read.
    pub job: JobId,
    /// Where to begin.
    pub start: Start,
    /// Whether to wait for more until the job has ended.
    pub follow: bool,
    /// Whether it may be another key's job, which takes the verb `keys`.
    pub all_keys: bool,
}

/// Why the output was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The host was not reached again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the agent reported a failure.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A destination failed.
    #[error("write output: {}", lariat_base::os_error::io_error(.0))]
    Local(#[source] io::Error),
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Log<O, E> {
    /// Output that goes to these destinations, which are shut down behind its last byte.
    pub fn new(stdout: O, stderr: E) -> Self {
        Self { stdout: Output::new(stdout, QUEUE), stderr: Output::new(stderr, QUEUE) }
    }

    /// One of many jobs: a shorter queue for slow destinations.
    pub fn one_of_many(stdout: O, stderr: E) -> Self {
        let most = QUEUE_OF_MANY;
        Self { stdout: Output::new(stdout, most), stderr: Output::new(stderr, most) }
    }

    /// The destinations of its output.
    pub fn into_outputs(self) -> (O, E) {
        (self.stdout.into_destination(), self.stderr.into_destination())
    }

    /// Reads the output, on the given connection if there is one, and returns the job's state. Calls `lost`
    /// with the stream's name and the number of bytes wherever bytes were not kept.
    pub async fn read(
        &self,
        host: &HostHandle,
        session: Option<Session>,
        wanted: &Wanted,
        lost: impl Fn(&'static str, u64),
    ) -> Result<State, LogsError> {
        let read = async {
            tokio::select! {
                biased;
                () = self.stdout.failed() => None,
                () = self.stderr.failed() => None,
                read = self.connections(host, session, wanted, &lost) => Some(read),
                () = async { tokio::join!(self.stdout.drain(), self.stderr.drain()); } => {
                    unreachable!("it writes for ever")
                }
            }
        };
        let read = read.await;
        if let Some(error) = self.stdout.take_error().or_else(|| self.stderr.take_error()) {
            return Err(LogsError::Local(error));
        }
        read.unwrap_or_else(|| Err(LogsError::Local(io::ErrorKind::WriteZero.into())))
    }

    async fn connections(
        &self,
        host: &HostHandle,
        first: Option<Session>,
        wanted: &Wanted,
        lost: &impl Fn(&'static str, u64),
    ) -> Result<State, LogsError> {
        let mut retry = Retry::new(host);
        if let Some(first) = first {
            retry.keep(first);
        }
        let Wanted { job, start: from, follow, all_keys } = *wanted;
        let mut logs = Logs { job, from, follow, all_keys };
        let ended = loop {
            let before = self.received();
            // Repeating the request is harmless.
            let mut session = match retry.ask_again(&logs).await {
                Ok(session) => session,
                Err(error) => break Err(error.into()),
            };
            let made = Instant::now();
            let pulse = session.link.reader.pulse().clone();
            let read = self.converse(&mut session.link, &mut logs, lost);
            let watched = host.watch(&pulse, Some(SECOND_AFTER), read).await;
            // A connection to a job without output may be good all the same.
            let moved = made.elapsed() >= GOOD || self.received() != before;
            // Output that this connection delivered is not requested again.
            if let Start::Offsets(received) = &mut logs.from {
                *received = self.received();
            }
            let error = match watched {
                Watched::Done(Ok(state)) => break Ok(state),
                Watched::Done(Err(error)) => error,
                Watched::Silent => LinkError::Silent.into(),
                Watched::Replaced(other) => {
                    if retry.replaced(other, moved) {
                        continue;
                    }
                    LinkError::Silent.into()
                }
            };
            let again = matches!(&error, Broken::Link(error) if is_broken_connection(error));
            if !again || !retry.broke(moved).await {
                break Err(error.into());
            }
        };
        tokio::join!(self.stdout.drained(), self.stderr.drained());
        ended
    }

    /// Reads on one connection. After its first answer, `logs` requests offsets.
    async fn converse<S: AsyncRead + AsyncWrite>(
        &self,
        link: &mut Link<S>,
        logs: &mut Logs,
        lost: &impl Fn(&'static str, u64),
    ) -> Result<State, Broken> {
        let outbox = link.outbox().clone();
        tokio::select! {
            biased;
            error = link.writer.drive() => Err(error.into()),
            ended = self.receive(&mut link.reader, &outbox, logs, lost) => ended,
        }
    }

    async fn receive<R: AsyncRead + Unpin>(
        &self,
        reader: &mut Reader<R>,
        outbox: &Outbox,
        logs: &mut Logs,
        lost: &impl Fn(&'static str, u64),
    ) -> Result<State, Broken> {
        let mut part = Vec::new();
        let sign = || outbox.post(&self.received());
        loop {
            match reader.next().await?.ok_or(LinkError::Cut)?.kind {
                Kind::Reading => {
                    let Reading { from } = reader.message()?;
                    // A request for the last lines skips earlier output on purpose.
                    let missed: &dyn Fn(&'static str, u64) =
                        if matches!(logs.from, Start::Lines(_)) { &|_, _| {} } else { lost };
                    skip(&self.stdout, from.stdout, "stdout", missed)?;
                    skip(&self.stderr, from.stderr, "stderr", missed)?;
                    logs.from = Start::Offsets(from);
                }
                Kind::Stdout => {
                    let offset = u64::from_le_bytes(reader.bulk_array().await?);
                    skip(&self.stdout, offset, "stdout", lost)?;
                    take(reader, &mut part, offset, &self.stdout, sign).await?;
                }
                Kind::Stderr => {
                    let offset = u64::from_le_bytes(reader.bulk_array().await?);
                    skip(&self.stderr, offset, "stderr", lost)?;
                    take(reader, &mut part, offset, &self.stderr, sign).await?;
                }
                Kind::LogsEnd => {
                    let LogsEnd { upto, state } = reader.message()?;
                    if upto != self.received() {
                        return Err(LinkError::Misbehaved("output is missing at its end").into());
                    }
                    return Ok(state);
                }
                Kind::Failed => return Err(Broken::Failed(reader.message::<Failure>()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            }
        }
    }

    fn received(&self) -> Ack {
        Ack { stdout: self.stdout.position().received, stderr: self.stderr.position().received }
    }
}

/// The next output begins at this offset: the output before it was not kept.
fn skip<W: AsyncWrite + Unpin>(
    output: &Output<W>,
    offset: u64,
    name: &'static str,
    lost: &(impl Fn(&'static str, u64) + ?Sized),
) -> Result<(), LinkError> {
    match output.skip(offset)? {
        0 => {}
        missing => lost(name, missing),
    }
    Ok(())
}
