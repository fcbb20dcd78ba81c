//! Installs agents and enrolls their hosts over the operator's own ssh.
//!
//! A script of sh runs on the host ([`script`](SCRIPT)). It says how the host is ([`facts`]), which leads to problems or
//! to steps ([`plan`]); it then does the steps ([`remote`], [`install`]). Whatever was cut is found and finished by the
//! next attempt, because each one starts from the facts.

mod facts;
mod install;
mod list;
mod plan;
mod program;
mod remote;
mod reply;
mod unit;

pub(crate) use install::{Installation, Installer};
pub(crate) use list::{Entry, read as read_list};
pub(crate) use plan::Step;
pub(crate) use program::Program;

/// What runs on the host.
const SCRIPT: &str = include_str!("script.sh");
