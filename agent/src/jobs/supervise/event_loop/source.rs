//! What the supervisor's loop waits for.

/// What a polled descriptor is.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Signals,
    Listener,
    Agent(usize),
    Output(usize),
    Stdin,
}
