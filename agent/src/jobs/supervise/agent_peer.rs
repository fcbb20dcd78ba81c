//! What the agent has been told, and what it is to be told next.
//!
//! Invariant: nothing queues. What to say follows from the difference between how things are and what
//! was said, so an agent that does not read makes nothing grow, and a new one is told everything.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use lariat_wire::limits::STDIN_CREDIT;
use rustix::net::SendFlags;

use crate::jobs::channel::{self, Hello, OutputRange, SpoolFile, ToAgent, VERSION};
use crate::jobs::inbox::Inbox;
use crate::jobs::spool::Spool;
use crate::jobs::stream::Stream;
use crate::jobs::supervise::output::Store;
use crate::jobs::words::{Exit, Offsets, StdinTaken};

/// How things are.
pub(super) struct View<'a> {
    pub(super) pid: Option<u32>,
    pub(super) stores: [&'a Store; 2],
    pub(super) taken: StdinTaken,
    pub(super) exit: Option<Exit>,
}

/// What was said.
#[derive(Default)]
struct SentState {
    /// The agent knows how the job's output stands; the one that started the job does.
    hello: bool,
    started: bool,
    moves: [u32; 2],
    output: Offsets,
    taken: StdinTaken,
    exit: bool,
}

/// The conversation with one agent.
pub(super) struct AgentPeer {
    pub(super) socket: UnixStream,
    pub(super) inbox: Inbox,
    /// Whether the job's controller is with this one: nobody else acknowledges and sends stdin.
    pub(super) follows: bool,
    state: SentState,
    frame: Vec<u8>,
    sent: usize,
}

impl AgentPeer {
    /// The agent that started the job.
    pub(super) fn first(socket: UnixStream, inbox: Inbox) -> Self {
        let state = SentState { hello: true, ..SentState::default() };
        Self { socket, inbox, follows: true, state, frame: Vec::new(), sent: 0 }
    }

    /// One that came later, and only listens as long as it says nothing else.
    pub(super) fn later(socket: UnixStream) -> Self {
        let (inbox, state) = (Inbox::default(), SentState::default());
        Self { socket, inbox, follows: false, state, frame: Vec::new(), sent: 0 }
    }

    /// Says that another agent has taken its place, if it can hear that now.
    pub(super) fn replaced(mut self) {
        let Ok(frame) = channel::message(&ToAgent::Replaced(())) else { return };
        self.frame.extend_from_slice(&frame);
        let rest = [IoSlice::new(&self.frame[self.sent..])];
        let _ = channel::send(self.socket.as_fd(), &rest, &[], SendFlags::DONTWAIT);
    }

    /// Whether a message is half sent, so that the socket must be written to.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent < self.frame.len()
    }

    /// Says what there is to say, as far as the socket takes it.
    pub(super) fn speak(&mut self, view: &View<'_>) -> io::Result<()> {
        loop {
            let mut fd = None;
            if !self.is_waiting() {
                let Some((message, with)) = self.state.next(view) else { return Ok(()) };
                self.frame = channel::message(&message).map_err(io::Error::other)?;
                self.sent = 0;
                fd = with;
            }
            let rest = [IoSlice::new(&self.frame[self.sent..])];
            match channel::send(self.socket.as_fd(), &rest, fd.as_slice(), SendFlags::DONTWAIT) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if fd.is_some() {
                        // The descriptor belongs to the first byte, which did not leave.
                        self.state.moves = [0; 2];
                        self.frame.clear();
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl SentState {
    fn next<'a>(&mut self, view: &View<'a>) -> Option<(ToAgent, Option<BorrowedFd<'a>>)> {
        let [stdout, stderr] = view.stores.map(Store::end);
        let upto = Offsets { stdout, stderr };
        if !self.hello {
            self.hello = true;
            let [stdout, stderr] = view.stores.map(|store| store.tail().map_or(0, Spool::acked));
            let range = OutputRange { from: Offsets { stdout, stderr }, upto };
            return Some((ToAgent::Hello(Hello { version: VERSION, range }), None));
        }
        if let (false, Some(pid)) = (self.started, view.pid) {
            self.started = true;
            return Some((ToAgent::Started(pid), None));
        }
        for (stream, store) in Stream::ALL.into_iter().zip(view.stores) {
            if let Some(spool) = store.tail()
                && let Some((file, moves)) = spool.file()
                && self.moves[stream as usize] != moves
                && spool.end() > 0
            {
                self.moves[stream as usize] = moves;
                let capacity = spool.capacity();
                return Some((ToAgent::Spool(SpoolFile { stream, capacity }), Some(file)));
            }
        }
        if self.output != upto {
            self.output = upto;
            return Some((ToAgent::Output(self.output), None));
        }
        if self.is_worth_telling(view) {
            self.taken = view.taken;
            return Some((ToAgent::StdinTaken(self.taken), None));
        }
        if let (false, Some(exit)) = (self.exit, view.exit) {
            self.exit = true;
            return Some((ToAgent::Exit(exit), None));
        }
        None
    }

    /// Credit goes back in quarters: each time costs a turn of every process between here and stdin.
    fn is_worth_telling(&self, view: &View<'_>) -> bool {
        let news = view.taken.upto.saturating_sub(self.taken.upto);
        view.taken.closed != self.taken.closed || news >= STDIN_CREDIT / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::words::End;

    #[test]
    fn each_thing_is_said_once_and_the_exit_last() {
        let stores = Stream::ALL.map(|stream| Store::Tail(Spool::new(stream)));
        let mut view = View {
            pid: Some(7),
            stores: stores.each_ref(),
            taken: StdinTaken { upto: 5, closed: false },
            exit: None,
        };
        let mut state = SentState { hello: true, ..SentState::default() };
        let mut next = |view: &View<'_>| state.next(view).map(|(message, _)| message);
        assert_eq!(next(&view), Some(ToAgent::Started(7)));
        assert_eq!(next(&view), None, "a little credit waits for more");
        view.taken.upto = STDIN_CREDIT / 4;
        let exit = Exit { end: End::Exited(0), output: Offsets::default() };
        view.exit = Some(exit);
        assert_eq!(next(&view), Some(ToAgent::StdinTaken(view.taken)));
        assert_eq!(next(&view), Some(ToAgent::Exit(exit)));
        assert_eq!(next(&view), None);
    }
}
