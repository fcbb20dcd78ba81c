//! `lariat watch`: hosts as they are now, and now, on a full screen or as lines.
//!
//! `poll` looks at a host again and again, `host` says what that means, `model` is what the screen is about and `view`
//! how it looks; the last three are without I/O.

mod canvas;
mod host;
mod key;
mod lines;
mod log_text;
mod model;
mod poll;
#[cfg(test)]
mod samples;
mod screen;
mod scroll;
mod terminal;
mod view;
mod watching;

use crate::error::CliError;

pub(crate) use self::poll::pace;
pub(crate) use self::watching::Hosts;

/// How hosts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    Screen,
    Lines,
    Objects,
}

/// Watches hosts until somebody leaves, a signal comes, or there were enough looks. Returns the exit status.
pub(crate) async fn watch(hosts: Hosts<'_>, display: Display) -> Result<u8, CliError> {
    match display {
        Display::Screen => screen::run(hosts).await,
        Display::Lines => lines::run(hosts, false).await,
        Display::Objects => lines::run(hosts, true).await,
    }
}
