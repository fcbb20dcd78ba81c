//! The terminal output of a fan-out: the output of all hosts, and below it how far they have come.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Instant;

use lariat_base::name::HostName;

use crate::outages::Outages;
use crate::output::printer::Printer;
use crate::progress::{HostView, Live, Meter, Order, Pace, Totals, rows};

/// Both streams, and the progress.
pub(crate) struct Screen {
    /// Results.
    pub(crate) stdout: Printer,
    /// Everything else.
    pub(crate) stderr: Printer,
    progress: Option<Progress>,
}

/// The progress of all hosts, as it is shown.
struct Progress {
    live: Live,
    outages: Outages,
    began: Instant,
    /// How far each host has come, by index.
    meters: Arc<[Meter]>,
    /// The number of hosts that have begun.
    begun: usize,
    /// Hosts in progress, by index.
    running: BTreeMap<usize, Running>,
    /// Bytes of hosts that have ended: those that their receivers have, and those that were moved.
    ended: (u64, u64),
    ok: usize,
    failed: usize,
    pace: Pace,
    order: Order,
}

struct Running {
    host: HostName,
    since: Instant,
    pace: Pace,
}

impl Screen {
    /// Output for the hosts with these meters; it shows their outages too.
    pub(crate) fn new(meters: &Arc<[Meter]>, outages: &Outages) -> io::Result<Self> {
        let live = Live::new();
        let shared = |is_terminal: bool| live.clone().filter(|_| is_terminal);
        let stdout = Printer::start(rustix::stdio::stdout(), shared(io::stdout().is_terminal()))?;
        let stderr = Printer::start(rustix::stdio::stderr(), shared(true))?;
        let is_drawn = live.as_ref().is_some_and(Live::is_drawn);
        outages.hosts(stderr.clone(), is_drawn);
        let progress = live.map(|live| Progress {
            live,
            outages: outages.clone(),
            began: Instant::now(),
            meters: Arc::clone(meters),
            begun: 0,
            running: BTreeMap::new(),
            ended: (0, 0),
            ok: 0,
            failed: 0,
            pace: Pace::default(),
            order: Order::default(),
        });
        Ok(Self { stdout, stderr, progress })
    }

    /// Whether progress is shown.
    pub(super) fn has_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// A host has begun.
    pub(super) fn began(&mut self, number: usize, host: &HostName) {
        if let Some(progress) = &mut self.progress {
            progress.begun += 1;
            let (host, since, pace) = (host.clone(), Instant::now(), Pace::default());
            progress.running.insert(number, Running { host, since, pace });
        }
    }

    /// A host has ended.
    pub(super) fn ended(&mut self, number: usize, ok: bool) {
        if let Some(progress) = &mut self.progress {
            progress.running.remove(&number);
            let counts = progress.meters[number].counts();
            let (there, moved) = &mut progress.ended;
            *there = there.saturating_add(counts.there);
            *moved = moved.saturating_add(counts.moved);
            *if ok { &mut progress.ok } else { &mut progress.failed } += 1;
        }
    }

    /// Shows how far the hosts have come.
    pub(super) fn tick(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.draw();
        }
    }

    /// Removes the progress.
    pub(super) fn clear(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.live.clear();
        }
    }
}

impl Progress {
    fn draw(&mut self) {
        let now = Instant::now();
        let away = self.outages.now();
        let mut hosts = Vec::with_capacity(self.running.len());
        let ((mut there, mut moved), mut total) = (self.ended, self.ended.0);
        for (&number, Running { host, since, pace }) in &mut self.running {
            let counts = self.meters[number].counts();
            pace.note(now, counts.moved);
            total = total.saturating_add(counts.total.max(counts.there));
            there = there.saturating_add(counts.there);
            moved = moved.saturating_add(counts.moved);
            hosts.push(HostView {
                name: host.as_str(),
                total: counts.total,
                there: counts.there,
                part: (counts.part, counts.parts),
                rate: pace.per_second(),
                left: pace.left(counts.total.saturating_sub(counts.there)),
                has_stalled: pace.has_stalled(now),
                elapsed: now.saturating_duration_since(*since),
                outage: away.get(host).map(String::as_str),
            });
        }
        self.pace.note(now, moved);
        let elapsed = now.saturating_duration_since(self.began);
        self.order.sort(&mut hosts, elapsed);
        let waiting = self.meters.len() - self.begun;
        if waiting > 0 && self.begun > 0 {
            // The hosts that have not begun are like the others.
            let each = total / self.begun as u64;
            total = total.saturating_add(each.saturating_mul(waiting as u64));
        }
        let running = hosts.len();
        let totals = Totals {
            total,
            there,
            is_estimate: waiting > 0,
            rate: self.pace.per_second(),
            left: self.pace.left(total.saturating_sub(there)),
            elapsed,
            ok: self.ok,
            failed: self.failed,
            running,
            waiting,
            reconnecting: away.len(),
        };
        self.live.draw(|size| rows(&totals, &hosts, size));
    }
}
