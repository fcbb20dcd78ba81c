//! Waiting for whatever comes next.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::source::Source;
use super::state::EventLoop;
use crate::jobs::supervise::output::Output;

impl EventLoop {
    /// Waits until something happens, and says what.
    pub(super) fn wait(&self, now: Instant) -> io::Result<Vec<(Source, PollFlags)>> {
        let sources = self.sources(now);
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let growth = self.outputs.iter().filter_map(Output::grows_at).filter(|at| *at > now);
        let others = self.life.deadline(now).into_iter().chain(self.listen_at);
        let deadline = others.chain(growth).min();
        let timeout =
            deadline.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.iter().zip(&fds).map(|((source, ..), fd)| (*source, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn sources(&self, now: Instant) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = Vec::with_capacity(6);
        for (number, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = output.readable(now) {
                sources.push((Source::Output(number), pipe, PollFlags::IN));
            }
        }
        if let Some(pipe) = self.stdin.pipe() {
            // Without anything to write we still hear that the command closed it.
            let waits = self.stdin.is_waiting();
            let flags = if waits { PollFlags::OUT } else { PollFlags::empty() };
            sources.push((Source::Stdin, pipe, flags));
        }
        for (number, agent) in self.agents.iter().enumerate() {
            let Some(agent) = agent else { continue };
            let write = if agent.is_waiting() { PollFlags::OUT } else { PollFlags::empty() };
            sources.push((Source::Agent(number), agent.socket.as_fd(), PollFlags::IN | write));
        }
        if let Some(listener) = &self.listener {
            sources.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        sources.push((Source::Signals, self.signals.as_fd(), PollFlags::IN));
        sources
    }

    pub(super) fn handle(&mut self, source: Source, flags: PollFlags, now: Instant) {
        match source {
            // Nothing in it, and nobody left to write.
            Source::Output(number) if !flags.contains(PollFlags::IN) => {
                self.outputs[number].pipe = None;
            }
            Source::Output(number) => self.read(number, now),
            Source::Stdin if self.stdin.is_waiting() => self.stdin.pump(),
            Source::Stdin => self.stdin.close(),
            Source::Agent(_) if flags == PollFlags::OUT => {}
            Source::Agent(number) => self.hear(number, now),
            Source::Listener => self.accept(),
            Source::Signals => self.signalled(now),
        }
    }
}
