//! Draws the full screen: the model, as it is at a moment, into a buffer of cells of any size.

use std::time::Duration;

use lariat_base::name::JobId;
use lariat_base::quantity::span;
use lariat_client::status::describe;
use ratatui_core::buffer::Buffer;
use ratatui_core::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use super::canvas::Canvas;
use super::host::{Host, State};
use super::model::{Model, Page, Sort};
use crate::output::style::name_color;

/// Columns of a higher rank leave room for words about what is wrong.
const TROUBLE_RANK: u8 = 5;

/// What else is shown.
pub(super) struct Surroundings<'a> {
    pub(super) now: Duration,
    /// How often each host is looked at.
    pub(super) every: Duration,
    /// A warning that everybody is to see.
    pub(super) warning: Option<&'a str>,
    pub(super) has_colors: bool,
}

/// A column of the table of hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Load,
    Memory,
    Disk,
    Mount,
    Jobs,
    Moving,
    Up,
    Trouble,
}

impl Column {
    /// All, in their order, with their headings and widths, and their ranks: the highest is left out first.
    const ALL: [(Self, &str, u16, u8); 10] = [
        (Self::Name, "HOST", 4, 0),
        (Self::State, "STATE", 11, 0),
        (Self::Load, "LOAD", 5, 1),
        (Self::Memory, "MEM", 4, 2),
        (Self::Disk, "DISK", 4, 3),
        (Self::Mount, "", 14, 7),
        (Self::Jobs, "JOBS", 4, 4),
        (Self::Moving, "MOVING", 6, 6),
        (Self::Up, "UP", 6, 8),
        (Self::Trouble, "TROUBLE", 16, TROUBLE_RANK),
    ];

    fn is_number(self) -> bool {
        !matches!(self, Self::Name | Self::State | Self::Mount | Self::Trouble)
    }

    fn is_of(self, sort: Sort) -> bool {
        matches!(
            (self, sort),
            (Self::Name, Sort::Name)
                | (Self::State, Sort::Worst)
                | (Self::Load, Sort::Load)
                | (Self::Memory, Sort::Memory)
                | (Self::Disk, Sort::Disk)
                | (Self::Jobs, Sort::Jobs)
                | (Self::Moving, Sort::Transfers)
        )
    }

    fn title(self) -> &'static str {
        Self::ALL.iter().find(|(column, ..)| *column == self).map_or("", |(_, title, ..)| title)
    }

    /// A host's cell.
    fn cell(self, host: &Host, now: Duration) -> (String, Style) {
        let plain = Style::new();
        match self {
            Self::Name => return (host.name.to_string(), named(host)),
            Self::State => return (host.state.word().to_owned(), colour(host.state)),
            Self::Trouble => return (host.trouble(now), plain),
            _ => {}
        }
        let Some(figures) = &host.figures else { return (String::new(), plain) };
        let percent = |of: Option<u8>| of.map_or("?".to_owned(), |of| format!("{of}%"));
        let (text, state) = match self {
            Self::Load => (load(figures.load), figures.load_state()),
            Self::Memory => (percent(figures.memory), figures.memory_state()),
            Self::Disk => (percent(figures.disk), figures.disk_state()),
            Self::Mount => (figures.mount.clone(), State::Ok),
            Self::Jobs => (count(figures.jobs), State::Ok),
            Self::Moving => (count(figures.transfers), State::Ok),
            _ => (span(figures.up), State::Ok),
        };
        // What it said when it last answered.
        let old = plain.add_modifier(Modifier::DIM);
        let style = match state {
            _ if !host.state.is_up() => old,
            State::Ok => plain,
            state => colour(state),
        };
        (text, style)
    }
}

/// The style of a host's name.
fn named(host: &Host) -> Style {
    Style::new().fg(name_color(host.name.as_str()).into())
}

fn load(hundredths: u32) -> String {
    let load = f64::from(hundredths) / 100.0;
    if load < 100.0 { format!("{load:.2}") } else { format!("{load:.0}") }
}

