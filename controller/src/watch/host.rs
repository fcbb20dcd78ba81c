//! What is known of one host, and how bad that is. No I/O: times are since the boot of this machine, sleep included.

use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_base::quantity::{percent, span};
use lariat_client::status::{Measured, certificate_days, fullest, used};
use lariat_wire::grown::Grown;
use lariat_wire::protocol::status::Report;

use crate::fanout::End;

/// How a host is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Unreachable,
    Refused,
    Failed,
    Bad,
    Warn,
    Ok,
    /// It was not reached yet.
    Connecting,
}

impl State {
    pub(super) const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Refused,
        Self::Failed,
        Self::Bad,
        Self::Warn,
        Self::Ok,
        Self::Connecting,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Ok => "ok",
            Self::Connecting => "connecting",
        }
    }

    /// Whether it answers with its status.
    pub(super) fn is_up(self) -> bool {
        matches!(self, Self::Bad | Self::Warn | Self::Ok)
    }

    /// The state of a value of which these are too much.
    fn of(value: i64, warn: i64, bad: i64) -> Self {
        match value {
            _ if value >= bad => Self::Bad,
            _ if value >= warn => Self::Warn,
            _ => Self::Ok,
        }
    }
}

/// What came of a look at a host.
pub(super) enum Look {
    Answer(Box<Measured>),
    /// How it is classified, and why.
    Failure(End, String),
}

impl Look {
    /// Looking at the host ended in a panic.
    pub(super) fn mistake() -> Self {
        Self::Failure(End::Errored, "a mistake in lariat itself".to_owned())
    }
}

/// The last time that a host gave no status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    why: String,
    since: Duration,
    /// When it answered again.
    until: Option<Duration>,
}

/// A host's figures, as its row shows them and as it is sorted by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// The load of the last minute, in hundredths.
    pub(super) load: u32,
    /// The load of the last minute, in percent of what its processors can do.
    load_percent: u32,
    /// The memory that is used, in percent.
    pub(super) memory: Option<u8>,
    /// The fullest disk, in percent; `None` if it does not answer.
    pub(super) disk: Option<u8>,
    /// Where that is mounted.
    pub(super) mount: String,
    pub(super) jobs: usize,
    pub(super) transfers: usize,
    pub(super) up: Duration,
}

impl Figures {
    fn of(report: &Report) -> Self {
        let load = report.load[0];
        let memory = report.memory.total.saturating_sub(report.memory.available);
        let disk = fullest(report);
        Self {
            load,
            load_percent: load / report.processors.max(1),
            memory: percent(memory, report.memory.total),
            // A host without a disk has none that is full.
            disk: disk.map_or(Some(0), used),
            mount: disk.map(|disk| escape(&disk.path)).unwrap_or_default(),
            jobs: report.jobs.len(),
            transfers: report.transfers.len(),
            up: Duration::from_millis(report.up_ms),
        }
    }

    /// How full the host is, in percent: whichever of load, memory and disk is worst. Steps of five keep hosts that
    /// are alike in their places.
    pub(super) fn fullness(&self) -> u32 {
        let [memory, disk] = [self.memory.unwrap_or(0), self.disk.unwrap_or(100)].map(u32::from);
        self.load_percent.max(memory).max(disk) / 5
    }

    pub(super) fn load_state(&self) -> State {
        State::of(self.load_percent.into(), 200, 400)
    }

    pub(super) fn memory_state(&self) -> State {
        State::of(self.memory.unwrap_or(0).into(), 90, 97)
    }

    pub(super) fn disk_state(&self) -> State {
        State::of(self.disk.unwrap_or(u8::MAX).into(), 85, 95)
    }
}

/// One host.
pub(super) struct Host {
    pub(super) name: HostName,
    pub(super) state: State,
    /// How the newest look at it ended.
    pub(super) end: End,
    /// The newest status, and when it came.
    pub(super) measured: Option<(Box<Measured>, Duration)>,
    pub(super) figures: Option<Figures>,
    failure: Option<Failure>,
    /// What is wrong with it although it answers.
    warning: Option<String>,
}

