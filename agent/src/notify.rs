//! Notifications to systemd (sd_notify(3)). Without systemd they do nothing.

use std::env;
use std::future::pending;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The name of the agent's listening socket among the descriptors that systemd stores for it.
pub(crate) const LISTENER: &str = "lariat-listener";

/// Longest wait for systemd to read what it was sent.
const BARRIER: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Reports that the agent is ready. Its status says where it listens, and `more`.
pub(crate) fn ready(place: &str, more: &str) {
    let status = format!("{place}{more}");
    send(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Reports that a reload begins. [`ready`] ends it.
pub(crate) fn reloading() {
    // systemd needs the time to tell this reload from an earlier one.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        send(&[NotifyState::Reloading, now]);
    }
}

/// Reports that the agent stops once these sessions have ended.
pub(crate) fn stopping(sessions: usize) {
    let status = format!("stopping, {sessions} sessions are to end");
    send(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// Has systemd keep the listening socket open until the agent's next start.
pub(crate) fn store(listener: BorrowedFd<'_>) {
    let message = format!("FDSTORE=1\nFDNAME={LISTENER}");
    if let Err(error) = send_with(&message, listener) {
        tracing::warn!("systemd can't keep the listening socket: {error}");
    }
}

/// Has systemd close the socket that it keeps, and waits until it has done so.
pub(crate) fn forget() {
    send(&[NotifyState::Custom(&format!("FDSTOREREMOVE=1\nFDNAME={LISTENER}"))]);
    if let Err(error) = barrier() {
        tracing::warn!("systemd does not close the socket that it keeps: {error}");
    }
}

/// Waits until systemd has read all that it was sent (sd_notify_barrier(3)): it closes its end of a pipe then.
fn barrier() -> io::Result<()> {
    let (theirs_closed, theirs) = io::pipe()?;
    send_with("BARRIER=1", theirs.as_fd())?;
    drop(theirs);
    let mut ends = [PollFd::new(&theirs_closed, PollFlags::IN)];
    match poll(&mut ends, Some(&BARRIER))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Keep-alive pings for systemd's watchdog. The accepting loop has to drive them, so that they show that it
/// still turns.
pub(crate) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Pings twice within the interval that systemd allows, if its watchdog is enabled.
    pub(crate) fn new() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
        Self(allowed.map(|allowed| {
            let mut pings = interval((allowed / 2).max(Duration::from_millis(1)));
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        }))
    }

    /// Waits until the next ping is due, and sends it. Cancel-safe.
    pub(crate) async fn ping(&mut self) {
        match &mut self.0 {
            Some(pings) => {
                pings.tick().await;
                send(&[NotifyState::Watchdog]);
            }
            None => pending().await,
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("can't tell systemd: {error}");
    }
}

/// Sends a message with a descriptor.
fn send_with(message: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(message.as_bytes())];
    rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
