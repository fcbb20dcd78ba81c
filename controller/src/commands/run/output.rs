//! The destinations of commands' output.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::error::CliError;
use crate::template::Template;
use crate::tilde;

// Options for the output of several hosts.
#[derive(clap::Args)]
pub(super) struct OutputOptions {
    /// Group hosts with identical output
    #[arg(help_heading = "Many hosts", long, conflicts_with = "json")]
    pub(super) gather: bool,

    /// Print the common output, and others as diffs
    #[arg(help_heading = "Many hosts", long, conflicts_with = "json")]
    pub(super) diff: bool,

    /// Write output to DIR/HOST and DIR/HOST.err
    ///
    /// With {host} in DIR, which stands for the host's name, DIR names the file.
    #[arg(help_heading = "Many hosts", long, value_name = "DIR", hide_short_help = true, conflicts_with_all = ["json", "gather", "diff"])]
    out: Option<OsString>,
}

impl OutputOptions {
    /// The template of the files, if requested.
    fn out(&self) -> Result<Option<Template>, CliError> {
        let out = self.out.as_ref().map(|out| Template::parse(tilde::local(out).as_bytes()));
        out.transpose().map_err(|error| error.during("--out"))
    }
}

/// What happens to the output.
pub(super) enum Output {
    Lines,
    Json,
    Gather {
        /// Print how other hosts' output differs from that of most hosts.
        diff: bool,
    },
    Files(Template),
}

impl Output {
    /// For a single host there is nothing to gather.
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
