//! The global options, which are passed to every verb.

use std::path::PathBuf;

use lariat_base::name::KeyLabel;

use crate::error::CliError;
use crate::home::Home;
use crate::local::OwnHost;
use crate::outages::Outages;
use crate::seen::Seen;
use crate::ssh::Bastions;

/// The global options.
#[derive(Clone)]
pub(crate) struct Context {
    /// `--home`
    pub(crate) home: Option<PathBuf>,
    /// `--key`, or `$LARIAT_KEY`.
    pub(crate) key: Option<KeyLabel>,
    /// The agent on this machine, with `--local`.
    pub(crate) local: Option<OwnHost>,
    /// `-v`
    pub(crate) verbose: bool,
    /// Displays outages.
    pub(crate) outages: Outages,
    /// The bastions of ssh that are in use.
    pub(crate) bastions: Bastions,
    /// What hosts have shown of their audits.
    pub(crate) seen: Seen,
    /// Describes the complete command line, for completions and man pages.
    pub(crate) syntax: fn() -> clap::Command,
}

impl Context {
    /// The fleet's directory, which may not exist yet.
    pub(crate) fn home(&self) -> Result<Home, CliError> {
        Home::find(self.home.as_deref())
    }
}
