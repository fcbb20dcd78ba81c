//! The destination of the changes that `--dry-run` lists.

use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::HostName;

use crate::error::CliError;
use crate::fanout::Outlet;
use crate::output;
use crate::output::printer::Printer;

/// A stream for lines.
#[derive(Clone)]
pub(crate) enum Listing {
    /// The results of one host, and the error of writing them.
    Stdout(Arc<Mutex<Option<CliError>>>),
    /// Stderr, because stdout has results in another form.
    Stderr,
    /// The lines of one of many hosts.
    Host(HostName, Printer),
}

impl Listing {
    /// The destination for this host; with `json`, stdout is for objects.
    pub(crate) fn new(outlet: &Outlet, host: &HostName, json: bool) -> Self {
        match outlet {
            Outlet::Own { .. } if json => Self::Stderr,
            Outlet::Own { .. } => Self::Stdout(Arc::default()),
            Outlet::Shared { stdout, stderr, .. } => {
                let printer = if json { stderr } else { stdout };
                Self::Host(host.clone(), printer.clone())
            }
        }
    }

    /// Fails if a line could not be written, unless the reader is gone.
    pub(crate) fn finish(&self) -> Result<(), CliError> {
        let Self::Stdout(failed) = self else { return Ok(()) };
        lock(failed).take().map_or(Ok(()), Err)
    }

    /// Writes a line, which must be escaped.
    pub(crate) fn line(&self, line: &str) {
        match self {
            Self::Stdout(failed) => {
                if let Err(error) = output::line(line)
                    && !error.is_quiet()
                {
                    *lock(failed) = Some(error);
                }
            }
            Self::Stderr => output::note(line),
            Self::Host(host, printer) => printer.put(format!("{host}: {line}\n").as_bytes()),
        }
    }
}
