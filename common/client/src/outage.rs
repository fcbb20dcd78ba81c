//! A host's missing connection: since when, and when an observer hears of it.
//!
//! Every wait of an outage runs inside [`Outage::during`], which keeps the observer up to date. What is
//! displayed, and where, is the observer's decision.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use tokio::time::sleep_until;

/// A shorter outage is not reported.
pub(crate) const TELL_AFTER: Duration = Duration::from_secs(2);

/// How often an outage is reported again.
const EVERY: Duration = Duration::from_secs(1);

/// Hears of hosts whose connection is missing.
pub trait OutageObserver: Send + Sync {
    /// The host's connection is missing. Called once the outage has lasted 2 s, and then each second.
    fn lost(&self, host: &HostName, outage: &Lost);

    /// The host answers again after an outage that was reported and lasted this long. `met` says whether the
    /// host had answered before it.
    fn back(&self, host: &HostName, lasted: Duration, met: bool);

    /// The client has stopped waiting for the host, after an outage that was reported.
    fn given_up(&self, host: &HostName);
}

/// Observes nothing.
impl OutageObserver for () {
    fn lost(&self, _: &HostName, _: &Lost) {}
    fn back(&self, _: &HostName, _: Duration, _: bool) {}
    fn given_up(&self, _: &HostName) {}
}

/// An outage that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// How long the connection has been missing.
    pub lasts: Duration,
    /// How long it may be missing before the client gives up.
    pub limit: Duration,
    /// Whether the host has answered before.
    pub met: bool,
}

/// The outages of one host.
pub struct Outage {
    observer: Arc<dyn OutageObserver>,
    host: HostName,
    limit: Duration,
    state: Cell<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Since when the connection is missing.
    since: Option<Instant>,
    /// The host has answered before.
    met: bool,
    /// The observer has heard of the outage.
    is_told: bool,
}

impl Outage {
    /// `met` says whether the host has answered before.
    pub(crate) fn new(
        observer: Arc<dyn OutageObserver>,
        host: HostName,
        limit: Duration,
        met: bool,
    ) -> Self {
        let state = Cell::new(State { met, ..State::default() });
        Self { observer, host, limit, state }
    }

    /// Sets how long an outage may last.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Whether the connection is missing.
    pub(crate) fn is_on(&self) -> bool {
        self.state.get().since.is_some()
    }

    /// Whether the connection is missing although the peer has spoken since: it is silent only from `silence`
    /// on, or not at all.
    pub(crate) fn is_before(&self, silence: Option<Instant>) -> bool {
        self.state.get().since.is_some_and(|since| silence.is_none_or(|silence| silence > since))
    }

    /// Begins an outage at `since`, unless there is one already. Returns when the outage began.
    pub(crate) fn lost(&self, since: Instant) -> Instant {
        let state = self.state.get();
        let since = state.since.unwrap_or(since);
        self.state.set(State { since: Some(since), ..state });
        since
    }

    /// Ends the outage: the host answers.
    pub(crate) fn back(&self) {
        let State { since, met, is_told } =
            self.state.replace(State { met: true, ..State::default() });
        if let Some(since) = since.filter(|_| is_told) {
            self.observer.back(&self.host, since.elapsed(), met);
        }
    }

    /// Ends the outage: nobody waits for the host any more.
    pub fn give_up(&self) {
        let State { met, is_told, .. } = self.state.get();
        self.state.set(State { met, ..State::default() });
        if is_told {
            self.observer.given_up(&self.host);
        }
    }

    /// Runs `work`, and meanwhile reports an outage that goes on.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.report() => match never {},
        }
    }

    /// Reports an outage as long as it lasts, and then waits forever.
    pub(crate) async fn report(&self) -> std::convert::Infallible {
        while let Some(since) = self.state.get().since {
            let lasts = since.elapsed();
            if lasts >= TELL_AFTER {
                let state = self.state.get();
                self.state.set(State { is_told: true, ..state });
                let outage = Lost { lasts, limit: self.limit, met: state.met };
                self.observer.lost(&self.host, &outage);
            }
            let next = TELL_AFTER.max(EVERY * (whole_seconds(lasts) + 1));
            sleep_until((since + next).into()).await;
        }
        std::future::pending().await
    }
}

impl Drop for Outage {
    /// Work that is cancelled in the middle leaves nothing on display.
    fn drop(&mut self) {
        self.give_up();
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what it hears, in words.
    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Kept {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        fn put(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
    }

    impl OutageObserver for Kept {
        fn lost(&self, host: &HostName, Lost { lasts, limit, met }: &Lost) {
            self.put(format!("{host} {} of {} {met}", lasts.as_secs(), limit.as_secs()));
        }

        fn back(&self, host: &HostName, lasted: Duration, met: bool) {
            self.put(format!("{host} back {} {met}", lasted.as_secs()));
        }

        fn given_up(&self, host: &HostName) {
            self.put(format!("{host} given up"));
        }
    }

    #[tokio::test]
    async fn a_short_outage_is_not_reported_and_a_long_one_each_second() {
        let kept = Arc::new(Kept::default());
        let limit = Duration::from_secs(30);
        let outage = Outage::new(kept.clone(), "web4".parse().unwrap(), limit, true);
        let moment = || tokio::time::sleep(Duration::from_millis(10));
        outage.lost(Instant::now());
        outage.during(moment()).await;
        outage.back();
        assert_eq!(kept.take(), Vec::<String>::new());
        let since = Instant::now().checked_sub(Duration::from_millis(4500)).unwrap();
        assert_eq!(outage.lost(since), outage.lost(Instant::now()), "it has begun only once");
        outage.during(moment()).await;
        assert_eq!(kept.take(), ["web4 4 of 30 true"]);
        outage.back();
        assert_eq!(kept.take(), ["web4 back 4 true"]);
        outage.lost(since);
        outage.during(moment()).await;
        drop(outage);
        assert_eq!(kept.take(), ["web4 4 of 30 true", "web4 given up"]);
    }
}
