//! A supervisor's connection to an agent: which state was sent, and what is sent next.
//!
//! Invariant: there is no queue. The next message is the difference between the current state and what was
//! sent, so an agent that does not read uses no memory, and a new agent receives everything.

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

/// The current state.
pub(super) struct View<'a> {
    pub(super) pid: Option<u32>,
    pub(super) stores: [&'a Store; 2],
    pub(super) taken: StdinTaken,
    pub(super) exit: Option<Exit>,
}

/// The state that was sent.
#[derive(Default)]
struct SentState {
    /// The agent knows the range of the job's output; the one that started the job does from the beginning.
    hello: bool,
    started: bool,
    moves: [u32; 2],
    output: Offsets,
    taken: StdinTaken,
    exit: bool,
}

pub(super) struct AgentPeer {
    pub(super) socket: UnixStream,
    pub(super) inbox: Inbox,
    /// Whether this agent's session follows the job: only that one acknowledges output and sends stdin.
    pub(super) follows: bool,
    state: SentState,
    frame: Vec<u8>,
    sent: usize,
    /// The socket had no room for a message with a descriptor, which is made again.
    is_full: bool,
}

impl AgentPeer {
    /// The agent that started the job.
    pub(super) fn first(socket: UnixStream, inbox: Inbox) -> Self {
        let state = SentState { hello: true, ..SentState::default() };
        Self { socket, inbox, follows: true, state, frame: Vec::new(), sent: 0, is_full: false }
    }

    /// An agent that connected later. It only observes the job until it sends `Follow`.
    pub(super) fn later(socket: UnixStream) -> Self {
        let (inbox, state) = (Inbox::default(), SentState::default());
        Self { socket, inbox, follows: false, state, frame: Vec::new(), sent: 0, is_full: false }
    }

    /// Sends that another session follows the job now, unless the socket is full.
    pub(super) fn replaced(mut self) {
        let Ok(frame) = channel::message(&ToAgent::Replaced(())) else { return };
        self.frame.extend_from_slice(&frame);
        let rest = [IoSlice::new(&self.frame[self.sent..])];
        let _ = channel::send(self.socket.as_fd(), &rest, &[], SendFlags::DONTWAIT);
    }

    /// Whether a message waits for room in the socket, so that the loop must poll for writability.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_full || self.is_unsent()
    }

    fn is_unsent(&self) -> bool {
        self.sent < self.frame.len()
    }

    /// Sends what has changed, as far as the socket takes it.
    pub(super) fn speak(&mut self, view: &View<'_>) -> io::Result<()> {
        self.is_full = false;
        loop {
            let mut fd = None;
            if !self.is_unsent() {
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
                        // The descriptor is attached to the first byte, which was not sent.
                        self.state.moves = [0; 2];
                        self.frame.clear();
                        (self.sent, self.is_full) = (0, true);
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

    /// Credit is returned in quarters, because each message wakes every process on its way to the controller.
    fn is_worth_telling(&self, view: &View<'_>) -> bool {
        let news = view.taken.upto.saturating_sub(self.taken.upto);
        view.taken.closed != self.taken.closed || news >= STDIN_CREDIT / 4
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::jobs::words::End;

    /// A stream's tail with a byte, so that its file is announced.
    fn tail(stream: Stream, directory: &OwnedFd) -> Store {
        let (read, mut write) = io::pipe().unwrap();
        io::Write::write_all(&mut write, b"x").unwrap();
        let mut spool = Spool::new(stream);
        spool.fill(read.as_fd(), directory.as_fd()).unwrap();
        Store::Tail(spool)
    }

    #[test]
    fn a_file_that_a_full_socket_did_not_take_is_announced_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let directory = File::open(directory.path()).unwrap().into();
        let stores = Stream::ALL.map(|stream| tail(stream, &directory));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let view =
            View { pid: None, stores: stores.each_ref(), taken: StdinTaken::default(), exit: None };
        ours.set_nonblocking(true).unwrap();
        let mut filler = 0;
        while let Ok(len) = rustix::io::write(&ours, &[0; 64]) {
            filler += len;
        }
        let mut peer = AgentPeer::first(ours, Inbox::default());
        peer.speak(&view).unwrap();
        assert!(peer.is_waiting());
        io::Read::read_exact(&mut &theirs, &mut vec![0; filler]).unwrap();
        peer.speak(&view).unwrap();
        assert!(!peer.is_waiting());
        let mut inbox = Inbox::default();
        inbox.receive(theirs.as_fd(), rustix::net::RecvFlags::DONTWAIT).unwrap();
        let frame = inbox.frame().unwrap().unwrap();
        assert!(matches!(frame.message().unwrap(), Some(ToAgent::Spool(_))));
        assert!(inbox.fd().is_some());
    }

    #[test]
    fn each_state_is_sent_once_and_the_exit_last() {
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
