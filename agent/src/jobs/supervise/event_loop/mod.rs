//! The supervisor's loop: the command's pipes, its agent, its signals and its deadlines.
//!
//! Invariant: nothing here waits but `poll`, and a stream is only polled for when something can be
//! done with what comes.

mod agent;
mod sent_once;
mod source;
mod sources;
mod state;

pub(super) use state::EventLoop;
