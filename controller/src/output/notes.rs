//! Messages on stderr.

use std::io::{self, Write};

use lariat_base::escape::escape;

use super::style::{self, Paint};

/// Prints a note on stderr, with control characters escaped, unless `--quiet` was given.
pub(crate) fn note(text: &str) {
    if !style::is_quiet() {
        stderr(text);
    }
}

/// Prints a note that has colors, and no text of a host.
pub(crate) fn colored(text: &str) {
    if !style::is_quiet() {
        write(text);
    }
}

/// Prints an error on stderr.
pub(crate) fn error(text: &str) {
    let name = Paint::stderr().failed("lariat:");
    write(&format!("{name} {}", escape(text.as_bytes())));
}

/// Prints a cause of an error.
pub(crate) fn because(text: &str) {
    stderr(text);
}

fn stderr(text: &str) {
    write(&escape(text.as_bytes()));
}

/// Errors are ignored: stderr may be closed.
fn write(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
