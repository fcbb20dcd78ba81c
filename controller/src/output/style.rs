//! The output options: quiet, color, progress. Set once, by the command line.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use anstyle::AnsiColor;
use rustix::fs::{FileType, fstat};

/// When something is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Anywhere.
    Always,
    /// Nowhere.
    Never,
}

/// The options of the command line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Only results and errors.
    pub(crate) quiet: bool,
    /// Colors.
    pub(crate) color: When,
    /// Progress bars.
    pub(crate) progress: When,
}

static STYLE: OnceLock<Style> = OnceLock::new();

/// Sets the options of this process.
pub(crate) fn set(style: Style) {
    // Called once, before any output.
    let _ = STYLE.set(style);
}

fn style() -> Style {
    STYLE.get().copied().unwrap_or_default()
}

/// Whether only results and errors are shown.
pub(crate) fn is_quiet() -> bool {
    style().quiet
}

/// How progress is shown on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressKind {
    /// Drawn on a terminal, again and again.
    Drawn,
    /// As a line from time to time.
    Lines,
}

/// How progress is shown, if it is. By default not beside a pipe: a pager would be overwritten.
pub(crate) fn progress() -> Option<ProgressKind> {
    let Style { quiet, progress, .. } = style();
    let is_drawn = io::stderr().is_terminal() && !is_dumb();
    match progress {
        _ if quiet => None,
        When::Never => None,
        When::Auto => (is_drawn && !stdout_is_a_pipe()).then_some(ProgressKind::Drawn),
        When::Always => Some(if is_drawn { ProgressKind::Drawn } else { ProgressKind::Lines }),
    }
}

/// Whether the terminal can't move its cursor.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

fn stdout_is_a_pipe() -> bool {
    let fifo = |mode| FileType::from_raw_mode(mode) == FileType::Fifo;
    fstat(rustix::stdio::stdout()).is_ok_and(|stat| fifo(stat.st_mode))
}

/// Whether a stream shows colors: https://no-color.org
pub(crate) fn has_colors(stream: impl AsFd) -> bool {
    match style().color {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
            rustix::termios::isatty(stream) && !unwanted && !dumb
        }
    }
}

/// Colors of hosts and keys. Red and yellow have meanings: failures and changes.
const COLORS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Green,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightGreen,
    AnsiColor::BrightBlue,
];

/// The color of a name, which is always the same. Names that differ only in a number are told apart: one after the
/// other has the next color.
pub(crate) fn name_color(name: &str) -> AnsiColor {
    let text = name.bytes().filter(|byte| !byte.is_ascii_digit());
    let text = text.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let numbers = name.split(|letter: char| !letter.is_ascii_digit());
    let numbers = numbers.filter_map(|digits| digits.parse::<usize>().ok());
    COLORS[numbers.fold(text, usize::wrapping_add) % COLORS.len()]
}

/// Colors text by its meaning, if colors are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// As stderr shows it.
    pub(crate) fn stderr() -> Self {
        Self(has_colors(rustix::stdio::stderr()))
    }

    /// A failure.
    pub(crate) fn failed(self, text: &str) -> String {
        self.with(AnsiColor::Red, text)
    }

    /// A change.
    pub(crate) fn changed(self, text: &str) -> String {
        self.with(AnsiColor::Yellow, text)
    }

    /// Success.
    pub(crate) fn ok(self, text: &str) -> String {
        self.with(AnsiColor::Green, text)
    }

    /// Text that stands for a name, in the name's color.
    pub(crate) fn name(self, name: &str, text: &str) -> String {
        self.with(name_color(name), text)
    }

    fn with(self, color: AnsiColor, text: &str) -> String {
        let style = color.on_default();
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// The text of an error, which may begin with the program's name.
    pub(crate) fn error(self, text: &str) -> String {
        match text.strip_prefix("lariat:") {
            Some(rest) => self.failed("lariat:") + rest,
            None => text.to_owned(),
        }
    }
}
