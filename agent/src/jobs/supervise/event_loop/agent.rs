//! Handles agents: connections, messages, disconnections.
//!
//! One agent's session follows the job; the latest `Follow` replaces the one before. Other agents may observe
//! the job or send a signal.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use rustix::net::RecvFlags;

use super::state::EventLoop;
use crate::jobs::channel::{ChannelError, STDIN, Signal, ToSupervisor};
use crate::jobs::directory;
use crate::jobs::inbox::{Frame, Inbox};
use crate::jobs::supervise::agent_peer::AgentPeer;
use crate::jobs::supervise::stdin::Misplaced;
use crate::jobs::supervise::terminal;
use crate::jobs::supervise::tree::SIGKILL;
use crate::jobs::words::Offsets;

/// Most agents' connections at a time; further ones are closed.
const MOST: usize = 64;

impl EventLoop {
    /// Receives and handles messages of one agent.
    pub(super) fn hear(&mut self, number: usize, now: Instant) {
        let Some(agent) = &mut self.agents[number] else { return };
        let mut inbox = std::mem::take(&mut agent.inbox);
        let came = inbox.receive(agent.socket.as_fd(), RecvFlags::DONTWAIT);
        let heard = match came {
            Ok(0) => Err(ChannelError::Gone),
            Ok(_) => self.hear_all(&mut inbox, number, now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        };
        match (heard, &mut self.agents[number]) {
            (Ok(()), Some(agent)) => agent.inbox = inbox,
            (Ok(()), None) => {}
            (Err(_), _) => self.lose(number, now),
        }
    }

    fn hear_all(
        &mut self,
        inbox: &mut Inbox,
        number: usize,
        now: Instant,
    ) -> Result<(), ChannelError> {
        while let Some(frame) = inbox.frame()? {
            self.obey(&frame, number, now)?;
        }
        Ok(())
    }

    fn obey(&mut self, frame: &Frame<'_>, number: usize, now: Instant) -> Result<(), ChannelError> {
        let follows = self.agents[number].as_ref().is_some_and(|agent| agent.follows);
        if frame.word == STDIN {
            if !follows {
                return Err(ChannelError::Malformed);
            }
            let (offset, bytes) = frame.stdin()?;
            let offered = self.stdin.offer(offset, bytes);
            return offered.map_err(|Misplaced| ChannelError::Malformed);
        }
        // This version can do without words that it does not know.
        let Some(word) = frame.message()? else { return Ok(()) };
        match word {
            ToSupervisor::Signal(Signal { number, once }) => {
                if once == [0; 16] || self.sent.is_new(once) {
                    self.send(number, now);
                }
            }
            ToSupervisor::End(()) => self.life.end_job(),
            ToSupervisor::Follow(()) => self.follow(number, now),
            ToSupervisor::Ack(Offsets { stdout, stderr }) if follows => {
                let [one, two] = &mut self.outputs;
                if !one.store.ack(stdout) || !two.store.ack(stderr) {
                    return Err(ChannelError::Malformed);
                }
            }
            ToSupervisor::StdinEnd(len) if follows => self.stdin.finish(len),
            ToSupervisor::Resize(size) if follows => {
                if let Some(terminal) = self.outputs[0].pipe.as_ref().filter(|_| self.is_terminal) {
                    terminal::resize(terminal, size);
                }
            }
            ToSupervisor::Release(()) if follows => self.life.release(),
            // Only the first agent may begin a job, and the others need `Follow` first.
            ToSupervisor::Begin(_)
            | ToSupervisor::Ack(_)
            | ToSupervisor::StdinEnd(_)
            | ToSupervisor::Resize(_)
            | ToSupervisor::Release(()) => return Err(ChannelError::Malformed),
        }
        Ok(())
    }

    fn send(&mut self, signal: u8, now: Instant) {
        self.signal(signal);
        if signal == SIGKILL {
            self.life.killed(now);
            self.reap(now);
        }
    }

    /// Makes this agent's session the one that follows the job.
    fn follow(&mut self, number: usize, now: Instant) {
        let others = self.agents.iter_mut().enumerate().filter(|(other, _)| *other != number);
        for (_, agent) in others {
            if let Some(before) = agent.take_if(|agent| agent.follows) {
                before.replaced();
            }
        }
        if let Some(agent) = &mut self.agents[number] {
            agent.follows = true;
        }
        self.life.attended(now, true);
    }

    /// Handles the end of one agent's connection.
    pub(super) fn lose(&mut self, number: usize, now: Instant) {
        if self.agents[number].take().is_some_and(|agent| agent.follows) {
            self.life.attended(now, false);
        }
        self.listen();
    }

    /// Allows other agents to connect.
    pub(super) fn listen(&mut self) {
        self.listen_at = None;
        if self.listener.is_none() {
            // If this fails no agent can connect, and the grace time ends the job.
            self.listener = directory::listen(self.directory.as_fd()).ok();
        }
    }

    /// Accepts a connection, if a slot is free.
    pub(super) fn accept(&mut self) {
        let Some(Ok((socket, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        let agent = Some(AgentPeer::later(socket));
        match self.agents.iter().position(Option::is_none) {
            Some(free) => self.agents[free] = agent,
            None if self.agents.len() < MOST => self.agents.push(agent),
            None => {}
        }
    }
}
