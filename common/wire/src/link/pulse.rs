//! Shows code outside the reader how long the peer has been silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a [`super::Reader`] began to wait for its peer. Clones share their state.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: Instant,
    /// Microseconds after `base`, plus 1; 0 while the reader does not wait.
    since: AtomicU64,
    /// When the last whole frame arrived: microseconds after `base`, plus 1; 0 if none has.
    spoke: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        let [since, spoke] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self(Arc::new(Inner { base: Instant::now(), since, spoke }))
    }
}

impl Pulse {
    /// When the reader began to wait for the next byte; `None` while it does not wait.
    pub fn silent_since(&self) -> Option<Instant> {
        self.read(&self.0.since)
    }

    /// When the last whole frame arrived, if any has.
    pub fn spoke(&self) -> Option<Instant> {
        self.read(&self.0.spoke)
    }

    fn read(&self, time: &AtomicU64) -> Option<Instant> {
        let micros = time.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.0.base + Duration::from_micros(micros))
    }

    fn write(&self, time: &AtomicU64, now: Instant) {
        let micros = now.saturating_duration_since(self.0.base).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX - 1);
        time.store(micros.saturating_add(1), Ordering::Relaxed);
    }

    /// Records that the reader waits from now on.
    pub(super) fn silent(&self, now: Instant) {
        self.write(&self.0.since, now);
    }

    /// Records that a whole frame has arrived.
    pub(super) fn frame(&self, now: Instant) {
        self.write(&self.0.spoke, now);
    }

    /// Records that bytes have arrived.
    pub(super) fn heard(&self) {
        self.0.since.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_since_when_nothing_came() {
        let pulse = Pulse::default();
        assert_eq!(pulse.silent_since(), None);
        let now = Instant::now();
        pulse.silent(now);
        let since = pulse.clone().silent_since().unwrap();
        assert!(since <= now && now - since < Duration::from_millis(1));
        pulse.heard();
        assert_eq!((pulse.silent_since(), pulse.spoke()), (None, None));
        pulse.frame(now);
        assert!(pulse.spoke().is_some_and(|spoke| spoke <= now));
    }
}
