//! Displays outages: in an updated line, in a progress bar, over a remote terminal, or among many hosts.
//! Without a terminal they are only shown with `-v`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::{Lost, OutageObserver};

use crate::output;
use crate::output::printer::Printer;
use crate::output::style;
use crate::progress::Live;
use crate::stdio::is_at_line_start;

/// Most warnings that are kept while a screen is shown.
const MOST_KEPT: usize = 100;

/// The display of all hosts' outages. Clones share it.
#[derive(Clone)]
pub(crate) struct Outages(Arc<Mutex<Screen>>);

struct Screen {
    /// How stderr is used.
    looks: Looks,
    view: View,
    /// The current text of each host.
    shown: BTreeMap<HostName, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    Nobody,
    /// Stderr is not a terminal, but `-v` asks for messages.
    InALog,
    AtATerminal,
}

enum View {
    /// A line on stderr.
    Line,
    /// A remote terminal is shown: uses its top line, and restores the cursor.
    Overlay,
    /// A line of progress, which shows the texts of [`Outages::text`].
    Live(Live),
    /// Lines among those of other hosts.
    Hosts { stderr: Printer, has_bars: bool },
    /// A screen that shows outages itself; warnings wait for its end.
    Screen(Vec<String>),
}

impl Outages {
    /// The display for this process's stderr.
    pub(crate) fn new(verbose: bool) -> Self {
        let looks = match (io::stderr().is_terminal(), verbose) {
            _ if style::is_quiet() => Looks::Nobody,
            (true, _) => Looks::AtATerminal,
            (false, true) => Looks::InALog,
            (false, false) => Looks::Nobody,
        };
        Self::of(looks, View::Line)
    }

    fn of(looks: Looks, view: View) -> Self {
        let screen = Screen { looks, view, shown: BTreeMap::new() };
        Self(Arc::new(Mutex::new(screen)))
    }

    /// Switches to a raw terminal that shows a remote one.
    pub(crate) fn overlay(&self) {
        self.lock().view = View::Overlay;
    }

    /// Switches to a line of progress, until [`Self::no_line`].
    pub(crate) fn line(&self, live: Live) {
        let mut screen = self.lock();
        if matches!(screen.view, View::Line) {
            screen.view = View::Live(live);
        }
    }

    /// The line of progress was removed.
    pub(crate) fn no_line(&self) {
        let mut screen = self.lock();
        if matches!(screen.view, View::Live(_)) {
            screen.view = View::Line;
        }
    }

    /// Switches to many hosts. If their progress is shown, it shows the texts of [`Self::now`].
    pub(crate) fn hosts(&self, stderr: Printer, has_bars: bool) {
        self.lock().view = View::Hosts { stderr, has_bars };
    }

    /// Switches to a screen that shows outages itself. Warnings are kept until [`Self::no_screen`].
    pub(crate) fn screen(&self) {
        self.lock().view = View::Screen(Vec::new());
    }

    /// The newest warning that is kept.
    pub(crate) fn kept(&self) -> Option<String> {
        match &self.lock().view {
            View::Screen(kept) => kept.last().cloned(),
            _ => None,
        }
    }

    /// The screen has ended: shows what was kept.
    pub(crate) fn no_screen(&self) {
        let before = std::mem::replace(&mut self.lock().view, View::Line);
        if let View::Screen(kept) = before {
            kept.iter().for_each(|text| write(&format!("{text}\n")));
        }
    }

    /// Shows a line that everybody is to see, whatever else is on the screen.
    pub(crate) fn warn(&self, text: &str) {
        let text = format!("lariat: {}", escape(text.as_bytes()));
        match &mut self.lock().view {
            View::Line => {
                let begin = if is_at_line_start() { "" } else { "\n" };
                write(&format!("{begin}{text}\n"));
            }
            View::Overlay => write(&overlaid(&text)),
            View::Live(live) => live.note(&text),
            View::Hosts { stderr, .. } => stderr.put(format!("{text}\n").as_bytes()),
            View::Screen(kept) => {
                kept.truncate(MOST_KEPT - 1);
                kept.push(text);
            }
        }
    }

