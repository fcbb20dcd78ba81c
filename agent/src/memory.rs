//! Memory that bursts leave behind, given back to the system.
//!
//! The C library keeps freed memory, in up to eight arenas for each processor, for threads that may
//! come: a thousand short sessions would leave several times what the idle agent needs.
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long after somebody came memory is given back, and how often while somebody is there.
const AFTER: Duration = Duration::from_secs(5);

/// Keeps the C library's arenas few. Call it before threads are started.
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

/// When memory is to be given back: some time after somebody came, and until nobody is there.
#[derive(Default)]
pub struct Trim(Option<Instant>);

impl Trim {
    /// Somebody has come.
    pub fn stir(&mut self) {
        self.0.get_or_insert_with(|| Instant::now() + AFTER);
    }

    /// Waits until it is time. Cancelling it loses nothing.
    pub async fn due(&self) {
        match self.0 {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Gives back what can be given, and does so again later if somebody is there.
    pub fn give_back(&mut self, somebody_is_there: bool) {
        give_back();
        self.0 = somebody_is_there.then(|| Instant::now() + AFTER);
    }
}
