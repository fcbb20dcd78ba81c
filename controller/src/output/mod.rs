//! The only way to a person's eyes: results on stdout, everything else on stderr.

pub(crate) mod json;
pub(crate) mod printer;
pub(crate) mod table;

use std::io::{self, Write};

use lariat_common::escape::escape;

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

/// Tells something on stderr that is no result, made harmless. If that is closed, nobody listens.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(text.as_bytes()));
}

/// Tells an error on stderr.
pub(crate) fn error(text: &str) {
    note(&format!("lariat: {text}"));
}
