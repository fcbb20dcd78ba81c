//! What the full screen is about: the hosts, their order, what is chosen, and what a key does. No I/O.
//!
//! Invariant: the host that an operator has chosen stays chosen, wherever its row goes, and while it has none.

use std::cmp::Reverse;
use std::time::Duration;

use lariat_base::name::{HostName, JobId};
use lariat_wire::grown::Grown;

use super::host::{Figures, Host, Look, State};
use super::key::Key;
use super::log_text::SharedLog;
use super::scroll::Scroll;

/// Why the screen is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Done,
    Interrupted,
}

/// What hosts are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Worst,
    Name,
    Load,
    Memory,
    Disk,
    Jobs,
    Transfers,
}

impl Sort {
    pub(super) const ALL: [(Self, &str); 7] = [
        (Self::Worst, "worst"),
        (Self::Name, "name"),
        (Self::Load, "load"),
        (Self::Memory, "memory"),
        (Self::Disk, "disk"),
        (Self::Jobs, "jobs"),
        (Self::Transfers, "transfers"),
    ];

    /// The one whose name begins with this letter.
    fn by(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| name.starts_with(letter)).map(|(sort, _)| sort)
    }

    /// Where a host belongs: the least comes first.
    fn place(self, host: &Host) -> (State, Reverse<usize>) {
        let most = |figure: fn(&Figures) -> usize| {
            Reverse(host.figures.as_ref().map_or(0, |figures| figure(figures) + 1))
        };
        let figure = match self {
            Self::Worst => most(|figures| figures.fullness() as usize),
            Self::Name => Reverse(0),
            Self::Load => most(|figures| figures.load as usize),
            Self::Memory => most(|figures| figures.memory.unwrap_or(0).into()),
            Self::Disk => most(|figures| figures.disk.unwrap_or(u8::MAX).into()),
            Self::Jobs => most(|figures| figures.jobs),
            Self::Transfers => most(|figures| figures.transfers),
        };
        (if self == Self::Worst { host.state } else { State::Unreachable }, figure)
    }
}

/// What is on the screen.
pub(super) enum Page {
    /// All hosts.
    Hosts,
    /// A host, and one of its jobs.
    Host { host: usize, job: Option<JobId>, scroll: Scroll },
    /// A job's output.
    Log { host: usize, job: JobId, text: SharedLog, scroll: Scroll },
}

/// All of it.
pub(super) struct Model {
    /// In the order of their names.
    hosts: Vec<Host>,
    /// The hosts that are listed, in the order of their rows.
    order: Vec<usize>,
    /// They are to be ordered anew.
    is_stale: bool,
    pub(super) sort: Sort,
    is_reversed: bool,
    /// What a host's row must contain to be listed, in lower case.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) is_typing: bool,
    /// The host that was chosen; at first it is whichever comes first.
    chosen: Option<usize>,
    pub(super) list: Scroll,
    pub(super) page: Page,
}

