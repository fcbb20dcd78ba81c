//! Entries for fuzzers to what comes over a supervisor's socket.

use std::os::fd::AsFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::channel::{ToAgent, ToSupervisor};
use super::inbox::Inbox;

/// Receives frames: `bytes` come in pieces whose length the first one says.
///
/// # Panics
/// When something is left that is neither taken as a frame nor the beginning of one.
pub fn inbox(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let (theirs, ours) =
        socketpair(family, kind, SocketFlags::CLOEXEC, None).expect("a pair of sockets");
    let mut inbox = Inbox::default();
    for piece in bytes.chunks(usize::from(piece).saturating_mul(64) + 1) {
        send(&theirs, piece, SendFlags::empty()).expect("the socket has room for a piece");
        let mut left = piece.len();
        while left > 0 {
            left -= inbox.receive(ours.as_fd(), RecvFlags::DONTWAIT).expect("a piece was sent");
            loop {
                let Ok(frame) = inbox.frame() else { return };
                let Some(frame) = frame else { break };
                let _ = (frame.message::<ToSupervisor>(), frame.message::<ToAgent>());
                let _ = frame.stdin();
            }
        }
        inbox.shrink();
    }
}
