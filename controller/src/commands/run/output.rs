//! Where the output of commands on several hosts goes.

use std::path::PathBuf;

use lariat_common::name::HostName;

use super::{Args, report};
use crate::error::CliError;
use crate::fanout::Sink;

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
    out: Option<PathBuf>,
}

impl OutputOptions {
    /// The files of a host's stdout and stderr, if it has any of its own.
    pub(super) fn files(&self, host: &HostName) -> Result<Option<(Sink, Sink)>, CliError> {
        self.out.as_ref().map(|out| report::open(out, host)).transpose()
    }
}

/// What becomes of what they write.
pub(super) enum Output {
    Lines,
    Json,
    Gather,
    Files(PathBuf),
}

impl Output {
    /// As was asked for.
    pub(super) fn new(args: &Args) -> Self {
        match &args.output.out {
            _ if args.json => Self::Json,
            _ if args.output.gather || args.output.diff => Self::Gather,
            Some(folder) => Self::Files(folder.clone()),
            None => Self::Lines,
        }
    }
}