impl Model {
    /// None of the hosts was reached yet. Their names are in order.
    pub(super) fn new(names: impl IntoIterator<Item = HostName>) -> Self {
        Self {
            hosts: names.into_iter().map(Host::new).collect(),
            order: Vec::new(),
            is_stale: true,
            sort: Sort::Worst,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            chosen: None,
            list: Scroll::default(),
            page: Page::Hosts,
        }
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Takes in what came of a look at a host.
    pub(super) fn heard(&mut self, host: usize, look: Look, now: Duration) {
        self.is_stale = true;
        self.hosts[host].heard(look, now);
    }

    /// The hosts that are listed, in the order of their rows.
    pub(super) fn order(&mut self) -> &[usize] {
        if std::mem::take(&mut self.is_stale) {
            let is_listed = |host: &Host| {
                [host.name.as_str(), host.state.word(), host.reason().unwrap_or_default()]
                    .iter()
                    .any(|part| part.to_lowercase().contains(&self.filter))
            };
            let listed = self.hosts.iter().enumerate().filter(|(_, host)| is_listed(host));
            self.order = listed.map(|(number, _)| number).collect();
            // Hosts of one place stay in the order of their names.
            self.order.sort_by_cached_key(|&number| self.sort.place(&self.hosts[number]));
            if self.is_reversed {
                self.order.reverse();
            }
        }
        &self.order
    }

    /// The row of the chosen host; the first while none is chosen, or it is not listed.
    pub(super) fn cursor(&mut self) -> usize {
        let chosen = self.chosen;
        self.order().iter().position(|number| Some(*number) == chosen).unwrap_or(0)
    }

    /// The job whose output is wanted, with its host.
    pub(super) fn wanted_log(&self) -> Option<(usize, JobId, &SharedLog)> {
        match &self.page {
            Page::Log { host, job, text, .. } => Some((*host, *job, text)),
            _ => None,
        }
    }

    /// Does what a key is for.
    pub(super) fn key(&mut self, key: Key) -> Option<Leave> {
        match key {
            Key::Interrupt => return Some(Leave::Interrupted),
            _ if self.is_typing => self.type_filter(key),
            Key::Char('q') => return Some(Leave::Done),
            _ => match &mut self.page {
                Page::Hosts => return self.key_in_list(key),
                Page::Host { host, .. } => {
                    let host = *host;
                    self.key_at_host(host, key);
                }
                Page::Log { scroll, .. } if key != Key::Escape => scroll.key(key),
                Page::Log { host, job, .. } => {
                    let (host, job) = (*host, Some(*job));
                    self.page = Page::Host { host, job, scroll: Scroll::default() };
                }
            },
        }
        None
    }

    fn type_filter(&mut self, key: Key) {
        self.is_stale = true;
        match key {
            Key::Char(letter) => self.filter.extend(letter.to_lowercase()),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.is_typing = false,
            Key::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            _ => {}
        }
    }

    fn key_in_list(&mut self, key: Key) -> Option<Leave> {
        match key {
            Key::Escape if self.filter.is_empty() => return Some(Leave::Done),
            Key::Escape => {
                self.is_stale = true;
                self.filter.clear();
            }
            Key::Char('/') => self.is_typing = true,
            Key::Char('r') => {
                self.is_stale = true;
                self.is_reversed = !self.is_reversed;
            }
            Key::Char(letter) => {
                self.is_stale = true;
                (self.sort, self.is_reversed) = match Sort::by(letter) {
                    Some(sort) => (sort, false),
                    None => (self.sort, self.is_reversed),
                };
            }
            Key::Enter => {
                let cursor = self.cursor();
                if let Some(&host) = self.order.get(cursor) {
                    self.chosen = Some(host);
                    let job = self.jobs(host).first().copied();
                    self.page = Page::Host { host, job, scroll: Scroll::default() };
                }
            }
            // Whichever comes first, from now on.
            Key::Home => self.chosen = None,
            _ => {
                let (cursor, count) = (self.cursor(), self.order.len());
                let row = self.list.moved(key, cursor, count);
                self.chosen = self.order.get(row).copied().or(self.chosen);
            }
        }
        None
    }

    fn key_at_host(&mut self, number: usize, key: Key) {
        let jobs = self.jobs(number);
        let Page::Host { job, scroll, .. } = &mut self.page else { return };
        match key {
            Key::Escape => self.page = Page::Hosts,
            Key::Enter => {
                if let Some(job) = job.filter(|job| jobs.contains(job)) {
                    let (text, scroll) = (SharedLog::default(), Scroll::at_end());
                    self.page = Page::Log { host: number, job, text, scroll };
                }
            }
            Key::Up | Key::Down if !jobs.is_empty() => {
                let at = jobs.iter().position(|one| Some(*one) == *job).unwrap_or(0);
                *job = jobs.get(scroll.moved(key, at, jobs.len())).copied();
            }
            _ => scroll.key(key),
        }
    }

    /// A host's running jobs.
    fn jobs(&self, host: usize) -> Vec<JobId> {
        let measured = self.hosts[host].measured.as_ref();
        let jobs =
            measured.map(|(measured, _)| measured.report.jobs.as_slice()).unwrap_or_default();
        jobs.iter().map(|Grown(job)| job.job).collect()
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::name::KeyId;
    use lariat_wire::protocol::status::RunningJob;

    use proptest::prelude::*;
    use ratatui_core::buffer::Buffer;
    use ratatui_core::layout::Rect;
    use ratatui_core::style::Modifier;

    use super::super::samples::{keys, measured};
    use super::super::view::{Surroundings, draw};
    use super::*;
    use crate::fanout::End;

    const NOW: Duration = Duration::from_secs(9);

    fn model(names: &[&str]) -> Model {
        Model::new(names.iter().map(|name| name.parse().unwrap()))
    }

    fn listed(model: &mut Model) -> Vec<String> {
        let order = model.order().to_vec();
        order.into_iter().map(|number| model.hosts()[number].name.to_string()).collect()
    }

    fn chosen(model: &mut Model) -> String {
        let cursor = model.cursor();
        listed(model)[cursor].clone()
    }

    fn type_text(model: &mut Model, text: &str) {
        text.chars().for_each(|letter| assert_eq!(model.key(Key::Char(letter)), None));
    }

    fn busy() -> Model {
        let mut model = model(&["a", "b", "c", "d", "e"]);
        model.heard(0, Look::Answer(measured(10, 20, 30)), NOW);
        model.heard(1, Look::Answer(measured(90, 10, 31)), NOW);
        model.heard(2, Look::Answer(measured(0, 99, 20)), NOW);
        model.heard(3, Look::Failure(End::Unreachable, "Cut off".to_owned()), NOW);
        model
    }

    fn job(number: u8) -> Grown<RunningJob> {
        Grown(RunningJob {
            job: JobId([number; 16]),
            key: KeyId([1; 16]),
            label: "bob".to_owned(),
            since_ms: 0,
            is_detached: true,
            user: None,
            command: None,
        })
    }

    #[test]
    fn the_worst_comes_first_or_whatever_is_asked_for() {
        let mut model = busy();
        assert_eq!(listed(&mut model), ["d", "c", "b", "a", "e"]);
        for (key, order) in [
            ('n', ["a", "b", "c", "d", "e"]),
            ('l', ["b", "a", "c", "d", "e"]),
            ('m', ["c", "a", "b", "d", "e"]),
            ('d', ["b", "a", "c", "d", "e"]),
            ('x', ["b", "a", "c", "d", "e"]),
            ('r', ["e", "d", "c", "a", "b"]),
            ('w', ["d", "c", "b", "a", "e"]),
        ] {
            model.key(Key::Char(key));
            assert_eq!(listed(&mut model), order, "{key}");
        }
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let mut model = busy();
        type_text(&mut model, "/CUTq");
        assert_eq!(listed(&mut model), [""; 0]);
        assert_eq!((model.key(Key::Enter), model.key(Key::Enter)), (None, None), "nothing is open");
        assert!(matches!(model.page, Page::Hosts));
        type_text(&mut model, "/");
        model.key(Key::Backspace);
        assert_eq!(listed(&mut model), ["d"]);
        model.key(Key::Enter);
        assert_eq!((model.key(Key::Escape), listed(&mut model).len()), (None, 5));
        type_text(&mut model, "/ok");
        assert_eq!(listed(&mut model), ["b", "a"], "states can be asked for, too");
        assert_eq!((model.key(Key::Escape), model.is_typing), (None, false));
        assert_eq!(model.key(Key::Escape), Some(Leave::Done));
        assert_eq!(model.key(Key::Char('q')), Some(Leave::Done));
        type_text(&mut model, "/");
        assert_eq!(model.key(Key::Interrupt), Some(Leave::Interrupted));
    }

    #[test]
    fn the_first_is_chosen_until_another_is() {
        let mut model = busy();
        assert_eq!(chosen(&mut model), "d");
        model.heard(3, Look::Answer(measured(0, 0, 0)), NOW);
        assert_eq!(chosen(&mut model), "c", "the worst is another one");
        model.key(Key::Down);
        assert_eq!(chosen(&mut model), "b");
        model.heard(1, Look::Failure(End::Refused, "no".to_owned()), NOW);
        assert_eq!((chosen(&mut model), model.cursor()), ("b".to_owned(), 0));
        type_text(&mut model, "/c");
        assert_eq!(chosen(&mut model), "c");
        model.key(Key::Escape);
        assert_eq!(chosen(&mut model), "b", "it was only not listed");
        model.key(Key::End);
        assert_eq!(chosen(&mut model), "e");
        model.key(Key::Home);
        assert_eq!(model.cursor(), 0);
    }

    #[test]
    fn a_host_has_jobs_and_a_job_has_output() {
        let mut model = busy();
        let mut with_jobs = measured(0, 99, 0);
        with_jobs.report.jobs = vec![job(1), job(2)];
        model.heard(2, Look::Answer(with_jobs), NOW);
        model.key(Key::Down);
        model.key(Key::Enter);
        let picked = |model: &Model| match model.page {
            Page::Host { host, job, .. } => Some((host, job)),
            _ => None,
        };
        assert_eq!(picked(&model), Some((2, Some(JobId([1; 16])))));
        for key in [Key::Down, Key::Down, Key::PageDown] {
            assert_eq!(model.key(key), None);
        }
        assert_eq!(picked(&model), Some((2, Some(JobId([2; 16])))));
        assert_eq!(model.key(Key::Enter), None);
        assert!(
            model.wanted_log().is_some_and(|(host, job, _)| (host, job) == (2, JobId([2; 16])))
        );
        model.heard(2, Look::Answer(measured(0, 99, 0)), NOW);
        model.key(Key::Up);
        assert!(model.wanted_log().is_some(), "its output can be read although it is over");
        model.key(Key::Escape);
        assert_eq!(
            (picked(&model), model.key(Key::Enter)),
            (Some((2, Some(JobId([2; 16])))), None)
        );
        assert!(model.wanted_log().is_none(), "it is not there any more");
        assert_eq!(model.key(Key::Escape), None);
        assert!(matches!(model.page, Page::Hosts));
        assert_eq!(chosen(&mut model), "c");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Key(Key),
        Size(u16, u16),
        Answer(usize, u32, u64, u64),
        Failure(usize),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => keys().prop_map(Step::Key),
            1 => (0_u16..90, 0_u16..20).prop_map(|(width, height)| Step::Size(width, height)),
            2 => (0..30_usize, 0..999_u32, 0..=100_u64, 0..=100_u64)
                .prop_map(|(host, load, memory, disk)| Step::Answer(host, load, memory, disk)),
            1 => (0..30_usize).prop_map(Step::Failure),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_chosen_host_stays_and_is_seen(
            count in 0..30_usize, steps in prop::collection::vec(steps(), 0..60),
        ) {
            let names: Vec<String> = (0..count).map(|number| format!("h{number}")).collect();
            let mut model = model(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 9));
            for step in steps {
                let (before, is_key) = (model.chosen, matches!(step, Step::Key(_)));
                match step {
                    Step::Key(key) => drop(model.key(key)),
                    Step::Size(width, height) => buffer = Buffer::empty(Rect::new(0, 0, width, height)),
                    Step::Answer(host, load, memory, disk) if host < count => {
                        let mut measured = measured(load, memory, disk);
                        measured.report.jobs = (0..memory % 4).map(|_| job(u8::try_from(disk).unwrap())).collect();
                        model.heard(host, Look::Answer(measured), NOW);
                    }
                    Step::Failure(host) if host < count => {
                        model.heard(host, Look::Failure(End::Unreachable, "\x1b[2J cut".to_owned()), NOW);
                    }
                    _ => {}
                }
                prop_assert!(is_key || model.chosen == before);
                buffer.reset();
                let around = Surroundings { now: NOW, every: NOW, warning: None, has_colors: true };
                draw(&mut model, &mut buffer, &around);
                prop_assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(char::is_control)));
                let (cursor, area) = (model.cursor(), *buffer.area());
                if matches!(model.page, Page::Hosts) && area.height > 3 && area.width > 0 && !model.order.is_empty() {
                    let is_lit = |y: &u16| buffer[(0, *y)].modifier.contains(Modifier::REVERSED);
                    let row = (0..area.height).find(is_lit).expect("a row is highlighted");
                    let name = model.hosts[model.order[cursor]].name.to_string();
                    let shown: String = (0..area.width).map(|x| buffer[(x, row)].symbol()).collect();
                    prop_assert!(shown.starts_with(&name[..name.len().min(area.width.into())]) || area.width < 4);
                    if let Some(chosen) = model.chosen.filter(|chosen| model.order.contains(chosen)) {
                        prop_assert_eq!(model.order[cursor], chosen);
                    }
                }
            }
        }
    }
}
