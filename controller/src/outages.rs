//! Where outages are shown: a line that is renewed, a bar, a terminal that belongs to a host, or among many
//! hosts. Without a terminal they are shown only with `-v`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use indicatif::ProgressBar;
use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::{Lost, OutageObserver};

use crate::output;
use crate::output::printer::Printer;
use crate::stdio::is_at_line_start;

/// The screen of all hosts. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Outages(Arc<Mutex<Screen>>);

struct Screen {
    /// Whether stderr is a terminal, or lines are wanted all the same.
    looks: Looks,
    view: View,
    /// What is shown, by host.
    shown: BTreeMap<HostName, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    Nobody,
    /// Nobody at a terminal, but it is to be told (`-v`).
    InALog,
    AtATerminal,
}

enum View {
    /// A line of its own on stderr.
    Line,
    /// The terminal shows what runs on the host: one line at its top, and back to where the cursor was.
    Overlay,
    /// A file's bar.
    Bar(Arc<dyn Shown>),
    /// Lines among those of other hosts.
    Hosts { stderr: Printer, has_bars: bool },
}

/// A bar that can say that it stands still.
pub(crate) trait Shown: Send + Sync {
    /// Shows this instead of how it goes.
    fn stalled(&self, text: &str);
    /// Goes on. Gives what to write beside it through.
    fn resumed(&self) -> &ProgressBar;
}

impl Outages {
    /// As this process's stderr is.
    pub(crate) fn new(verbose: bool) -> Self {
        let looks = match (io::stderr().is_terminal(), verbose) {
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

    /// From now on the terminal shows what runs on the host, and is raw.
    pub(crate) fn overlay(&self) {
        self.lock().view = View::Overlay;
    }

    /// From now on there is a bar, until [`Self::no_bar`].
    pub(crate) fn bar(&self, bar: Arc<dyn Shown>) {
        let mut screen = self.lock();
        if matches!(screen.view, View::Line) {
            screen.view = View::Bar(bar);
        }
    }

    /// The bar has gone.
    pub(crate) fn no_bar(&self) {
        let mut screen = self.lock();
        if matches!(screen.view, View::Bar(_)) {
            screen.view = View::Line;
        }
    }

    /// From now on there are many hosts. If they have bars, those show what [`Self::now`] says.
    pub(crate) fn hosts(&self, stderr: Printer, has_bars: bool) {
        self.lock().view = View::Hosts { stderr, has_bars };
    }

    /// What is to be shown now, by host.
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
        if self.looks == Looks::Nobody {
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
            (View::Hosts { .. }, _) => {}
            (_, Looks::InALog) if first => output::note(text),
            (_, Looks::InALog | Looks::Nobody) => {}
            (View::Line, _) => {
                let begin = if first && !is_at_line_start() { "\n" } else { "" };
                write(&format!("{begin}\r\x1b[K{text}"));
            }
            (View::Overlay, _) => write(&overlaid(text)),
            (View::Bar(bar), _) => bar.stalled(text),
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
            (View::Bar(bar), _) => bar.resumed().println(text),
        }
    }

    fn given_up(&mut self, host: &HostName) {
        if self.shown.remove(host).is_none() {
            return;
        }
        match (&mut self.view, self.looks) {
            (View::Line, Looks::AtATerminal) => write("\r\x1b[K"),
            (View::Bar(bar), Looks::AtATerminal) => drop(bar.resumed()),
            _ => {}
        }
    }
}

/// Reverse video, in the top line; the cursor stays.
fn overlaid(text: &str) -> String {
    format!("\x1b7\x1b[1;1H\x1b[7m {text} \x1b[m\x1b[K\x1b8")
}

/// If it is closed, nobody looks.
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