impl Host {
    pub(super) fn new(name: HostName) -> Self {
        Self {
            name,
            state: State::Connecting,
            end: End::NotStarted,
            measured: None,
            figures: None,
            failure: None,
            warning: None,
        }
    }

    /// Takes in what came of a look. Returns whether the host's state has changed.
    pub(super) fn heard(&mut self, look: Look, now: Duration) -> bool {
        let before = self.state;
        match look {
            Look::Answer(measured) => {
                let figures = Figures::of(&measured.report);
                (self.state, self.warning) = judge(&measured, &figures);
                self.end = End::Ok;
                self.figures = Some(figures);
                self.measured = Some((measured, now));
                if let Some(failure) = &mut self.failure {
                    failure.until.get_or_insert(now);
                }
            }
            Look::Failure(end, why) => {
                self.end = end;
                self.state = match end {
                    End::Unreachable | End::TimedOut => State::Unreachable,
                    End::Refused => State::Refused,
                    _ => State::Failed,
                };
                let goes_on = self.failure.as_ref().filter(|failure| failure.until.is_none());
                let since = goes_on.map_or(now, |failure| failure.since);
                self.failure = Some(Failure { why, since, until: None });
            }
        }
        self.state != before
    }

    /// Why its state is what it is, without the time.
    pub(super) fn reason(&self) -> Option<&str> {
        if self.state.is_up() {
            return self.warning.as_deref();
        }
        self.failure.as_ref().map(|failure| failure.why.as_str())
    }

    /// What is wrong with it, and its last failure.
    pub(super) fn trouble(&self, now: Duration) -> String {
        let lasts = |since, until: Duration| span(until.saturating_sub(since));
        let failure = self.failure.as_ref().map(|Failure { why, since, until }| match until {
            None => format!("{}: {why}", lasts(*since, now)),
            Some(until) => {
                format!("{} ago for {}: {why}", lasts(*until, now), lasts(*since, *until))
            }
        });
        let warning = self.warning.clone().filter(|_| self.state.is_up());
        warning.into_iter().chain(failure).collect::<Vec<_>>().join("; ")
    }
}

