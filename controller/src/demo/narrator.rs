//! Tells the tour: titles, command lines, remarks, and a pause after each chapter.

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};

use crate::error::CliError;
use crate::output::{self, style};

/// Writes to stdout.
pub(super) struct Narrator {
    has_colors: bool,
    /// Waits for Enter between two chapters.
    pauses: bool,
}

impl Narrator {
    /// It pauses on a terminal, unless the tour is to be fast.
    pub(super) fn new(is_fast: bool) -> Self {
        let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
        let has_colors = style::has_colors(rustix::stdio::stdout());
        Self { has_colors, pauses: is_terminal && !is_fast }
    }

    /// A new chapter.
    pub(super) fn chapter(&self, title: &str) -> Result<(), CliError> {
        if self.pauses {
            output::bytes(self.in_style(Style::new().dimmed(), "\n[Enter] ").as_bytes())?;
            // At the end of stdin the tour goes on.
            io::stdin().read_line(&mut String::new())?;
        }
        output::line(&format!("\n{}", self.in_style(Style::new().bold(), title)))
    }

    /// A command line.
    pub(super) fn command(&self, line: &str) -> Result<(), CliError> {
        output::line(&self.in_style(AnsiColor::Cyan.on_default(), &format!("$ {line}")))
    }

    /// A word about what happens to the machine.
    pub(super) fn event(&self, text: &str) -> Result<(), CliError> {
        let text = format!(" [{text}]");
        output::bytes(self.in_style(AnsiColor::Yellow.on_default(), &text).as_bytes())
    }

    fn in_style(&self, style: Style, text: &str) -> String {
        if self.has_colors { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
