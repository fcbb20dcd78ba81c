//! What a fan-out shows: a line of totals, and as many hosts as fit, the slowest first. No I/O, no clock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use lariat_base::quantity::{bytes, percent, rate, span};

use anstyle::{AnsiColor, Style};

use super::layout::{Cell, Row, TableRow, bar, line, table};
use super::live::Size;

/// How often hosts change places: a list that moves all the time can't be read.
const SORTED_FOR: Duration = Duration::from_secs(2);

/// The sum of all hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// The bytes of all hosts, and those that their receivers have.
    pub(crate) total: u64,
    pub(crate) there: u64,
    /// The total is estimated, as some hosts have not begun.
    pub(crate) is_estimate: bool,
    /// Bytes a second.
    pub(crate) rate: Option<u64>,
    pub(crate) left: Option<Duration>,
    pub(crate) elapsed: Duration,
    pub(crate) ok: usize,
    pub(crate) failed: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) reconnecting: usize,
}

/// A host in progress.
#[derive(Clone, Debug)]
pub(crate) struct HostView<'a> {
    pub(crate) name: &'a str,
    pub(crate) total: u64,
    pub(crate) there: u64,
    /// The part of its work that is in progress, and how many there are.
    pub(crate) part: (u32, u32),
    pub(crate) rate: Option<u64>,
    pub(crate) left: Option<Duration>,
    pub(crate) has_stalled: bool,
    pub(crate) elapsed: Duration,
    /// Describes the outage, if the connection is missing.
    pub(crate) outage: Option<&'a str>,
}

impl HostView<'_> {
    /// Sorts the slowest first: those without a connection, then by how much they have.
    fn slowness(&self) -> (bool, u32, Reverse<Duration>) {
        let thousandths = match self.total {
            0 => 0,
            total => u128::from(self.there) * 1000 / u128::from(total),
        };
        let thousandths = u32::try_from(thousandths).unwrap_or(u32::MAX);
        (self.outage.is_none(), thousandths, Reverse(self.elapsed))
    }
}

/// The order of the hosts, which stays for a while.
#[derive(Debug, Default)]
pub(crate) struct Order {
    sorted: Option<Duration>,
    places: HashMap<String, usize>,
}

impl Order {
    /// Sorts the hosts, `elapsed` after the beginning.
    pub(crate) fn sort(&mut self, hosts: &mut [HostView<'_>], elapsed: Duration) {
        let stays = self.sorted.is_some_and(|at| elapsed.saturating_sub(at) < SORTED_FOR);
        if stays {
            let place = |host: &HostView<'_>| {
                let place = self.places.get(host.name);
                (host.outage.is_none(), place.copied().unwrap_or(usize::MAX))
            };
            hosts.sort_by_cached_key(place);
        } else {
            hosts.sort_by_key(HostView::slowness);
            self.sorted = Some(elapsed);
            let names = hosts.iter().map(|host| host.name.to_owned());
            self.places = names.enumerate().map(|(place, name)| (name, place)).collect();
        }
    }
}

