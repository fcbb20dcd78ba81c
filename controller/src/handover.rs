//! State that tasks and a thread hand over to each other: what a blocking thread writes or reads, or what
//! several tasks consume.

use std::future::poll_fn;
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use lariat_base::lock::lock;

/// Shared state, with the tasks that wait for a change of it and perhaps a thread.
#[derive(Default)]
pub(crate) struct Handover<T> {
    state: Mutex<(T, Vec<Waker>)>,
    changed: Condvar,
}

impl<T> Handover<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { state: Mutex::new((state, Vec::new())), changed: Condvar::new() }
    }

    /// Accesses the state, without waking anyone.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut lock(&self.state).0)
    }

    /// Changes the state, and wakes all waiting tasks.
    pub(crate) fn change<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut guard = lock(&self.state);
        let result = work(&mut guard.0);
        let waiting = std::mem::take(&mut guard.1);
        drop(guard);
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    /// Wakes the thread, after a change.
    pub(crate) fn wake_thread(&self) {
        self.changed.notify_one();
    }

    /// Resolves if `ready` returns a result. Otherwise the task waits for the next [`Self::change`].
    pub(crate) fn poll<R>(
        &self,
        cx: &Context<'_>,
        ready: impl FnOnce(&mut T) -> Option<R>,
    ) -> Poll<R> {
        let (state, waiting) = &mut *lock(&self.state);
        if let Some(result) = ready(state) {
            return Poll::Ready(result);
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the state satisfies `ready`.
    pub(crate) async fn until(&self, ready: impl Fn(&T) -> bool) {
        poll_fn(|cx| self.poll(cx, |state| ready(state).then_some(()))).await;
    }

    /// Blocks the thread until `ready` returns a result.
    pub(crate) fn block<R>(&self, mut ready: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut guard = lock(&self.state);
        loop {
            if let Some(result) = ready(&mut guard.0) {
                return result;
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
