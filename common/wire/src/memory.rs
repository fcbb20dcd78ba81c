//! Memory that a peer makes this end keep, counted against what the peer may.
//!
//! Whoever keeps something for as long as a peer likes takes a [`Charge`] for it and tells how large it
//! is. An end that trusts its peer has a [`Memory`] without a limit, which counts nothing.

use std::fmt;
use std::sync::Arc;

use crate::protocol::failure::{Cause, Failure, Limit};

/// Bytes that are asked for at a time, so that a charge that grows a little at a time asks seldom.
const STEP: usize = 64 * 1024;

/// Where memory is asked for.
pub trait Account: Send + Sync {
    /// Takes this many more bytes, unless that is too much.
    fn take(&self, bytes: usize) -> bool;
    /// Gives bytes back.
    fn give(&self, bytes: usize);
}

/// What a peer's requests may keep. Clones are the same.
#[derive(Clone, Default)]
pub struct Memory(Option<Arc<dyn Account>>);

/// The peer may have no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<NoMemory> for Failure {
    fn from(_: NoMemory) -> Self {
        Self::request(Cause::AtLimit(Limit::Memory))
    }
}

impl Memory {
    /// As much as this account gives.
    pub fn of(account: impl Account + 'static) -> Self {
        Self(Some(Arc::new(account)))
    }

    /// A charge of nothing so far.
    pub fn charge(&self) -> Charge {
        Charge { memory: self.clone(), bytes: 0 }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Memory(limited)" } else { "Memory(any)" })
    }
}

/// Something that is kept. It is given back when this is dropped.
#[derive(Debug, Default)]
pub struct Charge {
    memory: Memory,
    /// What was taken for it: a multiple of [`STEP`].
    bytes: usize,
}

impl Charge {
    /// It is this large now, in bytes. One that may not be so large stays as it was.
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

    /// It is, or was, this large at least.
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

/// A limit of one process's own.
#[derive(Debug)]
pub struct Capped(std::sync::atomic::AtomicUsize);

impl Capped {
    /// So many bytes.
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
