//! What agents say to a supervisor, and their coming and going.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use lariat_common::protocol::exec::Ack;
use rustix::net::RecvFlags;

use super::Watch;
use crate::jobs::channel::{ChannelError, ToSupervisor, Word};
use crate::jobs::folder;
use crate::jobs::inbox::{Frame, Inbox};
use crate::jobs::supervise::stdin::Misplaced;
use crate::jobs::supervise::tree::SIGKILL;
use crate::jobs::supervise::voice::Voice;

impl Watch {
    pub(super) fn hear(&mut self, now: Instant) {
        let Some(agent) = &mut self.agent else { return };
        let mut inbox = std::mem::take(&mut agent.inbox);
        let came = inbox.receive(agent.socket.as_fd(), RecvFlags::DONTWAIT);
        let heard = match came {
            Ok(0) => Err(ChannelError::Gone),
            Ok(_) => self.hear_all(&mut inbox, now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        };
        match (heard, &mut self.agent) {
            (Ok(()), Some(agent)) => agent.inbox = inbox,
            (Ok(()), None) => {}
            (Err(_), _) => self.lose_agent(now),
        }
    }

    fn hear_all(&mut self, inbox: &mut Inbox, now: Instant) -> Result<(), ChannelError> {
        while let Some(frame) = inbox.frame()? {
            self.obey(&frame, now)?;
        }
        Ok(())
    }

    fn obey(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), ChannelError> {
        if frame.word == Word::Stdin {
            let (offset, bytes) = frame.stdin()?;
            return self.stdin.offer(offset, bytes).map_err(|Misplaced| ChannelError::Malformed);
        }
        match frame.message()? {
            ToSupervisor::Begin(_) => return Err(ChannelError::Malformed),
            ToSupervisor::Ack(Ack { stdout, stderr }) => {
                let [one, two] = &mut self.outputs;
                if !one.spool.ack(stdout) || !two.spool.ack(stderr) {
                    return Err(ChannelError::Malformed);
                }
            }
            ToSupervisor::StdinEnd(end) => self.stdin.finish(end.len),
            ToSupervisor::Signal(signal) if signal.number == SIGKILL => {
                self.signal(SIGKILL);
                self.life.killed(now);
            }
            ToSupervisor::Signal(signal) => self.signal(signal.number),
            ToSupervisor::Release => self.life.release(),
        }
        Ok(())
    }

    pub(super) fn lose_agent(&mut self, now: Instant) {
        self.agent = None;
        self.life.attended(now, false);
        self.listen();
    }

    /// Lets other agents in.
    pub(super) fn listen(&mut self) {
        self.listen_at = None;
        if self.listener.is_none() {
            // Without it nobody can come back: the grace time decides then.
            self.listener = folder::listen(self.folder.as_fd()).ok();
        }
    }

    /// The newest agent replaces the one before.
    pub(super) fn accept(&mut self, now: Instant) {
        let Some(Ok((socket, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        if let Some(before) = self.agent.replace(Voice::later(socket)) {
            before.replaced();
        }
        self.life.attended(now, true);
    }
}
