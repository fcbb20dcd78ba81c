//! The supervisor: the small process that a job runs under.
//!
//! The agent runs its own binary again with [`SUBCOMMAND`], its stdin a socket to that agent; from that
//! process every supervisor is forked ([`zygote`]), with a socket of its own. It starts the command,
//! holds its pipes, the unacknowledged tail of its output, its exit and its timers, and outlives the
//! agent. There is no runtime, no thread and no logging: one `poll` loop.
//!
//! Invariant: whatever the agent does, the command runs once, and its output and exit stay until they
//! were acknowledged or the grace time is over.

mod agent_peer;
mod as_user;
mod command;
mod event_loop;
mod lifecycle;
mod linger;
mod output;
mod process;
mod roster;
mod signals;
mod spawn;
mod stdin;
mod terminal;
mod tree;
pub(super) mod zygote;

pub(super) use process::ASIDE;
pub use process::{SUBCOMMAND, main};
