//! The agent's log: lines on stderr, which systemd keeps.
//!
//! Whatever came from a peer goes through [`lariat_common::escape`] before it gets here, and no secret
//! ever does.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

/// The variable that may name another level than `info`.
const LEVEL: &str = "RUST_LOG";

/// Starts logging. A panic becomes one line of it.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let line = panic.to_string().replace('\n', " ");
        tracing::error!("this should not have happened: {line}");
    }));
}
