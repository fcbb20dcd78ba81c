//! The part of a job that outlives its connections: how far output and stdin have come, and waiting signals.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use lariat_base::lock::lock;
use lariat_wire::link::{LinkError, Pulse};
use lariat_wire::protocol::exec::{Ack, Resize, StdinTaken};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use super::input::{FRAME, Input, Next};
use super::output::{Output, QUEUE, QUEUE_OF_MANY};
use crate::connect::Stage;

/// One command on one host, as the client sees it.
pub struct Job<O, E> {
    /// The command's stdout.
    pub(super) stdout: Output<O>,
    /// The command's stderr.
    pub(super) stderr: Output<E>,
    /// How far the connection came that asks for the command first. Later connections only ask for the
    /// command's state.
    pub(super) asking: Cell<Stage>,
    /// Whether the client knows how much of the output has arrived: the command was asked for here, or an agent
    /// has said where its output begins.
    known: Cell<bool>,
    up: Mutex<Up>,
    /// There is something to send.
    upward: Notify,
    /// There is room for stdin.
    room: Notify,
}

/// What goes to the host.
#[derive(Default)]
struct Up {
    input: Input,
    stdin_error: Option<io::Error>,
    signals: VecDeque<u8>,
    /// The terminal's newest size, if it was changed, and whether this connection was told.
    size: Option<(Resize, bool)>,
    /// The agent has said that the command runs.
    started: bool,
    /// The present connection's.
    pulse: Option<Pulse>,
    /// The agent has said so on the present connection. Nothing but the request is sent before that.
    open: bool,
    /// The present connection is done with.
    leaving: bool,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    received: Ack,
    stdin: u64,
    started: bool,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Job<O, E> {
    /// A command whose output goes to these destinations.
    pub fn new(stdout: O, stderr: E) -> Self {
        Self::with_queue(stdout, stderr, QUEUE)
    }

    /// One of many commands: less of its output may wait for a slow destination.
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
        }
    }

    /// What may be acknowledged.
    pub(crate) fn written(&self) -> Ack {
        Ack { stdout: self.stdout.position().written, stderr: self.stderr.position().written }
    }

    /// A new connection, with this pulse, has brought and sent nothing yet.
    pub(crate) fn reconnected(&self, pulse: &Pulse) {
        let mut up = self.lock();
        up.pulse = Some(pulse.clone());
        up.input.resume();
        (up.open, up.leaving) = (false, false);
        up.size = up.size.map(|(size, _)| (size, false));
    }

    /// Everything that it writes comes here, from its first byte on.
    pub(crate) fn known(&self) {
        self.known.set(true);
    }

    /// Whether it is known how much of its output has come here.
    pub(crate) fn is_known(&self) -> bool {
        self.known.get()
    }

    /// What comes of its output begins at these offsets: what is before them has gone elsewhere.
    pub(crate) fn begins_at(&self, from: Ack) -> Result<(), LinkError> {
        if self.known.replace(true) {
            return Err(LinkError::Misbehaved("it says where the output begins in its middle"));
        }
        self.stdout.skip(from.stdout)?;
        self.stderr.skip(from.stderr)?;
        Ok(())
    }

    /// When the agent has last said anything whole.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.lock().pulse.as_ref().and_then(Pulse::spoke)
    }

    /// How far everything has come, to tell whether it gets on.
    pub(crate) fn progress(&self) -> Progress {
        let up = self.lock();
        Progress { received: self.received(), stdin: up.input.position(), started: up.started }
    }

    /// How much of its output has arrived, written or not.
    pub fn received(&self) -> Ack {
        Ack { stdout: self.stdout.position().received, stderr: self.stderr.position().received }
    }

    /// The command runs, as the present connection has it.
    pub(crate) fn started(&self) {
        let mut up = self.lock();
        (up.started, up.open) = (true, true);
        drop(up);
        self.upward.notify_one();
    }

    /// Whether the agent has said that the command runs.
    pub fn has_started(&self) -> bool {
        self.lock().started
    }

    /// Whether the command may be running: it was asked for.
    pub(crate) fn may_run(&self) -> bool {
        self.asking.get() == Stage::Answer || self.has_started()
    }

    /// Sends the command a signal as soon as it runs.
    pub fn signal(&self, number: u8) {
        self.lock().signals.push_back(number);
        self.upward.notify_one();
    }

    /// Tells the command's terminal its new size.
    pub fn resize(&self, size: Resize) {
        self.lock().size = Some((size, false));
        self.upward.notify_one();
    }

    /// The terminal's size, if it is to be sent.
    pub(crate) fn next_size(&self) -> Option<Resize> {
        let mut up = self.lock();
        if !up.open {
            return None;
        }
        let (size, told) = up.size.as_mut()?;
        (!std::mem::replace(told, true)).then_some(*size)
    }

    /// The command has taken stdin.
    pub(crate) fn stdin_taken(&self, taken: StdinTaken) -> Result<(), LinkError> {
        self.lock().input.taken(taken)?;
        self.room.notify_one();
        Ok(())
    }

    /// Reads stdin as there is room for it, to its end or as long as the command wants it, lets go of
    /// the source, and then waits for ever. Resolves when the
    /// source fails ([`Self::take_stdin_error`]): that is not an end that the command may take for one.
    pub(crate) async fn read_stdin<R: AsyncRead + Unpin>(&self, mut source: R) {
        let mut buffer = vec![0; FRAME];
        while !self.lock().input.is_over() {
            let room = self.lock().input.room().min(buffer.len());
            if room == 0 {
                self.room.notified().await;
                continue;
            }
            // A command that closes its stdin leaves nobody to read for.
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

    /// Why stdin could not be read, if so; told once.
    pub(crate) fn take_stdin_error(&self) -> Option<io::Error> {
        self.lock().stdin_error.take()
    }

    /// The signal to send next.
    pub(crate) fn next_signal(&self) -> Option<u8> {
        let mut up = self.lock();
        if up.open { up.signals.pop_front() } else { None }
    }

    /// The stdin to send next; its bytes are put into `buffer`.
    pub(crate) fn next_stdin(&self, buffer: &mut Vec<u8>) -> Option<Next> {
        let mut up = self.lock();
        if up.open && !up.leaving { up.input.next(buffer) } else { None }
    }

    /// The present connection has seen the end: nothing more is sent on it.
    pub(crate) fn leave_connection(&self) {
        self.lock().leaving = true;
        self.upward.notify_one();
    }

    /// Whether the present connection is done with.
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
