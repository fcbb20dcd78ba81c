//! Everything that is not a result, on stderr.

use std::io::{self, Write};

use lariat_base::escape::escape;

use super::style;

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
