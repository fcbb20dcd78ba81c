//! Messages on stderr.

use std::io::{self, Write};

use lariat_base::escape::escape;

use super::style;

/// Prints a note on stderr, with control characters escaped, unless `--quiet` was given.
pub(crate) fn note(text: &str) {
    if !style::is_quiet() {
        stderr(text);
    }
}

/// Prints an error on stderr.
pub(crate) fn error(text: &str) {
    stderr(&format!("lariat: {text}"));
}

/// Prints a cause of an error.
pub(crate) fn because(text: &str) {
    stderr(text);
}

/// Errors are ignored: stderr may be closed.
fn stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(text.as_bytes()));
}
