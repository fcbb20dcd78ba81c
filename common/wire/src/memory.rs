//! Accounts for memory that a peer makes this end keep.
//!
//! Code that keeps something for as long as the peer likes takes a [`Charge`] for it and sets its size. An
//! end that trusts its peer uses a [`Memory`] without a limit, which counts nothing.

use std::fmt;
use std::sync::Arc;

use crate::protocol::failure::{Cause, Failure, Limit};

/// Granularity of charges, in bytes, so that one that grows in small steps rarely asks the account.
const STEP: usize = 64 * 1024;

/// An account to which memory is charged.
pub trait Account: Send + Sync {
    /// Takes this many more bytes. Returns `false` if that exceeds the limit.
    fn take(&self, bytes: usize) -> bool;
    /// Gives bytes back.
    fn give(&self, bytes: usize);
}

/// The memory that a peer's requests may keep. Clones share the account.
#[derive(Clone, Default)]
pub struct Memory(Option<Arc<dyn Account>>);

/// The limit on memory is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<NoMemory> for Failure {
    fn from(_: NoMemory) -> Self {
        Self::request(Cause::AtLimit(Limit::Memory))
    }
}

impl Memory {
    /// Memory that is charged to this account.
    pub fn of(account: impl Account + 'static) -> Self {
        Self(Some(Arc::new(account)))
    }

    /// An empty charge.
    pub fn charge(&self) -> Charge {
        Charge { memory: self.clone(), bytes: 0 }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Memory(limited)" } else { "Memory(any)" })
    }
}

/// A charge for something that is kept. Dropping it gives the bytes back.
#[derive(Debug, Default)]
pub struct Charge {
    memory: Memory,
    /// Bytes taken from the account: a multiple of [`STEP`].
    bytes: usize,
}

impl Charge {
    /// Sets the size in bytes. If the account refuses, the charge stays as it was.
    pub fn set(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let Some(account) = &self.memory.0 else { return Ok(()) };
        let bytes = bytes.div_ceil(STEP).saturating_mul(STEP);
        if bytes > self.bytes {
            if !account.take(bytes - self.bytes) {
                return Err(NoMemory);
            }
        } else {
            account.give(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Raises the size to `bytes` if it is smaller.
    pub fn at_least(&mut self, bytes: usize) -> Result<(), NoMemory> {
        if bytes > self.bytes { self.set(bytes) } else { Ok(()) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(account) = &self.memory.0 {
            account.give(self.bytes);
        }
    }
}

/// A fixed limit, for one process.
#[derive(Debug)]
pub struct Capped(std::sync::atomic::AtomicUsize);

impl Capped {
    /// A limit of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(bytes.into())
    }
}

impl Account for Capped {
    fn take(&self, bytes: usize) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_share_what_there_is_and_give_it_back() {
        let memory = Memory::of(Capped::new(4 * STEP));
        let (mut one, mut two) = (memory.charge(), memory.charge());
        assert_eq!(one.set(STEP + 1), Ok(()));
        assert_eq!(two.set(3 * STEP), Err(NoMemory));
        assert_eq!(two.set(2 * STEP), Ok(()));
        assert_eq!((one.at_least(1), one.at_least(2 * STEP + 1)), (Ok(()), Err(NoMemory)));
        assert_eq!(one.set(0), Ok(()));
        assert_eq!(two.set(4 * STEP), Ok(()));
        assert_eq!(two.set(usize::MAX), Err(NoMemory));
        drop(two);
        assert_eq!(one.set(4 * STEP), Ok(()));
        assert_eq!(Memory::default().charge().set(usize::MAX), Ok(()), "no limit");
    }
}
