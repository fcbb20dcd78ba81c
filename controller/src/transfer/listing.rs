//! Where the changes go that `--dry-run` tells of.

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
    /// Results, of one host, and why they could not be written.
    Stdout(Arc<Mutex<Option<CliError>>>),
    /// Beside results in another form.
    Stderr,
    /// One of many hosts' lines.
    Host(HostName, Printer),
}

impl Listing {
    /// Of this host; with `json`, stdout is for objects.
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

    /// Fails if a line could not be written. A reader that has gone away has seen enough.
    pub(crate) fn finish(&self) -> Result<(), CliError> {
        let Self::Stdout(failed) = self else { return Ok(()) };
        lock(failed).take().map_or(Ok(()), Err)
    }

    /// Tells a line, which is harmless.
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
