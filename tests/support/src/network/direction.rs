//! One direction of a link: packets from one device, through the queue, into the other.

use std::io::{self, PipeReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::burst::{Burst, LONGEST};
use super::queue::{Fate, Queue};
use super::tun::Tun;

/// The most frames that are read before those that are due are written.
const BATCH: usize = 16;

/// Which packets are lost whatever the conditions.
#[derive(Default)]
pub(super) struct Lost {
    /// Every packet.
    all: AtomicBool,
    /// Those of the connection with this port; 0 if there is none.
    port: AtomicU16,
}

impl Lost {
    pub(super) fn set(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    pub(super) fn set_all(&self, all: bool) {
        self.all.store(all, Ordering::Relaxed);
    }

    fn contains(&self, packet: &[u8]) -> bool {
        if self.all.load(Ordering::Relaxed) {
            return true;
        }
        let port = self.port.load(Ordering::Relaxed);
        port != 0 && tcp_ports(packet).is_some_and(|ports| ports.contains(&port))
    }
}

/// The ports of an IPv4 packet with TCP inside.
fn tcp_ports(packet: &[u8]) -> Option<[u16; 2]> {
    const TCP: u8 = 6;
    let (version, words) = (packet.first()? >> 4, packet.first()? & 0x0f);
    if (version, *packet.get(9)?) != (4, TCP) {
        return None;
    }
    let ports = packet.get(usize::from(words) * 4..)?.first_chunk()?;
    let [a, b, c, d] = *ports;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

/// What a direction's thread needs.
pub(super) struct Direction {
    pub(super) from: Arc<Tun>,
    pub(super) to: Arc<Tun>,
    pub(super) queue: Queue,
    pub(super) lost: Arc<Lost>,
    /// Bytes that have arrived.
    pub(super) arrived: Arc<AtomicU64>,
    /// Its other end is closed when the link is to end.
    pub(super) stopped: Arc<PipeReader>,
}

impl Direction {
    /// Carries packets until the link is to end.
    pub(super) fn run(mut self) {
        let mut frame = vec![0; LONGEST];
        while self.take(&mut frame) {
            while let Some(frame) = self.queue.pop(Instant::now()) {
                // A device that takes no more loses packets, as any does.
                if self.to.write(&frame).is_ok() {
                    self.arrived.fetch_add(frame.len() as u64, Ordering::Relaxed);
                }
            }
            if !self.wait() {
                return;
            }
        }
    }

    /// Reads what is there. Returns whether the device is.
    fn take(&mut self, frame: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match self.from.read(frame) {
                Ok(length) => self.carry(&frame[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn carry(&mut self, frame: &[u8]) {
        let burst = Burst::parse(frame).filter(|burst| !self.lost.contains(burst.packet()));
        let Some(burst) = burst else { return };
        let now = Instant::now();
        let carried = burst.carry(|length| match self.queue.send(now, length) {
            Fate::Arrives(at) => Some(at),
            Fate::Lost | Fate::Dropped => None,
        });
        for (arrives, frame) in carried {
            self.queue.hold(arrives, frame);
        }
    }

    /// Waits until there is a packet to read or to write. Returns whether the link goes on.
    fn wait(&self) -> bool {
        let left = self.queue.next().map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut ready = [
            PollFd::new(&*self.from, PollFlags::IN),
            PollFd::from_borrowed_fd(std::os::fd::AsFd::as_fd(&*self.stopped), PollFlags::IN),
        ];
        match poll(&mut ready, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => ready[1].revents().is_empty(),
            Err(_) => false,
        }
    }
}
