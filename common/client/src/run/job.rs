//! The part of a job that outlives its connections: the progress of output and stdin, and pending signals.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use lariat_base::lock::lock;
use lariat_wire::link::{LinkError, Pulse};
use lariat_wire::protocol::exec::{Ack, Resize, StdinTaken};
use lariat_wire::protocol::note::Note;
use lariat_wire::protocol::status::SessionStatus;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use super::input::{FRAME, Input, Next};
use super::output::{Output, QUEUE, QUEUE_OF_MANY};
use crate::connect::Stage;

/// What a host tells beside a login shell.
#[derive(Clone, Debug)]
pub enum Told {
    /// Which other keys have sessions.
    Others(Vec<SessionStatus>),
    /// A note of another key.
    Note(Note),
}

/// Is called with what a host tells.
type Listener = Box<dyn Fn(Told) + Send>;

/// One command on one host, as the client sees it.
pub struct Job<O, E> {
    /// The command's stdout.
    pub(super) stdout: Output<O>,
    /// The command's stderr.
    pub(super) stderr: Output<E>,
    /// The stage of the connection that first requests the command. Later connections only request the
    /// command's state.
    pub(super) asking: Cell<Stage>,
    /// Whether the client knows how much of the output has arrived: it requested the command itself, or an
    /// agent reported where its output begins.
    known: Cell<bool>,
    up: Mutex<Up>,
    /// Notifies that there is something to send.
    upward: Notify,
    /// Notifies that there is room for stdin.
    room: Notify,
    listener: Option<Listener>,
}

/// What is sent to the host.
#[derive(Default)]
struct Up {
    input: Input,
    stdin_error: Option<io::Error>,
    signals: VecDeque<u8>,
    /// The terminal's latest size, if it changed, and whether it was sent on this connection.
    size: Option<(Resize, bool)>,
    /// The agent has confirmed that the command runs.
    started: bool,
    /// The pulse of the current connection.
    pulse: Option<Pulse>,
    /// The agent has confirmed that on the current connection. Before, only the request is sent.
    open: bool,
    /// The current connection is finished.
    leaving: bool,
}

