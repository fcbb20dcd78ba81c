//! How this process shows things: quiet or not, in color or not, with progress or not. Set once, by the command
//! line.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;

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

/// What the command line says of it.
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

/// Sets it for this process.
pub(crate) fn set(style: Style) {
    // It is set once, before anything is shown.
    let _ = STYLE.set(style);
}

fn style() -> Style {
    STYLE.get().copied().unwrap_or_default()
}

/// Whether only results and errors are shown.
pub(crate) fn is_quiet() -> bool {
    style().quiet
}

/// Whether progress is shown on stderr.
pub(crate) fn has_progress() -> bool {
    let Style { quiet, progress, .. } = style();
    match progress {
        _ if quiet => false,
        When::Auto => io::stderr().is_terminal(),
        When::Always => true,
        When::Never => false,
    }
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
