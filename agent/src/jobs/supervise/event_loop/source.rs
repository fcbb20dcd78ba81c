//! The event sources of the supervisor's loop.

/// Identifies a polled descriptor.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Signals,
    Listener,
    Agent(usize),
    Output(usize),
    Stdin,
}
