//! Locks that a panic does not poison.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even if a thread panicked while holding it. Guarded data is always changed in single steps,
/// so a panic leaves it consistent, and one failed thread must not take others with it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_poison() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _guard = lock(&mutex);
                panic!("on purpose");
            });
            assert!(panics.join().is_err());
        });
        *lock(&mutex) += 1;
        assert_eq!(*lock(&mutex), 2);
    }
}
