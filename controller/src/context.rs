//! What every verb is given: the options that stand before or after any of them.

use std::path::PathBuf;

use crate::error::CliError;
use crate::home::Home;
use crate::outages::Outages;

/// The global options.
pub(crate) struct Context {
    /// `--home`
    pub(crate) home: Option<PathBuf>,
    /// The socket of the agent on this machine, with `--local`.
    pub(crate) local: Option<PathBuf>,
    /// `-v`
    pub(crate) verbose: bool,
    /// Where outages are shown.
    pub(crate) outages: Outages,
    /// Describes the whole command line, for completions and man pages.
    pub(crate) syntax: fn() -> clap::Command,
}

impl Context {
    /// The fleet's directory, which need not be there yet.
    pub(crate) fn home(&self) -> Result<Home, CliError> {
        Home::find(self.home.as_deref())
    }
}
