//! What has come over a socket between the agent and a supervisor and was not looked at yet.
//!
//! Invariant: a frame's length is checked before room is made for it.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use lariat_wire::frame::HEADER_LEN;
use lariat_wire::limits::MAX_FRAME;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::channel::{ChannelError, FDS, Vocabulary};

/// Bytes that an inbox has room for before a larger frame comes.
const READ: usize = 4 * 1024;

/// What has come and was not looked at yet: bytes and descriptors.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    fds: VecDeque<OwnedFd>,
}

/// One frame of an [`Inbox`].
pub(super) struct Frame<'a> {
    /// The number of the word that the payload is of.
    pub(super) word: u16,
    /// The payload.
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Decodes a message; `None` if this version does not know the word.
    pub(super) fn message<V: Vocabulary>(&self) -> Result<Option<V>, ChannelError> {
        Ok(V::decode(self.word, self.payload)?)
    }

    /// The offset and bytes of a piece of stdin.
    pub(super) fn stdin(&self) -> Result<(u64, &[u8]), ChannelError> {
        let (offset, bytes) = self.payload.split_first_chunk().ok_or(ChannelError::Malformed)?;
        Ok((u64::from_le_bytes(*offset), bytes))
    }
}

impl Inbox {
    /// Receives once from a socket. An end is [`ChannelError::Gone`]; nothing there, when asked not to
    /// wait, is [`io::ErrorKind::WouldBlock`].
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        flags: RecvFlags,
    ) -> io::Result<usize> {
        self.make_room();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.buffer[self.end..])];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let came = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.end += came.bytes;
        Ok(came.bytes)
    }

    /// The next whole frame, or `None` when more must be received first.
    pub(super) fn frame(&mut self) -> Result<Option<Frame<'_>>, ChannelError> {
        let Some((word, len)) = self.peek()? else { return Ok(None) };
        let from = self.start + HEADER_LEN;
        if self.end - from < len {
            return Ok(None);
        }
        self.start = from + len;
        Ok(Some(Frame { word, payload: &self.buffer[from..from + len] }))
    }

    /// The next descriptor that came with a frame.
    pub(super) fn fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Gives back the room that a large frame has taken.
    pub(super) fn shrink(&mut self) {
        if self.start == self.end {
            *self = Self { fds: std::mem::take(&mut self.fds), ..Self::default() };
        }
    }

    fn peek(&self) -> Result<Option<(u16, usize)>, ChannelError> {
        let Some((header, _)) = self.buffer[self.start..self.end].split_first_chunk() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, w0, w1, f0, f1]: [u8; HEADER_LEN] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > MAX_FRAME || [f0, f1] != [0, 0] {
            return Err(ChannelError::Malformed);
        }
        Ok(Some((u16::from_le_bytes([w0, w1]), len)))
    }

    /// Moves what is left to the front, and makes room for the frame that has begun.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let frame = self.peek().ok().flatten().map_or(0, |(_, len)| HEADER_LEN + len);
        let wanted = READ.max(frame);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        debug_assert!(
            self.end < self.buffer.len(),
            "a whole frame is taken before more is received"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::net::SendFlags;

    use super::super::channel::{ToSupervisor, message, send, send_all, stdin_header};
    use super::*;
    use crate::jobs::words::Offsets;

    #[test]
    fn frames_arrive_whole_with_their_descriptors_whatever_the_pieces() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ack = ToSupervisor::Ack(Offsets { stdout: 1, stderr: 2 });
        let bytes = message(&ack).unwrap();
        let mut inbox = Inbox::default();
        for (at, byte) in bytes.iter().enumerate() {
            assert!(inbox.frame().unwrap().is_none());
            let fds = [theirs.as_fd()];
            let fds = if at == 0 { &fds[..] } else { &[] };
            send(ours.as_fd(), &[IoSlice::new(&[*byte])], fds, SendFlags::empty()).unwrap();
            inbox.receive(theirs.as_fd(), RecvFlags::empty()).unwrap();
        }
        let frame = inbox.frame().unwrap().unwrap();
        assert_eq!(frame.message().unwrap(), Some(ack));
        assert!(inbox.fd().is_some());
        assert!(inbox.fd().is_none());
        assert!(inbox.frame().unwrap().is_none());
    }

    #[test]
    fn stdin_carries_its_offset() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let head = stdin_header(7, 3);
        send_all(&ours, &[&head[..], b"abc"].concat(), &[]).unwrap();
        let mut inbox = Inbox::default();
        inbox.receive(theirs.as_fd(), RecvFlags::empty()).unwrap();
        let frame = inbox.frame().unwrap().unwrap();
        assert_eq!(frame.stdin().unwrap(), (7, &b"abc"[..]));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [[0, 0, 0, 0, 1, 0, 1, 0], [255; 8]] {
            let mut inbox = Inbox { buffer: bytes.to_vec(), end: 8, ..Inbox::default() };
            assert!(inbox.frame().is_err());
        }
    }
}
