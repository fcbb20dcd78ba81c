//! Where the output of commands on several hosts goes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use lariat_base::name::HostName;

use super::Args;
use crate::commands::report;
use crate::error::CliError;
use crate::fanout::Sink;
use crate::template::Template;
use crate::tilde;

/// What becomes of their output.
#[derive(clap::Args)]
#[command(next_help_heading = "Many hosts")]
pub(super) struct OutputOptions {
    /// Tell equal output once, under the hosts that it came from, when all have ended
    #[arg(long, conflicts_with = "json")]
    pub(super) gather: bool,

    /// The same, with the output of most hosts once and of the others how it differs
    #[arg(long, conflicts_with = "json")]
    pub(super) diff: bool,

    /// Write each host's stdout to DIR/HOST, and its stderr, if any, to DIR/HOST.err; {host} in DIR is
    /// the host's name, and then it names the file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "gather", "diff"])]
    out: Option<OsString>,
}

impl OutputOptions {
    /// The files of a host's stdout and stderr, if it has any of its own.
    pub(super) fn files(&self, host: &HostName) -> Result<Option<(Sink, Sink)>, CliError> {
        self.out()?.map(|out| report::open(&out, host)).transpose()
    }

    /// Where to, if files are asked for.
    fn out(&self) -> Result<Option<Template>, CliError> {
        let out = self.out.as_ref().map(|out| Template::parse(tilde::local(out).as_bytes()));
        out.transpose().map_err(|error| error.during("--out"))
    }
}

/// What becomes of what they write.
pub(super) enum Output {
    Lines,
    Json,
    Gather,
    Files(Template),
}

impl Output {
    /// As was asked for.
    pub(super) fn new(args: &Args) -> Result<Self, CliError> {
        Ok(match args.output.out()? {
            _ if args.json => Self::Json,
            _ if args.output.gather || args.output.diff => Self::Gather,
            Some(out) => Self::Files(out),
            None => Self::Lines,
        })
    }
}
