//! Notifications to systemd (sd_notify(3)). Without systemd they do nothing.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Reports that the agent accepts connections at this address.
pub(super) fn ready(address: SocketAddr) {
    send(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}"))]);
}

/// Reports that the agent stops once these sessions have ended.
pub(super) fn stopping(sessions: usize) {
    let status = format!("stopping, {sessions} sessions are to end");
    send(&[NotifyState::Stopping, NotifyState::Status(&status)]);
}

/// Keep-alive pings for systemd's watchdog. The accepting loop has to drive them, so that they show that it
/// still turns.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Pings twice within the interval that systemd allows, if its watchdog is enabled.
    pub(super) fn new() -> Self {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
        Self(allowed.map(|allowed| {
            let mut pings = interval((allowed / 2).max(Duration::from_millis(1)));
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        }))
    }

    /// Waits until the next ping is due, and sends it. Cancel-safe.
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
