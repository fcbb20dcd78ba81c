//! Gives memory that bursts leave behind back to the system.
//!
//! The C library keeps freed memory for threads that may come, in up to eight arenas per processor: a
//! thousand short sessions would leave several times what the idle agent needs.
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long after a connection memory is given back, and how often while peers are connected.
const AFTER: Duration = Duration::from_secs(5);

/// Limits the number of the C library's arenas. Must be called before any thread is started.
pub fn limit() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc;
        // SAFETY: mallopt takes two numbers and touches nothing but the allocator's settings; no other
        // thread runs yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time by any thread; it moves no memory that is in use.
    unsafe {
        nix::libc::malloc_trim(0)
    };
}

/// Schedules when memory is given back: some time after a connection, and then until no peer is left.
#[derive(Default)]
pub struct Trim(Option<Instant>);

impl Trim {
    /// A peer has connected.
    pub fn peer_arrived(&mut self) {
        self.0.get_or_insert_with(|| Instant::now() + AFTER);
    }

    /// Waits until memory is to be given back. Cancel-safe.
    pub async fn due(&self) {
        match self.0 {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Gives back unused memory, and schedules the next time if a peer is connected.
    pub fn give_back(&mut self, has_peers: bool) {
        give_back();
        self.0 = has_peers.then(|| Instant::now() + AFTER);
    }
}