/// The lines of a fan-out. The hosts are sorted.
pub(crate) fn rows(totals: &Totals, hosts: &[HostView<'_>], size: Size) -> Vec<Row> {
    let mut rows = vec![totals_line(totals, size.width)];
    // Commands write lines of their own, which need room too.
    let has_bytes = totals.total > 0;
    let most = if has_bytes { size.height.saturating_sub(2) } else { size.height / 2 };
    let shown = if hosts.len() <= most { hosts.len() } else { most.saturating_sub(1) };
    rows.extend(table(
        size.width,
        hosts[..shown].iter().map(|host| host_row(host, size.width)).collect(),
        &HOST_RANKS,
    ));
    if shown < hosts.len() && most > 0 {
        let more = Cell::left(format!("+{} more", hosts.len() - shown));
        rows.push(line(size.width, vec![(0, more.styled(dimmed()))]));
    }
    rows
}

fn dimmed() -> Style {
    Style::new().dimmed()
}

fn totals_line(totals: &Totals, width: usize) -> Row {
    let Totals { total, there, ok, failed, running, waiting, reconnecting, .. } = *totals;
    let hosts = ok + failed + running + waiting;
    let (amount, percent) = if total == 0 {
        (format!("{}/{hosts} hosts", ok + failed), percent((ok + failed) as u64, hosts as u64))
    } else {
        let all = bytes(there, total);
        let all = if totals.is_estimate { all.replacen('/', "/~", 1) } else { all };
        (all, percent(there, total))
    };
    let percent = percent.map(|percent| format!("{percent}%")).unwrap_or_default();
    let pace = if total == 0 { None } else { totals.rate.map(rate) };
    let left = match totals.left {
        Some(left) if total > 0 => format!("ETA {}", span(left)),
        _ => span(totals.elapsed),
    };
    let count = |count: usize, word: &str| {
        let text = if count == 0 { String::new() } else { format!("{count} {word}") };
        Cell::left(text).listed()
    };
    let cells = vec![
        (1, Cell::left(amount)),
        (0, Cell::left(percent)),
        (3, Cell::left(pace.unwrap_or_default())),
        (2, Cell::left(left)),
        (4, Cell::left(format!(" {ok} ok")).listed()),
        (0, count(failed, "failed").styled(AnsiColor::Red.on_default())),
        (1, count(reconnecting, "reconnecting").styled(AnsiColor::Yellow.on_default())),
        (3, count(running, "running")),
        (5, count(waiting, "waiting")),
    ];
    line(width, cells)
}

/// The part, the bar, percent, bytes, rate, and the time that is left.
const HOST_RANKS: [u8; 6] = [2, 5, 0, 3, 1, 4];

/// The columns of a bar.
fn bar_width(width: usize) -> usize {
    if width < 100 { 10 } else { 20 }
}

fn host_row(host: &HostView<'_>, width: usize) -> TableRow {
    match host.outage {
        Some(text) => TableRow::Text(Cell::left(text).styled(AnsiColor::Yellow.on_default())),
        None => TableRow::Cells(Cell::left(host.name), host_cells(host, bar_width(width))),
    }
}

/// The cells of a host, or of a single transfer.
pub(super) fn host_cells(host: &HostView<'_>, bar_columns: usize) -> Vec<Cell> {
    let HostView { total, there, part, .. } = *host;
    let part = if part.1 > 1 { format!("{}/{}", part.0, part.1) } else { String::new() };
    if total == 0 && there == 0 {
        let elapsed = Cell::right(span(host.elapsed));
        return vec![Cell::right(part), Cell::default(), elapsed];
    }
    let percent = percent(there, total);
    let is_complete = there >= total && total > 0;
    let pace = match host.rate {
        _ if host.has_stalled && !is_complete => {
            Cell::right("stalled").styled(AnsiColor::Yellow.on_default())
        }
        Some(_) if is_complete => Cell::default(),
        pace => Cell::right(pace.map(rate).unwrap_or_default()),
    };
    let left = host.left.filter(|_| there < total && !host.has_stalled);
    vec![
        Cell::right(part),
        bar(percent, bar_columns),
        Cell::right(percent.map(|percent| format!("{percent}%")).unwrap_or_default()),
        Cell::right(bytes(there, total)),
        pace,
        Cell::right(left.map(|left| format!("ETA {}", span(left))).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn host(name: &str, there: u64, total: u64) -> HostView<'_> {
        let second = Duration::from_secs(1);
        HostView {
            name,
            total,
            there,
            part: (0, 0),
            rate: Some(31 * MIB),
            left: Some(19 * second),
            has_stalled: false,
            elapsed: 12 * second,
            outage: None,
        }
    }

    fn text(totals: &Totals, hosts: &[HostView<'_>], width: usize, height: usize) -> String {
        let rows = rows(totals, hosts, Size { width, height });
        assert!(rows.iter().all(|row| row.width() <= width) && rows.len() < height.max(2));
        rows.iter().map(|row| row.text(false).trim_end().to_owned() + "\n").collect()
    }

    fn transfer() -> (Totals, Vec<HostView<'static>>) {
        let totals = Totals {
            total: 10_240 * MIB,
            there: 4200 * MIB,
            rate: Some(312 * MIB),
            left: Some(Duration::from_secs(19)),
            elapsed: Duration::from_secs(12),
            running: 10,
            ..Totals::default()
        };
        let stalled =
            HostView { has_stalled: true, rate: Some(0), left: None, ..host("db1", 0, 1 << 30) };
        let outage = Some("web10: connection lost, reconnecting (4 s of 30 s)");
        let hosts = vec![
            HostView { outage, ..host("web10", 5, 9) },
            stalled,
            host("web1", 410 * MIB, 1 << 30),
            HostView { part: (2, 3), ..host("web2", 1 << 30, 1 << 30) },
            host("web3", 7, 0),
            host("web4", 0, 0),
        ];
        (totals, hosts)
    }

    #[test]
    fn a_transfer_to_many_hosts() {
        let (totals, hosts) = transfer();
        insta::assert_snapshot!(text(&totals, &hosts, 200, 50), @"
        4.1/10.0 GiB  41%  312 MiB/s  ETA 19s   0 ok, 10 running
        web10: connection lost, reconnecting (4 s of 30 s)
        db1        ░░░░░░░░░░░░░░░░░░░░    0%  0.0/1.0 GiB     stalled
        web1       ████████░░░░░░░░░░░░   40%  0.4/1.0 GiB  31.0 MiB/s  ETA 19s
        web2  2/3  ████████████████████  100%  1.0/1.0 GiB
        web3                                           7 B  31.0 MiB/s
        web4                              12s
        ");
        insta::assert_snapshot!(text(&totals, &hosts, 80, 24), @"
        4.1/10.0 GiB  41%  312 MiB/s  ETA 19s   0 ok, 10 running
        web10: connection lost, reconnecting (4 s of 30 s)
        db1        ░░░░░░░░░░    0%  0.0/1.0 GiB     stalled
        web1       ████░░░░░░   40%  0.4/1.0 GiB  31.0 MiB/s  ETA 19s
        web2  2/3  ██████████  100%  1.0/1.0 GiB
        web3                                 7 B  31.0 MiB/s
        web4                    12s
        ");
        insta::assert_snapshot!(text(&totals, &hosts, 40, 24), @"
        4.1/10.0 GiB  41%  312 MiB/s  ETA 19s
        web10: connection lost, reconnecting (4
        db1          0%  0.0/1.0 GiB     stalled
        web1        40%  0.4/1.0 GiB  31.0 MiB/s
        web2  2/3  100%  1.0/1.0 GiB
        web3                     7 B  31.0 MiB/s
        web4        12s
        ");
        insta::assert_snapshot!(text(&totals, &hosts, 80, 6), @"
        4.1/10.0 GiB  41%  312 MiB/s  ETA 19s   0 ok, 10 running
        web10: connection lost, reconnecting (4 s of 30 s)
        db1   ░░░░░░░░░░   0%  0.0/1.0 GiB     stalled
        web1  ████░░░░░░  40%  0.4/1.0 GiB  31.0 MiB/s  ETA 19s
        +3 more
        ");
    }

    #[test]
    fn commands_on_many_hosts() {
        let totals = Totals {
            ok: 3,
            failed: 1,
            running: 10,
            waiting: 50,
            reconnecting: 1,
            elapsed: Duration::from_secs(75),
            ..Totals::default()
        };
        let names: Vec<String> = (1..=10).map(|number| format!("web{number}")).collect();
        let hosts: Vec<_> = names.iter().map(|name| host(name, 0, 0)).collect();
        insta::assert_snapshot!(text(&totals, &hosts, 80, 12), @"
        4/64 hosts  6%  1m15s   3 ok, 1 failed, 1 reconnecting, 10 running, 50 waiting
        web1  12s
        web2  12s
        web3  12s
        web4  12s
        web5  12s
        +5 more
        ");
        insta::assert_snapshot!(text(&totals, &hosts, 40, 8), @"
        4/64 hosts  6%  1 failed, 1 reconnecting
        web1  12s
        web2  12s
        web3  12s
        +7 more
        ");
        let estimate = Totals { total: 5 * MIB, is_estimate: true, ..totals };
        insta::assert_snapshot!(text(&estimate, &[], 80, 24), @"0.0/~5.0 MiB  0%  1m15s   3 ok, 1 failed, 1 reconnecting, 10 running, 50 waiting");
    }

    #[test]
    fn the_slowest_come_first_and_stay_a_while() {
        let names = |hosts: &[HostView<'_>]| {
            hosts.iter().map(|host| host.name.to_owned()).collect::<Vec<_>>()
        };
        let mut order = Order::default();
        let mut hosts = vec![host("a", 9, 10), host("b", 1, 10), host("c", 5, 10)];
        order.sort(&mut hosts, Duration::from_secs(1));
        assert_eq!(names(&hosts), ["b", "c", "a"]);
        // Other hosts are slower now, and one is new.
        let mut hosts =
            vec![host("d", 0, 10), host("a", 9, 10), host("b", 8, 10), host("c", 6, 10)];
        order.sort(&mut hosts, Duration::from_secs(2));
        assert_eq!(names(&hosts), ["b", "c", "a", "d"]);
        order.sort(&mut hosts, Duration::from_secs(3));
        assert_eq!(names(&hosts), ["d", "c", "b", "a"]);
        hosts[3].outage = Some("a: away");
        order.sort(&mut hosts, Duration::from_secs(3));
        assert_eq!(names(&hosts), ["a", "d", "c", "b"]);
    }

    proptest! {
        #[test]
        fn it_fits_any_terminal(
            width in 1_usize..300,
            height in 1_usize..60,
            numbers in proptest::collection::vec(any::<u64>(), 6),
            hosts in proptest::collection::vec(
                ("[a-z0-9.-]{1,63}", any::<u64>(), any::<u64>(), any::<u32>(), any::<Option<u64>>(), any::<bool>(), 0_u64..u64::from(u32::MAX)),
                0..80,
            ),
        ) {
            let totals = Totals {
                total: numbers[0],
                there: numbers[1],
                is_estimate: numbers[2] % 2 == 0,
                rate: Some(numbers[3]),
                left: Some(Duration::from_secs(numbers[4])),
                ok: 12,
                failed: 3,
                running: hosts.len(),
                waiting: 7,
                reconnecting: 1,
                ..Totals::default()
            };
            let hosts: Vec<_> = hosts.iter().map(|(name, total, there, part, rate, flag, seconds)| {
                let (left, elapsed) = (rate.map(Duration::from_secs), Duration::from_secs(*seconds));
                let outage = (part % 5 == 0).then_some(name.as_str());
                let part = (*part, part.wrapping_mul(3));
                HostView { name, total: *total, there: *there, part, rate: *rate, left, has_stalled: *flag, elapsed, outage }
            }).collect();
            let rows = rows(&totals, &hosts, Size { width, height });
            prop_assert!(rows.len() <= height.max(1));
            prop_assert!(rows.iter().all(|row| row.width() <= width));
        }
    }
}