/// How bad a host that answers is, with the worst that is wrong with it.
fn judge(Measured { report, clock_skew }: &Measured, figures: &Figures) -> (State, Option<String>) {
    let Figures { load, memory, disk, mount, .. } = figures;
    let days = certificate_days(report);
    // The doctor's bounds.
    let clock = match clock_skew.abs() {
        apart if apart >= 60.0 => State::Bad,
        apart if apart >= 2.0 => State::Warn,
        _ => State::Ok,
    };
    let at_limit = report.limits.iter().map(|Grown(limit)| limit);
    let at_limit = at_limit.filter(|limit| limit.total > 0).find(|limit| limit.used >= limit.total);
    let found = [
        (figures.disk_state(), "disk"),
        (figures.memory_state(), "memory"),
        (figures.load_state(), "load"),
        (State::of(days.saturating_neg(), -29, -2), "certificate"),
        (clock, "clock"),
        (if at_limit.is_some() { State::Warn } else { State::Ok }, "limit"),
    ];
    let worst = found.into_iter().min_by_key(|(state, _)| *state);
    let Some((state, what)) = worst.filter(|(state, _)| *state < State::Ok) else {
        return (State::Ok, None);
    };
    let text = match what {
        "disk" => match disk {
            Some(used) => format!("disk {mount} {used}% full"),
            None => format!("disk {mount} does not answer"),
        },
        "memory" => format!("memory {}% used", memory.unwrap_or(0)),
        "load" => {
            format!("load {:.2} of {} processors", f64::from(*load) / 100.0, report.processors)
        }
        "certificate" if days < 0 => "certificate has ended".to_owned(),
        "certificate" => format!("certificate ends in {days} days"),
        "clock" => format!("clock {clock_skew:+.1} s"),
        _ => {
            let name = at_limit.map(|limit| escape(limit.name.as_bytes())).unwrap_or_default();
            format!("at the limit of {name}")
        }
    };
    (state, Some(text))
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::status::LimitUse;

    use super::super::samples::measured;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_worst_of_what_is_wrong_is_told() {
        let told = |change: &dyn Fn(&mut Measured)| {
            let mut measured = measured(100, 50, 50);
            change(&mut measured);
            let (state, warning) = judge(&measured, &Figures::of(&measured.report));
            format!("{} {}", state.word(), warning.unwrap_or_default())
        };
        let days =
            |days: i64| move |of: &mut Measured| of.report.certificate_end = 86_400 * days + 5;
        let limit = |used| {
            move |of: &mut Measured| {
                let limit = LimitUse { name: "jo\nbs".to_owned(), used, total: 64, refusals: 1 };
                of.report.limits = vec![Grown(limit)];
            }
        };
        assert_eq!(told(&|_| {}), "ok ");
        assert_eq!(told(&|of| of.report.load[0] = 250), "warn load 2.50 of 1 processors");
        assert_eq!(told(&|of| of.report.memory.available = 3), "bad memory 97% used");
        assert_eq!(told(&|of| of.report.disks[0].0.free = 15), "warn disk / 85% full");
        assert_eq!(told(&|of| of.report.disks[0].0.is_silent = true), "bad disk / does not answer");
        assert_eq!(told(&|of| of.report.disks.clear()), "ok ");
        assert_eq!(told(&|of| of.report.memory.total = 0), "ok ");
        assert_eq!(told(&|of| of.clock_skew = -2.04), "warn clock -2.0 s");
        assert_eq!(told(&|of| of.clock_skew = 61.0), "bad clock +61.0 s");
        assert_eq!(
            (told(&days(30)), told(&days(29))),
            ("ok ".into(), "warn certificate ends in 29 days".into())
        );
        assert_eq!(
            (told(&days(2)), told(&days(-3))),
            ("bad certificate ends in 2 days".into(), "bad certificate has ended".into())
        );
        assert_eq!(
            (told(&limit(63)), told(&limit(64))),
            ("ok ".into(), "warn at the limit of jo\\x0abs".into())
        );
        let both = |of: &mut Measured| (of.report.load[0], of.clock_skew) = (250, 99.0);
        assert_eq!(told(&both), "bad clock +99.0 s");
    }

    #[test]
    fn a_failure_is_told_while_it_lasts_and_remembered() {
        let mut host = Host::new("web1".parse().unwrap());
        assert_eq!((host.state, host.trouble(seconds(1))), (State::Connecting, String::new()));
        assert!(host.heard(Look::Answer(measured(0, 0, 0)), seconds(1)));
        assert!(!host.heard(Look::Answer(measured(10, 0, 0)), seconds(2)), "it is ok as before");
        let cut = || Look::Failure(End::Unreachable, "cut".to_owned());
        assert!(host.heard(cut(), seconds(10)) && !host.heard(cut(), seconds(15)));
        assert_eq!(host.trouble(seconds(75)), "1m05s: cut");
        assert_eq!(host.reason(), Some("cut"));
        assert!(host.figures.is_some(), "what is known of it stays");
        assert!(host.heard(Look::Answer(measured(0, 0, 0)), seconds(75)));
        assert_eq!(host.trouble(seconds(80)), "5s ago for 1m05s: cut");
        assert_eq!(host.reason(), None);
        assert!(host.heard(Look::Answer(measured(0, 0, 99)), seconds(81)));
        assert_eq!(host.trouble(seconds(82)), "disk / 99% full; 7s ago for 1m05s: cut");
        assert!(host.heard(Look::Failure(End::Refused, "no".to_owned()), seconds(90)));
        assert_eq!((host.state, host.trouble(seconds(91))), (State::Refused, "1s: no".to_owned()));
        assert!(host.heard(Look::Failure(End::Errored, "odd".to_owned()), seconds(92)));
        assert_eq!(host.trouble(seconds(93)), "3s: odd", "it is the same outage");
    }
}
