//! The report of several hosts, apart from their output as it comes.

use lariat_base::name::HostName;

use crate::commands::report;
use crate::error::CliError;
use crate::fanout::{Ended, Gather, Report, Whole};
use crate::output::printer::Printer;
use crate::output::screened;

/// The outcome of a host.
pub(super) struct Came {
    pub(super) ended: Ended,
    /// What it wrote, if that is to be gathered and a command ran that could have written some.
    pub(super) kept: Option<Whole>,
}

impl From<Ended> for Came {
    fn from(ended: Ended) -> Self {
        Self { ended, kept: None }
    }
}

/// What is told when all have ended.
pub(super) struct Gathered {
    gather: Gather,
    diff: bool,
    /// Where objects are told.
    objects: Option<Printer>,
    stderr: Printer,
}

impl Gathered {
    /// Of no host yet.
    pub(super) fn new(diff: bool, objects: Option<Printer>, stderr: Printer) -> Self {
        Self { gather: Gather::default(), diff, objects, stderr }
    }
}

impl Report for Gathered {
    type Outcome = Came;

    fn ended(&mut self, host: &HostName, came: Came) -> Ended {
        let Came { mut ended, kept } = came;
        let Some(whole) = kept else { return ended };
        if let Err(error) = self.gather.add(host, whole) {
            ended.errors.push(CliError::from(error).during(host).hint("--out DIR"));
        }
        ended
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        if let Some(stdout) = &self.objects {
            report::put_nothing(stdout, host, error);
        }
    }

    fn over(&mut self, stdout: &Printer) -> Option<CliError> {
        let told = if self.diff { self.gather.differences() } else { self.gather.told() };
        for (printer, text) in [(stdout, told.stdout), (&self.stderr, told.stderr)] {
            if printer.is_terminal() {
                printer.put(&screened::text(&text, printer.has_colours()));
            } else {
                printer.put(&text);
            }
        }
        None
    }
}
