//! Draws lines of progress at the bottom of a terminal, and removes them. Where stderr is no terminal, and
//! progress is asked for all the same, writes the first line from time to time.
//!
//! Each drawn line ends with a line feed but the last, and none is wider than the terminal was then. So a
//! terminal that becomes narrower wraps each by itself, and it is known how many lines there are to remove.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use rustix::termios::tcgetwinsize;

use super::layout::Row;
use crate::output::style::{self, ProgressKind};

/// How often progress is drawn.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// Shorter work shows no progress.
const AFTER: Duration = Duration::from_millis(500);

/// How often a line is written where stderr is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The lines at the bottom of the terminal. Clones share them.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    began: Instant,
    kind: ProgressKind,
    colors: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is on the terminal.
    drawn: Vec<Row>,
    /// When a line was written last.
    logged: Option<Instant>,
    is_over: bool,
}

/// The terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Live {
    /// The display, if progress is shown.
    pub(crate) fn new() -> Option<Self> {
        let (began, kind) = (Instant::now(), style::progress()?);
        let colors = style::has_colors(rustix::stdio::stderr());
        Some(Self(Arc::new(Shared { began, kind, colors, state: Mutex::default() })))
    }

    /// Whether it is drawn on a terminal.
    pub(crate) fn is_drawn(&self) -> bool {
        self.0.kind == ProgressKind::Drawn
    }

    /// Draws these lines instead of the ones before.
    pub(crate) fn draw(&self, rows: impl FnOnce(Size) -> Vec<Row>) {
        let Shared { began, kind, colors, state } = &*self.0;
        let now = Instant::now();
        let mut state = lock(state);
        if now.saturating_duration_since(*began) < AFTER || state.is_over {
            return;
        }
        if *kind == ProgressKind::Lines {
            let last = state.logged.unwrap_or(*began);
            if now.saturating_duration_since(last) >= LOG_EVERY {
                state.logged = Some(now);
                let rows = rows(Size { width: 200, height: 2 });
                rows.first().into_iter().for_each(|row| write(&(row.text(*colors) + "\n")));
            }
            return;
        }
        let size = size();
        let rows = rows(size);
        write(&frame(&state.drawn, &rows, size.width, *colors));
        state.drawn = rows;
    }

    /// Writes something else to the terminal.
    pub(crate) fn suspend<T>(&self, write_other: impl FnOnce() -> T) -> T {
        let state = lock(&self.0.state);
        if state.drawn.is_empty() {
            return write_other();
        }
        let width = size().width;
        write(&frame(&state.drawn, &[], width, false));
        let done = write_other();
        write(&frame(&[], &state.drawn, width, self.0.colors));
        done
    }

    /// Writes a line above. What is drawn may not be true any more, and comes back when it is drawn next.
    pub(crate) fn note(&self, text: &str) {
        let mut state = lock(&self.0.state);
        let drawn = std::mem::take(&mut state.drawn);
        let removed =
            if drawn.is_empty() { String::new() } else { frame(&drawn, &[], size().width, false) };
        write(&format!("{removed}{text}\n"));
    }

    /// Removes the lines; nothing is drawn any more.
    pub(crate) fn clear(&self) {
        let mut state = lock(&self.0.state);
        state.is_over = true;
        let drawn = std::mem::take(&mut state.drawn);
        if !drawn.is_empty() {
            write(&frame(&drawn, &[], size().width, false));
        }
    }
}

/// What removes the lines that are `drawn` and draws others, in a terminal that is this wide now.
fn frame(drawn: &[Row], rows: &[Row], width: usize, colors: bool) -> String {
    let taken = drawn.iter().map(|row| row.width().div_ceil(width.max(1)).max(1)).sum::<usize>();
    let mut text = String::from("\r");
    // A String takes what is written to it.
    if taken > 1 {
        let _ = write!(text, "\x1b[{}A", taken - 1);
    }
    // Each line is cleared when it is replaced, so that nothing flickers.
    for (number, row) in rows.iter().enumerate() {
        let end = if number + 1 < rows.len() { "\n" } else { "" };
        let _ = write!(text, "\x1b[2K{}{end}", row.cut(width).text(colors));
    }
    if rows.is_empty() || drawn.len() > rows.len() || taken > drawn.len() {
        text.push_str("\x1b[J");
    }
    text
}

/// Errors are ignored: stderr may be closed.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn size() -> Size {
    let size = tcgetwinsize(rustix::stdio::stderr()).ok().filter(|size| size.ws_col > 0);
    let (width, height) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row.max(1)));
    Size { width: width.into(), height: height.into() }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Cell, line};
    use super::*;

    fn rows(texts: &[&str]) -> Vec<Row> {
        texts.iter().map(|text| line(200, vec![(0, Cell::left(*text))])).collect()
    }

    #[test]
    fn lines_are_replaced_where_they_stand() {
        let (two, one) = (rows(&["a", "bb"]), rows(&["c"]));
        assert_eq!(frame(&[], &two, 80, false), "\r\x1b[2Ka\n\x1b[2Kbb");
        assert_eq!(frame(&two, &two, 80, false), "\r\x1b[1A\x1b[2Ka\n\x1b[2Kbb");
        assert_eq!(frame(&two, &one, 80, false), "\r\x1b[1A\x1b[2Kc\x1b[J");
        assert_eq!(frame(&two, &[], 80, false), "\r\x1b[1A\x1b[J");
        assert_eq!(frame(&one, &[], 80, false), "\r\x1b[J");
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_wrapped_are_removed() {
        let wide = "x".repeat(100);
        let drawn = rows(&[&wide, "short"]);
        assert_eq!(frame(&drawn, &rows(&["n"]), 40, false), "\r\x1b[3A\x1b[2Kn\x1b[J");
        let redrawn = frame(&[], &drawn, 40, false);
        assert_eq!(redrawn, format!("\r\x1b[2K{}\n\x1b[2Kshort", &wide[..40]));
    }
}
