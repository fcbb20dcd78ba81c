//! The supervisor: the small process that each job runs under.
//!
//! The agent runs its own binary with [`SUBCOMMAND`] and a socket as stdin; that process forks every supervisor
//! ([`zygote`]), each with its own socket. A supervisor starts the command, owns its pipes, the unacknowledged
//! tail of its output, its exit and its timers, and outlives the agent. It has no runtime, no thread and no
//! log: one `poll` loop.
//!
//! Invariant: whatever the agent does, the command runs once, and its output and exit are kept until they were
//! acknowledged or the grace time is over.

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