fn count(number: usize) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

fn colour(state: State) -> Style {
    Style::new().fg(match state {
        State::Unreachable | State::Refused | State::Failed | State::Bad => Color::Red,
        State::Warn => Color::Yellow,
        State::Ok => Color::Green,
        State::Connecting => Color::Reset,
    })
}

/// Draws what is to be seen now.
pub(super) fn draw(model: &mut Model, buffer: &mut Buffer, around: &Surroundings<'_>) {
    let mut canvas = Canvas { buffer, has_colors: around.has_colors };
    match model.page {
        Page::Hosts => draw_hosts(model, &mut canvas, around),
        Page::Host { host, job, .. } => draw_host(model, host, job, &mut canvas, around.now),
        Page::Log { .. } => draw_log(model, &mut canvas),
    }
    if let Some(warning) = around.warning {
        let (width, height) = canvas.size();
        let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        canvas.put((0, height.saturating_sub(2)), width, warning, red);
    }
}

fn draw_hosts(model: &mut Model, canvas: &mut Canvas<'_>, around: &Surroundings<'_>) {
    let ((width, height), rows) = (canvas.size(), canvas.rows());
    summary(model, canvas, around.every);
    let columns = columns(model, width);
    for placed in &columns {
        let mut style = Style::new().add_modifier(Modifier::BOLD);
        if placed.column.is_of(model.sort) {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        put_cell(canvas, placed, 1, placed.column.title(), style);
    }
    let (cursor, total) = (model.cursor(), model.order().len());
    let first = model.list.fit_with(cursor, total, rows.into());
    let shown: Vec<usize> = model.order().iter().copied().skip(first).take(rows.into()).collect();
    for (y, (row, number)) in (2..).zip((first..).zip(shown)) {
        let host = &model.hosts()[number];
        for placed in &columns {
            let (text, style) = placed.column.cell(host, around.now);
            put_cell(canvas, placed, y, &text, style);
        }
        if row == cursor {
            canvas.highlight(y);
        }
    }
    if model.is_typing || !model.filter.is_empty() {
        let cursor = if model.is_typing { "_" } else { "" };
        let filter = format!("/{}{cursor}", model.filter);
        let hint = if model.is_typing { "  Enter keeps, Esc clears" } else { "  Esc clears" };
        let x = canvas.put((0, height.saturating_sub(1)), width, &filter, Style::new());
        canvas.put((x, height.saturating_sub(1)), width.saturating_sub(x), hint, Style::new());
        return;
    }
    let mut keys = vec![("Enter", " host  "), ("/", " filter  "), ("q", " leave  "), ("", "by")];
    keys.extend(Sort::ALL.iter().flat_map(|(_, name)| [("", " "), name.split_at(1)]));
    keys.push(("  r", " reverse"));
    canvas.keys(&keys);
}

/// How many hosts there are of each state.
fn summary(model: &Model, canvas: &mut Canvas<'_>, every: Duration) {
    let ((width, _), hosts) = (canvas.size(), model.hosts());
    let noun = if hosts.len() == 1 { "host" } else { "hosts" };
    let mut x = canvas.put((0, 0), width, &format!("{} {noun}:", hosts.len()), Style::new());
    for state in State::ALL {
        let count = hosts.iter().filter(|host| host.state == state).count();
        if count > 0 {
            let text = format!(" {count} {}", state.word());
            x = canvas.put((x, 0), width.saturating_sub(x), &text, colour(state));
        }
    }
    let every = format!("every {}", seconds(every));
    if usize::from(x) + every.width() < width.into() {
        canvas.put_right((x, 0), width - x, &every, Style::new().add_modifier(Modifier::DIM));
    }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(60) { format!("{} s", time.as_secs_f32()) } else { span(time) }
}

/// A column, and where it stands.
struct Placed {
    column: Column,
    x: u16,
    width: u16,
}

/// Writes a cell of the table.
fn put_cell(
    canvas: &mut Canvas<'_>,
    &Placed { column, x, width }: &Placed,
    y: u16,
    text: &str,
    style: Style,
) {
    if column.is_number() {
        canvas.put_right((x, y), width, text, style);
    } else {
        canvas.put((x, y), width, text, style);
    }
}

/// The columns that fit.
fn columns(model: &Model, width: u16) -> Vec<Placed> {
    let gap = if width < 60 { 1 } else { 2 };
    let longest = model.hosts().iter().map(|host| host.name.as_str().len()).max().unwrap_or(0);
    let name = u16::try_from(longest).unwrap_or(u16::MAX).clamp(4, (width / 4).max(10));
    let mut ranked = Column::ALL;
    ranked.sort_by_key(|(.., rank)| *rank);
    let (mut chosen, mut left) = (vec![Column::Name], width.saturating_sub(name));
    for (column, _, columns, rank) in ranked.into_iter().skip(1) {
        // Words about what is wrong are worth more than what comes behind them.
        let spare = if rank > TROUBLE_RANK { 14 } else { 0 };
        if left < columns + gap + spare {
            break;
        }
        left -= columns + gap;
        chosen.push(column);
    }
    let mut x = 0;
    let all = Column::ALL.into_iter().filter(|(column, ..)| chosen.contains(column));
    let placed = all.map(|(column, _, columns, _)| {
        let width = match column {
            Column::Name => name,
            // The last one has what is left.
            Column::Trouble => columns + left,
            _ => columns,
        };
        let placed = Placed { column, x, width };
        x = x.saturating_add(width.saturating_add(gap));
        placed
    });
    placed.collect()
}

fn draw_host(
    model: &mut Model,
    number: usize,
    job: Option<JobId>,
    canvas: &mut Canvas<'_>,
    now: Duration,
) {
    let host = &model.hosts()[number];
    heading(canvas, host, host.state.word(), colour(host.state));
    let trouble = host.trouble(now);
    let mut lines = Vec::new();
    if !trouble.is_empty() {
        lines.push(format!("{:<12} {trouble}", "trouble"));
    }
    let mut highlighted = None;
    if let Some((measured, at)) = &host.measured {
        if !host.state.is_up() {
            lines.push(format!("{:<12} {} ago", "as of", span(now.saturating_sub(*at))));
        }
        let text = describe(&measured.report, Some(measured.clock_skew));
        let before = lines.len();
        lines.extend(text.lines().map(ToOwned::to_owned));
        // Only our own words begin a line, and each job has one.
        let jobs = lines.iter().skip(before).position(|line| line.starts_with("jobs "));
        let at = measured.report.jobs.iter().position(|one| Some(one.0.job) == job);
        highlighted = jobs.zip(at).map(|(jobs, at)| before + jobs + at);
    }
    let ((width, height), has_job) = (canvas.size(), highlighted.is_some());
    let rows = height.saturating_sub(2);
    let Page::Host { scroll, .. } = &mut model.page else { return };
    let (total, rows_there) = (lines.len(), rows.into());
    let first = match highlighted {
        Some(line) => scroll.fit_with(line, total, rows_there),
        None => scroll.fit(total, rows_there),
    };
    for (y, (at, line)) in (1..=rows).zip(lines.iter().enumerate().skip(first)) {
        canvas.put((0, y), width, line, Style::new());
        if highlighted == Some(at) {
            canvas.highlight(y);
        }
    }
    let log: &[_] = if has_job { &[("↑↓", " job  "), ("Enter", " its output")] } else { &[] };
    canvas.keys(&[&[("Esc", " back  "), ("q", " leave  ")][..], log].concat());
}

fn draw_log(model: &mut Model, canvas: &mut Canvas<'_>) {
    let Page::Log { host, job, .. } = &model.page else { return };
    let what = format!("output of job {:.12}", job.to_string());
    heading(canvas, &model.hosts()[*host], &what, Style::new());
    let (width, height) = canvas.size();
    let rows = height.saturating_sub(2);
    let Page::Log { text, scroll, .. } = &mut model.page else { return };
    let text = text.borrow();
    let lines = text.len();
    let first = scroll.fit(lines, rows.into());
    for (y, line) in (1..=rows).zip(text.from(first)) {
        canvas.put((0, y), width, &line, Style::new());
    }
    canvas.keys(&[("Esc", " back  "), ("q", " leave  "), ("↑↓", " scroll  "), ("End", " follow")]);
}

/// The first line of a page about one host.
fn heading(canvas: &mut Canvas<'_>, host: &Host, what: &str, style: Style) {
    let (width, _) = canvas.size();
    let name = named(host).add_modifier(Modifier::BOLD);
    let x = canvas.put((0, 0), width, host.name.as_str(), name);
    canvas.put((x + 1, 0), width.saturating_sub(x + 1), what, style);
}

#[cfg(test)]
mod tests {
    use lariat_base::name::KeyId;
    use lariat_wire::grown::Grown;
    use lariat_wire::protocol::status::RunningJob;
    use ratatui_core::backend::TestBackend;
    use ratatui_core::terminal::Terminal;

    use super::super::host::Look;
    use super::super::key::Key;
    use super::super::samples::measured;
    use super::*;
    use crate::fanout::End;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn around<'a>() -> Surroundings<'a> {
        Surroundings { now: seconds(200), every: seconds(2), warning: None, has_colors: true }
    }

    fn fleet() -> Model {
        let names = ["db1", "mail", "web-front-1.example", "web1", "web2"];
        let mut model = Model::new(names.map(|name| name.parse().unwrap()));
        let mut busy = measured(1234, 41, 88);
        busy.report.processors = 32;
        busy.report.disks[0].0.path = b"/srv/\x1b[2J".to_vec();
        busy.report.jobs = vec![job(b"make\n\x1b[2J"), job(b"sleep 9")];
        busy.report.version = "\x1b]0;x\x07".to_owned();
        model.heard(0, Look::Answer(busy), seconds(100));
        model.heard(1, Look::Failure(End::Unreachable, "connection refused".into()), seconds(75));
        model.heard(2, Look::Answer(measured(42, 12, 30)), seconds(100));
        model.heard(3, Look::Failure(End::Refused, "not permitted".into()), seconds(10));
        model.heard(3, Look::Answer(measured(7, 91, 8)), seconds(100));
        model
    }

    fn job(command: &[u8]) -> Grown<RunningJob> {
        let (job, key) = (JobId([command[0]; 16]), KeyId([1; 16]));
        let (label, command) = ("bob".to_owned(), Some(command.to_vec()));
        let (since_ms, is_detached, user) = (1000, true, None);
        Grown(RunningJob { job, key, label, since_ms, is_detached, user, command })
    }

    fn drawn(model: &mut Model, width: u16, height: u16, around: &Surroundings<'_>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(model, frame.buffer_mut(), around)).unwrap();
        let text = terminal.backend().to_string();
        let lines = text.lines().map(|line| line.trim_matches('"').trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn hosts_are_a_table_as_wide_as_the_screen() {
        let mut model = fleet();
        insta::assert_snapshot!(drawn(&mut model, 40, 8, &around()), @r"
        5 hosts: 1 unreachable 2 warn 1 ok 1 co…
        HOST       STATE        LOAD  MEM DISK
        mail       unreachable
        web1       warn         0.07  91%   8%
        db1        warn        12.34  41%  88%
        web-front… ok           0.42  12%  30%
        web2       connecting
        Enter host  / filter  q leave  by worst
        ");
        insta::assert_snapshot!(drawn(&mut model, 80, 8, &around()), @r"
        5 hosts: 1 unreachable 2 warn 1 ok 1 connecting                        every 2 s
        HOST                 STATE         LOAD   MEM  DISK  JOBS  TROUBLE
        mail                 unreachable                           2m05s: connection re…
        web1                 warn          0.07   91%    8%     -  memory 91% used; 1m4…
        db1                  warn         12.34   41%   88%     2  disk /srv/\x1b[2J 88…
        web-front-1.example  ok            0.42   12%   30%     -
        web2                 connecting
        Enter host  / filter  q leave  by worst name load memory disk jobs transfers  r…
        ");
        insta::assert_snapshot!(drawn(&mut model, 200, 8, &around()), @r"
        5 hosts: 1 unreachable 2 warn 1 ok 1 connecting                                                                                                                                                every 2 s
        HOST                 STATE         LOAD   MEM  DISK                  JOBS  MOVING      UP  TROUBLE
        mail                 unreachable                                                           2m05s: connection refused
        web1                 warn          0.07   91%    8%  /                  -       -   1d01h  memory 91% used; 1m40s ago for 1m30s: not permitted
        db1                  warn         12.34   41%   88%  /srv/\x1b[2J       2       -   1d01h  disk /srv/\x1b[2J 88% full
        web-front-1.example  ok            0.42   12%   30%  /                  -       -   1d01h
        web2                 connecting
        Enter host  / filter  q leave  by worst name load memory disk jobs transfers  r reverse
        ");
    }

    #[test]
    fn as_many_hosts_as_fit_are_shown_and_what_stays_is_not_drawn_again() {
        let names = (0..1000).map(|number| format!("h{number:04}").parse().unwrap());
        let mut model = Model::new(names);
        for number in 0..1000 {
            model.heard(number, Look::Answer(measured(1, 20, 30)), seconds(100));
        }
        let mut buffers =
            [(), ()].map(|()| Buffer::empty(ratatui_core::layout::Rect::new(0, 0, 200, 50)));
        (0..960).for_each(|_| assert_eq!(model.key(Key::Down), None));
        for buffer in &mut buffers {
            draw(&mut model, buffer, &around());
        }
        assert_eq!(buffers[0].diff(&buffers[1]).len(), 0);
        let text = drawn(&mut model, 200, 50, &around());
        assert_eq!(text.lines().filter(|line| line.starts_with("h0")).count(), 47);
        assert!(text.contains("h0960") && text.starts_with("1000 hosts: 1000 ok"), "{text}");
    }

    #[test]
    fn a_host_is_shown_with_its_jobs_and_a_job_with_its_output() {
        let mut model = fleet();
        for key in [Key::Char('n'), Key::Enter, Key::Down] {
            assert_eq!(model.key(key), None);
        }
        insta::assert_snapshot!(drawn(&mut model, 80, 14, &around()), @r"
        db1 warn
        trouble      disk /srv/\x1b[2J 88% full
        up           1d01h,
        load         12.34 0.00 0.00 of 32 processors
        memory       41/100 B used
        disk         /srv/\x1b[2J 88% full, 12/100 B free
        lariatd      \x1b]0;x\x07, running for 0s
        certificate  valid for 299 more days
        audit        0 lines
        clock        as this machine's
        jobs         6d6d6d6d6d6d bob since 00:00:01Z, detached: make\x0a\x1b[2J
                     737373737373 bob since 00:00:01Z, detached: sleep 9

        Esc back  q leave  ↑↓ job  Enter its output
        ");
        let mut terminal = Terminal::new(TestBackend::new(80, 6)).unwrap();
        terminal.draw(|frame| draw(&mut model, frame.buffer_mut(), &around())).unwrap();
        let lit = terminal.backend().buffer().content().iter();
        let lit = lit.filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        assert_eq!(lit, 80, "the job that was chosen is in view");
        model.key(Key::Enter);
        let (_, _, text) = model.wanted_log().unwrap();
        text.borrow_mut().push(0, b"one\n\x1b[2Jtwo\nthree\nfour");
        let warning = Some("lariat: web1: its audit was cut");
        let around = Surroundings { warning, has_colors: false, ..around() };
        insta::assert_snapshot!(drawn(&mut model, 50, 6, &around), @r"
        db1 output of job 737373737373
        one
        \x1b[2Jtwo
        three
        lariat: web1: its audit was cut
        Esc back  q leave  ↑↓ scroll  End follow
        ");
    }
}
