//! The supervisor's loop: the command's pipes, its agent, its signals and its deadlines.
//!
//! Invariant: only `poll` blocks, and a stream is polled only when its bytes can be handled.

mod agent;
mod sent_once;
mod source;
mod sources;
mod state;

pub(super) use state::EventLoop;
