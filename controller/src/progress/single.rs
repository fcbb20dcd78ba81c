//! What a transfer to or from a single host shows: one line about the file that is on its way.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Instant;

use anstyle::AnsiColor;
use lariat_base::name::HostName;
use lariat_base::quantity::bytes;

use super::fan_out::{HostView, host_cells};
use super::layout::{Cell, Row, line};
use super::live::{EVERY, Live};
use super::meter::{Counts, Meter};
use super::pace::Pace;
use crate::outages::Outages;

/// The line of one host's transfers. Dropping it removes the line.
pub(crate) struct Single<'a> {
    live: Live,
    host: HostName,
    meter: &'a Meter,
    outages: Outages,
    began: Instant,
    item: RefCell<Item>,
}

/// The file or directory on its way.
#[derive(Default)]
struct Item {
    name: String,
    /// The counts when it began.
    before: Counts,
    pace: Pace,
}

impl<'a> Single<'a> {
    /// The line, if progress is shown; it shows outages too.
    pub(crate) fn new(host: &HostName, meter: &'a Meter, outages: &Outages) -> Option<Self> {
        let live = Live::new()?;
        outages.line(live.clone());
        let (host, outages, item) = (host.clone(), outages.clone(), RefCell::default());
        Some(Self { live, host, meter, outages, began: Instant::now(), item })
    }

    /// What draws it.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// The next file or directory begins.
    pub(crate) fn item(&self, name: String) {
        let before = self.meter.counts();
        *self.item.borrow_mut() = Item { name, before, pace: Pace::default() };
    }

    /// Draws it again and again.
    pub(crate) async fn draw(&self) -> Infallible {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut item = self.item.borrow_mut();
            let Item { name, before, pace } = &mut *item;
            if let Some(kept) = self.meter.take_kept() {
                let kept = bytes(kept, 0);
                self.live.note(&format!("{}: {kept} of {name} were kept", self.host));
            }
            let (now, counts) = (Instant::now(), self.meter.counts());
            pace.note(now, counts.moved);
            let total = counts.total.saturating_sub(before.total);
            let there = counts.there.saturating_sub(before.there);
            let outage = self.outages.text(&self.host);
            let view = HostView {
                name,
                total,
                there,
                part: (counts.part, counts.parts),
                rate: pace.per_second(),
                left: pace.left(total.saturating_sub(there)),
                has_stalled: pace.has_stalled(now),
                elapsed: now - self.began,
                outage: outage.as_deref(),
            };
            self.live.draw(|size| vec![row(&view, size.width)]);
        }
    }
}

impl Drop for Single<'_> {
    fn drop(&mut self) {
        self.outages.no_line();
        self.live.clear();
    }
}

/// The part, the bar, percent, bytes, rate, and the time that is left; the name is in front.
const RANKS: [u8; 6] = [2, 5, 0, 1, 3, 4];

/// The lengths of a bar.
const BARS: [usize; 3] = [40, 20, 10];

/// The longest name that is not shortened.
const NAME: usize = 32;

fn row(view: &HostView<'_>, width: usize) -> Row {
    if let Some(outage) = view.outage {
        let stalled = format!("stalled at {}", bytes(view.there, view.total));
        let cells = [(0, outage.to_owned()), (1, stalled)];
        let yellow = |text: String| Cell::left(text).styled(AnsiColor::Yellow.on_default());
        let cells = cells.map(|(rank, text)| (rank, yellow(text).listed()));
        return line(width, cells.into());
    }
    let mut name = Cell::left(view.name);
    name.cut(NAME.min(width / 3).max(8));
    let cells = |bar: usize| {
        let cells = host_cells(view, bar).into_iter().zip(RANKS);
        let cells = cells.map(|(cell, rank)| (rank, cell));
        std::iter::once((1, name.clone())).chain(cells).collect::<Vec<_>>()
    };
    // The longest bar that fits; without one if none does.
    let fitting = BARS.into_iter().find(|&bar| line(usize::MAX, cells(bar)).width() <= width);
    line(width, cells(fitting.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_line_says_what_is_on_its_way() {
        const MIB: u64 = 1 << 20;
        let mut view = HostView {
            name: "backup-2026-11-27.tar",
            total: 256 * MIB,
            there: 128 * MIB,
            part: (2, 3),
            rate: Some(5 * MIB),
            left: Some(Duration::from_secs(26)),
            has_stalled: false,
            elapsed: Duration::from_secs(9),
            outage: None,
        };
        let at = |view: &HostView<'_>, width| {
            let row = row(view, width);
            assert!(row.width() <= width, "{row:?}");
            row.text(false)
        };
        insta::assert_snapshot!(at(&view, 200), @"backup-2026-11-27.tar  2/3  ████████████████████░░░░░░░░░░░░░░░░░░░░  50%  128/256 MiB  5.0 MiB/s  ETA 26s");
        insta::assert_snapshot!(at(&view, 80), @"backup-2026-11-27.tar  2/3  █████░░░░░  50%  128/256 MiB  5.0 MiB/s  ETA 26s");
        insta::assert_snapshot!(at(&view, 40), @"backup-2026-1  2/3  50%  128/256 MiB");
        insta::assert_snapshot!(at(&view, 9), @"50%");
        view.has_stalled = true;
        insta::assert_snapshot!(at(&view, 80), @"backup-2026-11-27.tar  2/3  ██████████░░░░░░░░░░  50%  128/256 MiB  stalled");
        view.outage = Some("web1: connection lost, reconnecting (4 s of 30 s)");
        insta::assert_snapshot!(at(&view, 80), @"web1: connection lost, reconnecting (4 s of 30 s), stalled at 128/256 MiB");
        insta::assert_snapshot!(at(&view, 40), @"web1: connection lost, reconnecting (4 s");
        let unknown = HostView { outage: None, has_stalled: false, total: 0, ..view };
        insta::assert_snapshot!(at(&unknown, 80), @"backup-2026-11-27.tar  2/3  128 MiB  5.0 MiB/s");
    }
}
