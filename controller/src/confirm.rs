//! Questions to a person at a terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use lariat_base::escape::escape;

use crate::error::CliError;

/// Goes on only if a person says yes. Where nobody can be asked, `option` says it instead.
pub(crate) fn confirm(question: &str, option: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = format!("{question} There is no terminal to ask at");
        return Err(CliError::new(message).hint(option));
    }
    // If it is closed, the answer is no.
    let _ = write!(io::stderr(), "{} (yes/no) ", escape(question.as_bytes()));
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| CliError::from(e).during("read the answer"))?;
    match line.trim() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::new("not confirmed; nothing was changed")),
    }
}
