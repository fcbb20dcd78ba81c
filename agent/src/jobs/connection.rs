//! An agent's conversation with one supervisor.
//!
//! Two halves that are used side by side: [`Events`] hears what became of the job and reads its output,
//! [`Commands`] passes on what the controller says. Dropping both is all it takes to leave; the job goes
//! on for its grace time.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use lariat_wire::protocol::exec::{Ack, Exit, Started, StdinTaken};
use lariat_wire::protocol::failure::Failure;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::channel::{
    self, ChannelError, OutputRange, STDIN_FRAME, SpoolFile, ToAgent, ToSupervisor,
};
use super::inbox::Inbox;
use super::spool_file::SpoolReader;
use super::stream::Stream;

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its command runs.
    Started(Started),
    /// It was not started, and why.
    Failed(Failure),
    /// Its output reaches this far.
    Output(Ack),
    /// The command has taken this much of its stdin.
    StdinTaken(StdinTaken),
    /// It has ended.
    Exit(Exit),
    /// How far its output has come: the first thing to hear of a job that somebody else started.
    OutputRange(OutputRange),
    /// Another conversation has taken this one's place.
    Replaced,
}

/// Hears what a supervisor says.
pub struct Events {
    socket: Arc<UnixStream>,
    inbox: Inbox,
    spools: [Option<SpoolReader>; 2],
}

/// Talks to a supervisor.
pub struct Commands {
    socket: Arc<UnixStream>,
}

/// Both halves of a conversation. Needs a tokio runtime around it.
pub(super) fn halves(socket: StdStream) -> io::Result<(Events, Commands)> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UnixStream::from_std(socket)?);
    let events =
        Events { socket: Arc::clone(&socket), inbox: Inbox::default(), spools: [None, None] };
    Ok((events, Commands { socket }))
}

impl Events {
    /// The next thing that the supervisor says. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Event, ChannelError> {
        loop {
            if let Some(event) = self.heard()? {
                return Ok(event);
            }
            let (socket, inbox) = (&self.socket, &mut self.inbox);
            let receive = || inbox.receive(socket.as_fd(), RecvFlags::DONTWAIT);
            if socket.async_io(Interest::READABLE, receive).await? == 0 {
                return Err(ChannelError::Gone);
            }
        }
    }

    /// What was received and not told yet.
    fn heard(&mut self) -> Result<Option<Event>, ChannelError> {
        while let Some(frame) = self.inbox.frame()? {
            // A word of a newer version is about something that this one does without.
            let Some(word) = frame.message()? else { continue };
            return Ok(Some(match word {
                ToAgent::Started(pid) => Event::Started(Started { pid }),
                ToAgent::NotStarted(why) => Event::Failed(why.into()),
                ToAgent::Output(ends) => Event::Output(ends.into()),
                ToAgent::StdinTaken(taken) => Event::StdinTaken(taken.into()),
                ToAgent::Exit(exit) => Event::Exit(exit.into()),
                ToAgent::Hello(hello) => Event::OutputRange(hello.range),
                ToAgent::Replaced(()) => Event::Replaced,
                ToAgent::Spool(SpoolFile { stream, capacity }) => {
                    let file = self.inbox.fd().ok_or(ChannelError::Malformed)?;
                    let spool = SpoolReader::new(file, capacity).ok_or(ChannelError::Malformed)?;
                    self.spools[stream as usize] = Some(spool);
                    continue;
                }
            }));
        }
        Ok(None)
    }

    /// Reads output from offset `from` on, up to `upto`, which the supervisor must have announced.
    /// Fewer bytes come when the buffer is full or the spool wraps.
    pub fn read(
        &self,
        stream: Stream,
        from: u64,
        upto: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ChannelError> {
        let spool = self.spools[stream as usize].as_ref().ok_or(ChannelError::Malformed)?;
        Ok(spool.read(from, upto, buffer)?)
    }
}

impl Commands {
    /// Says something. Must not be cancelled, nor called twice at once.
    pub async fn say(&self, message: &ToSupervisor) -> Result<(), ChannelError> {
        self.send(&[], &channel::message(message)?).await
    }

    /// Passes on bytes of stdin. Must not be cancelled, nor called twice at once.
    pub async fn stdin(&self, offset: u64, bytes: &[u8]) -> Result<(), ChannelError> {
        let mut offset = offset;
        for piece in bytes.chunks(STDIN_FRAME) {
            self.send(&channel::stdin_header(offset, piece.len()), piece).await?;
            offset = offset.checked_add(piece.len() as u64).ok_or(ChannelError::Malformed)?;
        }
        Ok(())
    }

    /// Says nothing more; the supervisor hangs up once it has heard everything.
    pub fn finish(&self) -> Result<(), ChannelError> {
        Ok(rustix::net::shutdown(&*self.socket, Shutdown::Write).map_err(io::Error::from)?)
    }

    async fn send(&self, head: &[u8], body: &[u8]) -> Result<(), ChannelError> {
        let mut done = 0;
        while done < head.len() + body.len() {
            let parts = [
                IoSlice::new(&head[done.min(head.len())..]),
                IoSlice::new(&body[done.saturating_sub(head.len())..]),
            ];
            let send = || channel::send(self.socket.as_fd(), &parts, &[], SendFlags::DONTWAIT);
            done += self.socket.async_io(Interest::WRITABLE, send).await?;
        }
        Ok(())
    }
}