    /// The current text of a host, if it has no connection.
    pub(crate) fn text(&self, host: &HostName) -> Option<String> {
        self.lock().shown.get(host).cloned()
    }

    /// The current text of each host.
    pub(crate) fn now(&self) -> BTreeMap<HostName, String> {
        self.lock().shown.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        lock(&self.0)
    }
}

impl OutageObserver for Outages {
    fn lost(&self, host: &HostName, outage: &Lost) {
        self.lock().tell(host, &lost(host, outage));
    }

    fn back(&self, host: &HostName, lasted: Duration, met: bool) {
        self.lock().back(host, &back(host, lasted, met));
    }

    fn given_up(&self, host: &HostName) {
        self.lock().given_up(host);
    }
}

fn lost(host: &HostName, Lost { lasts, limit, met }: &Lost) -> String {
    let what =
        if *met { "connection lost, reconnecting" } else { "no connection yet, trying again" };
    format!("{host}: {what} ({} s of {} s)", lasts.as_secs(), limit.as_secs())
}

fn back(host: &HostName, lasted: Duration, met: bool) -> String {
    let what = if met { "reconnected" } else { "connected" };
    format!("{host}: {what} after {} s", lasted.as_secs())
}

impl Screen {
    fn tell(&mut self, host: &HostName, text: &str) {
        if self.looks == Looks::Nobody || matches!(self.view, View::Screen(_)) {
            return;
        }
        let first = self.shown.insert(host.clone(), text.to_owned()).is_none();
        match (&mut self.view, self.looks) {
            (View::Hosts { stderr, .. }, Looks::InALog)
            | (View::Hosts { stderr, has_bars: false }, _)
                if first =>
            {
                stderr.put(format!("{text}\n").as_bytes());
            }
            (View::Hosts { .. } | View::Live(_) | View::Screen(_), _) => {}
            (_, Looks::InALog) if first => output::note(text),
            (_, Looks::InALog | Looks::Nobody) => {}
            (View::Line, _) => {
                let begin = if first && !is_at_line_start() { "\n" } else { "" };
                write(&format!("{begin}\r\x1b[K{text}"));
            }
            (View::Overlay, _) => write(&overlaid(text)),
        }
    }

    fn back(&mut self, host: &HostName, text: &str) {
        if self.shown.remove(host).is_none() {
            return;
        }
        match (&mut self.view, self.looks) {
            (View::Hosts { stderr, .. }, _) => stderr.put(format!("{text}\n").as_bytes()),
            (_, Looks::InALog | Looks::Nobody) => output::note(text),
            (View::Line, _) => write(&format!("\r\x1b[K{text}\n")),
            (View::Overlay, _) => write(&overlaid(text)),
            (View::Live(live), _) => live.note(text),
            (View::Screen(_), _) => {}
        }
    }

    fn given_up(&mut self, host: &HostName) {
        if self.shown.remove(host).is_none() {
            return;
        }
        if let (View::Line, Looks::AtATerminal) = (&self.view, self.looks) {
            write("\r\x1b[K");
        }
    }
}

/// Reverse video in the top line; the cursor is restored.
fn overlaid(text: &str) -> String {
    format!("\x1b7\x1b[1;1H\x1b[7m {text} \x1b[m\x1b[K\x1b8")
}

/// Errors are ignored: stderr may be closed.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_in_words() {
        let host = "web4".parse().unwrap();
        let [lasts, lasted, limit] = [4900, 12_300, 30_000].map(Duration::from_millis);
        insta::assert_snapshot!(lost(&host, &Lost { lasts, limit, met: true }), @"web4: connection lost, reconnecting (4 s of 30 s)");
        insta::assert_snapshot!(back(&host, lasted, true), @"web4: reconnected after 12 s");
        insta::assert_snapshot!(lost(&host, &Lost { lasts, limit, met: false }), @"web4: no connection yet, trying again (4 s of 30 s)");
        insta::assert_snapshot!(back(&host, lasted, false), @"web4: connected after 12 s");
    }
}
