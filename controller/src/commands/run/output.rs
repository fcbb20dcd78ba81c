//! Where the output of commands goes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::error::CliError;
use crate::template::Template;
use crate::tilde;

// Options for the output of several hosts.
#[derive(clap::Args)]
#[command(next_help_heading = "Many hosts")]
pub(super) struct OutputOptions {
    /// Tell equal output once, under the hosts that it came from, when all have ended
    #[arg(long, conflicts_with = "json")]
    pub(super) gather: bool,

    /// Tell the output of most hosts once, and how that of the others differs, when all have ended
    #[arg(long, conflicts_with = "json")]
    pub(super) diff: bool,

    /// Write each host's stdout to DIR/HOST, and its stderr, if any, to DIR/HOST.err; {host} in DIR is
    /// the host's name, and then it names the file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "gather", "diff"])]
    out: Option<OsString>,
}

impl OutputOptions {
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
    Gather {
        /// What most hosts wrote is told once, and of the others how it differs.
        diff: bool,
    },
    Files(Template),
}

impl Output {
    /// As was asked for. There is nothing to gather of the only host.
    pub(super) fn new(
        options: &OutputOptions,
        json: bool,
        are_several: bool,
    ) -> Result<Self, CliError> {
        let OutputOptions { gather, diff, .. } = *options;
        Ok(match options.out()? {
            _ if json => Self::Json,
            None if are_several && (gather || diff) => Self::Gather { diff },
            Some(out) => Self::Files(out),
            None => Self::Lines,
        })
    }
}
