//! The only way to a person's eyes: results on stdout, everything else on stderr.

pub(crate) mod json;
pub(crate) mod printer;
pub(crate) mod screened;
pub(crate) mod style;
pub(crate) mod table;

use std::io::{self, Write};

use lariat_base::escape::escape;

use crate::error::CliError;

/// Writes one line of a result.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes bytes of a result as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| CliError::stdout(&e))
}

/// Prints something on stderr that is no result, made harmless, unless only results and errors are wanted.
pub(crate) fn note(text: &str) {
    if !style::is_quiet() {
        stderr(text);
    }
}

/// Prints an error on stderr.
pub(crate) fn error(text: &str) {
    stderr(&format!("lariat: {text}"));
}

/// Prints a line that belongs to an error.
pub(crate) fn because(text: &str) {
    stderr(text);
}

/// If it is closed, nobody listens.
fn stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(text.as_bytes()));
}
