//! What a person sees of a fan-out: the output of all, and on a terminal a bar over the hosts with the
//! few that have run longest below it. No bar where nobody looks, and none for what is over at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lariat_base::name::HostName;
use rustix::fs::{FileType, fstat};

use crate::outages::Outages;
use crate::output::printer::Printer;
use crate::output::style;

/// How long a fan-out takes before bars are worth drawing.
const AFTER: Duration = Duration::from_millis(500);

/// How often what they say is looked at anew.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// How many of the hosts under way are named.
const NAMED: usize = 4;

/// Both streams, and the bars.
pub(crate) struct Screen {
    /// Results.
    pub(crate) stdout: Printer,
    /// Everything else.
    pub(crate) stderr: Printer,
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    outages: Outages,
    began: Instant,
    total: usize,
    drawn: Option<(ProgressBar, Vec<ProgressBar>)>,
    /// By number.
    running: BTreeMap<usize, (HostName, Instant)>,
    done: usize,
    failed: usize,
}

impl Screen {
    /// For this many hosts, whose outages are shown here too.
    pub(crate) fn new(total: usize, outages: &Outages) -> io::Result<Self> {
        // A pager would be drawn over.
        let bars = (style::has_progress() && !stdout_is_a_pipe()).then(MultiProgress::new);
        let shared = |is_terminal: bool| bars.clone().filter(|_| is_terminal);
        let stdout = Printer::start(rustix::stdio::stdout(), shared(io::stdout().is_terminal()))?;
        let stderr = Printer::start(rustix::stdio::stderr(), shared(true))?;
        outages.hosts(stderr.clone(), bars.is_some());
        let bars = bars.map(|all| Bars {
            all,
            outages: outages.clone(),
            began: Instant::now(),
            total,
            drawn: None,
            running: BTreeMap::new(),
            done: 0,
            failed: 0,
        });
        Ok(Self { stdout, stderr, bars })
    }

    /// Whether anybody looks at bars.
    pub(super) fn has_bars(&self) -> bool {
        self.bars.is_some()
    }

    /// A host has begun.
    pub(super) fn began(&mut self, number: usize, host: &HostName) {
        if let Some(bars) = &mut self.bars {
            bars.running.insert(number, (host.clone(), Instant::now()));
        }
    }

    /// A host has ended.
    pub(super) fn ended(&mut self, number: usize, ok: bool) {
        if let Some(bars) = &mut self.bars {
            bars.running.remove(&number);
            bars.done += 1;
            bars.failed += usize::from(!ok);
        }
    }

    /// Draws what has changed, if it is time.
    pub(super) fn tick(&mut self) {
        if let Some(bars) = self.bars.as_mut().filter(|bars| bars.began.elapsed() >= AFTER) {
            bars.draw();
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&mut self) {
        if let Some(bars) = self.bars.take() {
            // A terminal that went away takes nothing back.
            let _ = bars.all.clear();
        }
    }
}

fn stdout_is_a_pipe() -> bool {
    let fifo = |mode| FileType::from_raw_mode(mode) == FileType::Fifo;
    fstat(rustix::stdio::stdout()).is_ok_and(|stat| fifo(stat.st_mode))
}

impl Bars {
    fn draw(&mut self) {
        let (overall, named) = self.drawn.get_or_insert_with(|| {
            let bar = |template: &str, len: usize| {
                // A template that does not parse would be our mistake; the plain bar does as well.
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                self.all.add(ProgressBar::new(len as u64).with_style(style))
            };
            let overall = bar("{wide_bar} {pos}/{len} hosts{msg} {elapsed}", self.total);
            (overall, (0..NAMED).map(|_| bar("  {msg}", 1)).collect())
        });
        overall.set_position(self.done as u64);
        let away = self.outages.now();
        let mut message = String::new();
        if self.failed > 0 {
            let _ = write!(message, ", {} not ok", self.failed);
        }
        if !away.is_empty() {
            let _ = write!(message, ", {} reconnecting", away.len());
        }
        overall.set_message(message);
        let there = self.running.values().filter(|(host, _)| !away.contains_key(host));
        let there = there.map(|(host, since)| format!("{host} {} s", since.elapsed().as_secs()));
        // Those that are away are what whoever looks wants to know of.
        let mut hosts = away.values().cloned().chain(there);
        for bar in named {
            bar.set_message(hosts.next().unwrap_or_default());
            bar.tick();
        }
    }
}
