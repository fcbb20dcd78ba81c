//! Which hosts have connections parked here. A state machine without I/O and without a clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;

/// Most connections of a host. One more takes the place of the oldest.
pub(super) const MOST: usize = 4;

/// How long a host is remembered whose last connection is gone.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The parked connections of each host; a `T` stands for one of them.
pub(super) struct Places<T> {
    hosts: HashMap<HostName, Host<T>>,
    next: u64,
}

struct Host<T> {
    /// The oldest first.
    parked: Vec<(Place, T)>,
    /// When it last had one, if it has none now.
    seen: Instant,
}

/// One parked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { hosts: HashMap::new(), next: 0 }
    }
}

impl<T> Places<T> {
    /// Adds a connection of a host. Dropping what is returned makes room for it.
    pub(super) fn park(&mut self, host: &HostName, parked: T, now: Instant) -> (Place, Option<T>) {
        self.hosts.retain(|_, host| !host.parked.is_empty() || now < host.seen + REMEMBERED);
        let place = Place(self.next);
        self.next += 1;
        let new = || Host { parked: Vec::with_capacity(MOST), seen: now };
        let Host { parked: all, .. } = self.hosts.entry(host.clone()).or_insert_with(new);
        let oldest = (all.len() >= MOST).then(|| all.remove(0).1);
        all.push((place, parked));
        (place, oldest)
    }

    /// Takes the oldest connection of a host: so each has its turn, whoever else parks in its name.
    pub(super) fn take(&mut self, host: &HostName, now: Instant) -> Option<T> {
        let host = self.hosts.get_mut(host).filter(|host| !host.parked.is_empty())?;
        host.seen = now;
        Some(host.parked.remove(0).1)
    }

    /// A connection has ended by itself, if it was not taken before.
    pub(super) fn ended(&mut self, host: &HostName, place: Place, now: Instant) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.parked.retain(|(own, _)| *own != place);
            host.seen = now;
        }
    }

    /// Keeps only these connections.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&HostName, &T) -> bool) {
        for (name, host) in &mut self.hosts {
            host.parked.retain(|(_, parked)| is_kept(name, parked));
        }
    }

    /// Whether a host has a connection here.
    pub(super) fn has(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|host| !host.parked.is_empty())
    }

    /// How long ago a host last had one.
    pub(super) fn last_seen(&self, host: &HostName, now: Instant) -> Option<Duration> {
        let host = self.hosts.get(host)?;
        Some(now.saturating_duration_since(host.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_is_taken_and_a_fifth_replaces_it() {
        let (mut places, now) = (Places::default(), Instant::now());
        let web3 = name("web3");
        for number in 0..MOST {
            assert_eq!(places.park(&web3, number, now).1, None);
        }
        assert_eq!(places.park(&web3, MOST, now).1, Some(0));
        assert_eq!(places.park(&name("web4"), 9, now).1, None);
        let taken: Vec<_> = std::iter::from_fn(|| places.take(&web3, now)).collect();
        assert_eq!(taken, [1, 2, 3, 4]);
        assert!(!places.has(&web3) && places.has(&name("web4")));
    }

    #[test]
    fn what_ends_is_gone_and_when_that_was_is_remembered_for_a_day() {
        let (mut places, now) = (Places::default(), Instant::now());
        let (web3, second) = (name("web3"), Duration::from_secs(1));
        assert_eq!(places.last_seen(&web3, now), None);
        let (first, _) = places.park(&web3, 1, now);
        let (other, _) = places.park(&web3, 2, now);
        places.ended(&web3, first, now + second);
        assert!(places.has(&web3));
        places.ended(&web3, other, now + 2 * second);
        places.ended(&web3, other, now + 2 * second);
        assert!(!places.has(&web3));
        assert_eq!(places.last_seen(&web3, now + 5 * second), Some(3 * second));
        places.park(&name("web4"), 3, now + 3 * second + REMEMBERED);
        assert_eq!(places.last_seen(&web3, now), None);
    }

    #[test]
    fn those_that_are_no_longer_permitted_are_dropped() {
        let (mut places, now) = (Places::default(), Instant::now());
        for number in 0..3 {
            places.park(&name("web3"), number, now);
        }
        places.retain(|_, &number| number == 1);
        assert_eq!(places.take(&name("web3"), now), Some(1));
        assert_eq!(places.take(&name("web3"), now), None);
    }
}
