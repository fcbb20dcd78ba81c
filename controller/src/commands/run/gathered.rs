//! What is told of several hosts beyond their output as it comes.

use lariat_common::name::HostName;

use super::report;
use crate::error::CliError;
use crate::fanout::{Ended, Gather, Report};
use crate::output::printer::Printer;
use crate::run::capture::Captured;

/// What came of a host.
pub(super) struct Came {
    pub(super) ended: Ended,
    /// Its stdout, if it is to be gathered and a command ran that could have written some.
    pub(super) kept: Option<Captured>,
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
}

impl Gathered {
    /// Of no host yet.
    pub(super) fn new(diff: bool, objects: Option<Printer>) -> Self {
        Self { gather: Gather::default(), diff, objects }
    }
}

impl Report for Gathered {
    type Came = Came;

    fn ended(&mut self, host: &HostName, came: Came) -> Ended {
        let Came { mut ended, kept } = came;
        let Some(Captured { mut bytes, truncated }) = kept else { return ended };
        if truncated {
            bytes.extend_from_slice(b"\n(it is longer; this is as much as is kept)\n");
        }
        if let Err(error) = self.gather.add(host, bytes) {
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
        stdout.put(&told);
        None
    }
}
