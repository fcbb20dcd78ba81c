//! A host's connection that is missing: since when, and when that is shown.
//!
//! Every wait of an outage runs inside [`Outage::during`], which keeps what is shown up to date. Where it is
//! shown is for [`Outages`] to know.

mod screen;

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use tokio::time::sleep_until;

pub(crate) use screen::{Outages, Shown};

/// An outage of less than this is not worth a word.
pub(crate) const TELL_AFTER: Duration = Duration::from_secs(2);

/// How often what is shown is renewed.
const EVERY: Duration = Duration::from_secs(1);

/// The connection to one host.
pub(crate) struct Outage {
    screen: Outages,
    host: HostName,
    /// How long it may last.
    limit: Duration,
    state: Cell<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Since when the connection is missing.
    since: Option<Instant>,
    /// The host has answered before.
    met: bool,
    /// Something is shown.
    is_shown: bool,
}

impl Outage {
    /// A host that was not reached yet.
    pub(crate) fn new(screen: Outages, host: HostName, limit: Duration, met: bool) -> Self {
        let state = Cell::new(State { met, ..State::default() });
        Self { screen, host, limit, state }
    }

    /// It may last so long.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Where it is shown.
    pub(crate) fn screen(&self) -> &Outages {
        &self.screen
    }

    /// Whether the connection is missing.
    pub(crate) fn is_on(&self) -> bool {
        self.state.get().since.is_some()
    }

    /// Whether it is on, and the peer has spoken since: it is silent only from `silence` on, or not at all.
    pub(crate) fn is_before(&self, silence: Option<Instant>) -> bool {
        self.state.get().since.is_some_and(|since| silence.is_none_or(|silence| silence > since))
    }

    /// The connection is missing since `since`, unless that is known already. Gives since when.
    pub(crate) fn lost(&self, since: Instant) -> Instant {
        let state = self.state.get();
        let since = state.since.unwrap_or(since);
        self.state.set(State { since: Some(since), ..state });
        since
    }

    /// The host answers.
    pub(crate) fn back(&self) {
        let State { since, met, is_shown } =
            self.state.replace(State { met: true, ..State::default() });
        if let Some(since) = since.filter(|_| is_shown) {
            self.screen.back(&self.host, &told_back(&self.host, since.elapsed(), met));
        }
    }

    /// It is not waited for any more; whoever gives up says so.
    pub(crate) fn give_up(&self) {
        let State { met, is_shown, .. } = self.state.get();
        self.state.set(State { met, ..State::default() });
        if is_shown {
            self.screen.given_up(&self.host);
        }
    }

    /// Does `work`, and meanwhile shows an outage that is on.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.show() => match never {},
        }
    }

    /// Shows an outage as long as it lasts, and waits for ever.
    pub(crate) async fn show(&self) -> std::convert::Infallible {
        while let Some(since) = self.state.get().since {
            let lasts = since.elapsed();
            if lasts >= TELL_AFTER {
                self.tell(lasts);
            }
            let next = TELL_AFTER.max(EVERY * (whole_seconds(lasts) + 1));
            sleep_until((since + next).into()).await;
        }
        std::future::pending().await
    }

    fn tell(&self, lasts: Duration) {
        let state = self.state.get();
        self.state.set(State { is_shown: true, ..state });
        self.screen.tell(&self.host, &told(&self.host, lasts, self.limit, state.met));
    }
}

impl Drop for Outage {
    /// Whoever leaves in the middle leaves nothing on the screen.
    fn drop(&mut self) {
        self.give_up();
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX - 1)
}

fn told(host: &HostName, lasts: Duration, limit: Duration, met: bool) -> String {
    let (lasts, limit) = (lasts.as_secs(), limit.as_secs());
    let what =
        if met { "connection lost, reconnecting" } else { "no connection yet, trying again" };
    format!("{host}: {what} ({lasts} s of {limit} s)")
}

fn told_back(host: &HostName, lasted: Duration, met: bool) -> String {
    let what = if met { "reconnected" } else { "connected" };
    format!("{host}: {what} after {} s", lasted.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let host = "web4".parse().unwrap();
        let [four, twelve, limit] = [4900, 12_300, 30_000].map(Duration::from_millis);
        insta::assert_snapshot!(told(&host, four, limit, true), @"web4: connection lost, reconnecting (4 s of 30 s)");
        insta::assert_snapshot!(told_back(&host, twelve, true), @"web4: reconnected after 12 s");
        insta::assert_snapshot!(told(&host, four, limit, false), @"web4: no connection yet, trying again (4 s of 30 s)");
        insta::assert_snapshot!(told_back(&host, twelve, false), @"web4: connected after 12 s");
    }

    fn outage() -> (Outage, Outages) {
        let screen = Outages::kept();
        let outage =
            Outage::new(screen.clone(), "web4".parse().unwrap(), Duration::from_secs(30), true);
        (outage, screen)
    }

    #[tokio::test]
    async fn a_short_outage_is_not_told_and_a_long_one_each_second() {
        let (outage, screen) = outage();
        let times = |seconds: &[u64]| -> Vec<String> {
            let line = |s| format!("web4: connection lost, reconnecting ({s} s of 30 s)");
            seconds.iter().map(line).collect()
        };
        outage.lost(Instant::now());
        outage.during(tokio::time::sleep(Duration::from_millis(10))).await;
        outage.back();
        assert_eq!(screen.take_kept(), Vec::<String>::new());
        let since = Instant::now().checked_sub(Duration::from_millis(4500)).unwrap();
        assert_eq!(outage.lost(since), outage.lost(Instant::now()), "it has begun only once");
        outage.during(tokio::time::sleep(Duration::from_millis(10))).await;
        assert_eq!(screen.take_kept(), times(&[4]));
        outage.back();
        assert_eq!(screen.take_kept(), ["web4: reconnected after 4 s"]);
        outage.lost(since);
        outage.during(tokio::time::sleep(Duration::from_millis(10))).await;
        drop(outage);
        assert_eq!(screen.take_kept(), [times(&[4])[0].clone(), "(cleared)".to_owned()]);
    }
}
