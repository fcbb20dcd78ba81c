//! What the agent tells systemd. Without systemd, all of it does nothing.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The agent takes connections at this address.
pub(super) fn ready(address: SocketAddr) {
    send(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}"))]);
}

/// The agent is on its way out, as soon as these sessions have ended.
pub(super) fn stopping(sessions: usize) {
    let status = format!("stopping, {sessions} sessions are to end");
    send(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// The pings that show systemd that the loop which accepts still turns. It must be that loop which
/// waits for them.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Twice in the time that systemd allows, if it watches.
    pub(super) fn new() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
        Self(allowed.map(|allowed| {
            let mut pings = interval((allowed / 2).max(Duration::from_millis(1)));
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        }))
    }

    /// Waits until the next ping is due, and sends it. Cancelling it loses nothing.
    pub(super) async fn ping(&mut self) {
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
