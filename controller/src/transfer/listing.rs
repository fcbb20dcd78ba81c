//! Where the changes go that `--dry-run` tells of.

use lariat_common::name::HostName;

use crate::output;
use crate::output::printer::Printer;

/// A stream for lines.
#[derive(Clone)]
pub(crate) enum Listing {
    /// Results, of one host.
    Stdout,
    /// Beside results in another form.
    Stderr,
    /// One of many hosts' lines.
    Host(HostName, Printer),
}

impl Listing {
    /// Of one host.
    pub(crate) fn of_one(json: bool) -> Self {
        if json { Self::Stderr } else { Self::Stdout }
    }

    /// Tells a line, which is harmless.
    pub(crate) fn line(&self, line: &str) {
        match self {
            // A reader that has gone away has seen enough.
            Self::Stdout => drop(output::line(line)),
            Self::Stderr => output::note(line),
            Self::Host(host, printer) => printer.put(format!("{host}: {line}\n").as_bytes()),
        }
    }
}