/// A job's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    received: Ack,
    stdin: u64,
    started: bool,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Job<O, E> {
    /// A command whose output goes to these destinations, which are shut down behind its last byte.
    pub fn new(stdout: O, stderr: E) -> Self {
        Self::with_queue(stdout, stderr, QUEUE)
    }

    /// One of many commands: a shorter queue for slow destinations.
    pub fn one_of_many(stdout: O, stderr: E) -> Self {
        Self::with_queue(stdout, stderr, QUEUE_OF_MANY)
    }

    fn with_queue(stdout: O, stderr: E, most: usize) -> Self {
        Self {
            stdout: Output::new(stdout, most),
            stderr: Output::new(stderr, most),
            asking: Cell::new(Stage::Connect),
            known: Cell::new(false),
            up: Mutex::default(),
            upward: Notify::new(),
            room: Notify::new(),
            listener: None,
        }
    }

    /// Passes to `listener` what the host tells beside the command.
    #[must_use]
    pub fn telling(self, listener: impl Fn(Told) + Send + 'static) -> Self {
        Self { listener: Some(Box::new(listener)), ..self }
    }

    pub(crate) fn tell(&self, told: Told) {
        if let Some(listener) = &self.listener {
            listener(told);
        }
    }

    /// The output that may be acknowledged.
    pub(crate) fn written(&self) -> Ack {
        Ack { stdout: self.stdout.position().written, stderr: self.stderr.position().written }
    }

    /// A new connection with this pulse begins.
    pub(crate) fn reconnected(&self, pulse: &Pulse) {
        let mut up = self.lock();
        up.pulse = Some(pulse.clone());
        up.input.resume();
        (up.open, up.leaving) = (false, false);
        up.size = up.size.map(|(size, _)| (size, false));
    }

    /// All of the output will arrive here, from its first byte on.
    pub(crate) fn known(&self) {
        self.known.set(true);
    }

    /// Whether it is known how much of the output has arrived.
    pub(crate) fn is_known(&self) -> bool {
        self.known.get()
    }

    /// The output begins at these offsets: earlier output went to another client.
    pub(crate) fn begins_at(&self, from: Ack) -> Result<(), LinkError> {
        if self.known.replace(true) {
            return Err(LinkError::Misbehaved("it says where the output begins in its middle"));
        }
        self.stdout.skip(from.stdout)?;
        self.stderr.skip(from.stderr)?;
        Ok(())
    }

    /// When the last complete frame arrived.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.lock().pulse.as_ref().and_then(Pulse::spoke)
    }

    /// The progress in all directions, to detect a stall.
    pub(crate) fn progress(&self) -> Progress {
        let up = self.lock();
        Progress { received: self.received(), stdin: up.input.position(), started: up.started }
    }

    /// How much of the output has arrived, written or not.
    pub fn received(&self) -> Ack {
        Ack { stdout: self.stdout.position().received, stderr: self.stderr.position().received }
    }

    /// The agent has confirmed on the current connection that the command runs.
    pub(crate) fn started(&self) {
        let mut up = self.lock();
        (up.started, up.open) = (true, true);
        drop(up);
        self.upward.notify_one();
    }

    /// Whether the agent has confirmed that the command runs.
    pub fn has_started(&self) -> bool {
        self.lock().started
    }

    /// Whether the command may be running, because it was requested.
    pub(crate) fn may_run(&self) -> bool {
        self.asking.get() == Stage::Answer || self.has_started()
    }

    /// Sends the command a signal as soon as it runs.
    pub fn signal(&self, number: u8) {
        self.lock().signals.push_back(number);
        self.upward.notify_one();
    }

    /// Sends the terminal's new size.
    pub fn resize(&self, size: Resize) {
        self.lock().size = Some((size, false));
        self.upward.notify_one();
    }

    /// The terminal's size, if it must be sent.
    pub(crate) fn next_size(&self) -> Option<Resize> {
        let mut up = self.lock();
        if !up.open {
            return None;
        }
        let (size, told) = up.size.as_mut()?;
        (!std::mem::replace(told, true)).then_some(*size)
    }

    /// The command has read stdin.
    pub(crate) fn stdin_taken(&self, taken: StdinTaken) -> Result<(), LinkError> {
        self.lock().input.taken(taken)?;
        self.room.notify_one();
        Ok(())
    }

    /// Reads stdin while there is room, until its end or until the command closes it, drops the source, and
    /// then waits forever. Resolves if the source fails ([`Self::take_stdin_error`]), which must not look like
    /// an end of stdin to the command.
    pub(crate) async fn read_stdin<R: AsyncRead + Unpin>(&self, mut source: R) {
        let mut buffer = vec![0; FRAME];
        while !self.lock().input.is_over() {
            let room = self.lock().input.room().min(buffer.len());
            if room == 0 {
                self.room.notified().await;
                continue;
            }
            // Stops reading when the command closes its stdin.
            let read = tokio::select! {
                biased;
                read = source.read(&mut buffer[..room]) => read,
                () = self.room.notified() => continue,
            };
            let len = match read {
                Ok(len) => len,
                Err(error) => {
                    self.lock().stdin_error = Some(error);
                    return;
                }
            };
            let mut up = self.lock();
            if up.input.room() >= len {
                up.input.read(&buffer[..len]);
            }
            drop(up);
            self.upward.notify_one();
        }
        drop(source);
        pending::<()>().await;
    }

    /// The error of reading stdin; returned once.
    pub(crate) fn take_stdin_error(&self) -> Option<io::Error> {
        self.lock().stdin_error.take()
    }

    /// The next signal to send.
    pub(crate) fn next_signal(&self) -> Option<u8> {
        let mut up = self.lock();
        if up.open { up.signals.pop_front() } else { None }
    }

    /// The next stdin to send; its bytes are put into `buffer`.
    pub(crate) fn next_stdin(&self, buffer: &mut Vec<u8>) -> Option<Next> {
        let mut up = self.lock();
        if up.open && !up.leaving { up.input.next(buffer) } else { None }
    }

    /// The current connection has received the end: nothing more is sent on it.
    pub(crate) fn leave_connection(&self) {
        self.lock().leaving = true;
        self.upward.notify_one();
    }

    /// Whether the current connection is finished.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// Resolves when there may be something to send.
    pub(crate) async fn upward(&self) {
        self.upward.notified().await;
    }

    /// The destinations of its output.
    pub fn into_outputs(self) -> (O, E) {
        (self.stdout.into_destination(), self.stderr.into_destination())
    }

    fn lock(&self) -> MutexGuard<'_, Up> {
        lock(&self.up)
    }
}
