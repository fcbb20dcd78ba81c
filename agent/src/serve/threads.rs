//! Threads for sessions. Each has a runtime, and serves one session after another: to start both takes longer than many a
//! session.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat_base::lock::lock;
use tokio::runtime::{Builder, Runtime};

/// Stack size, in bytes. Only touched pages take memory.
const STACK: usize = 1024 * 1024;

/// Most threads that wait for a session.
const MOST_IDLE: usize = 4;

/// How long a thread waits for its next session.
const IDLE: Duration = Duration::from_secs(10);

/// What a thread does with its runtime, or with the reason why it has none.
pub(super) type Work = Box<dyn FnOnce(&io::Result<Runtime>) + Send>;

/// The threads. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Those that wait, the one that has waited least last.
    idle: Mutex<Vec<Idle>>,
    next_id: AtomicU64,
}

struct Idle {
    id: u64,
    work: SyncSender<Work>,
}

impl Threads {
    /// Does the work on a thread that waits, or a new one. A panic ends that thread only.
    pub(super) fn start(&self, mut work: Work) -> io::Result<()> {
        while let Some(idle) = self.take_idle() {
            match idle.work.send(work) {
                Ok(()) => return Ok(()),
                // The thread has died.
                Err(SendError(back)) => work = back,
            }
        }
        let threads = self.clone();
        let builder = std::thread::Builder::new().name("session".into()).stack_size(STACK);
        builder.spawn(move || threads.serve(work)).map(|_| ())
    }

    fn take_idle(&self) -> Option<Idle> {
        lock(&self.0.idle).pop()
    }

    fn serve(&self, first: Work) {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let mut next = Some(first);
        while let Some(work) = next {
            work(&runtime);
            // Nothing of a session is left to the next one.
            let is_clean =
                runtime.as_ref().is_ok_and(|runtime| runtime.metrics().num_alive_tasks() == 0);
            next = if is_clean { self.wait() } else { None };
        }
    }

    /// Waits for more work. `None` if enough threads wait, or nothing has come.
    fn wait(&self) -> Option<Work> {
        let (id, given) = self.offer()?;
        match given.recv_timeout(IDLE) {
            Ok(work) => Some(work),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let mut idle = lock(&self.0.idle);
                let place = idle.iter().position(|idle| idle.id == id);
                place.map(|place| idle.remove(place));
                drop(idle);
                // Whoever has taken its place is about to send.
                if place.is_none() { given.recv().ok() } else { None }
            }
        }
    }

    fn offer(&self) -> Option<(u64, Receiver<Work>)> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (work, given) = sync_channel(1);
        let mut idle = lock(&self.0.idle);
        (idle.len() < MOST_IDLE).then(|| {
            idle.push(Idle { id, work });
            (id, given)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::{ThreadId, current};

    use super::*;

    /// Runs on a thread, which is told as soon as `go` is dropped.
    fn busy(threads: &Threads, done: &std::sync::mpsc::Sender<ThreadId>) -> SyncSender<()> {
        let (go, gone) = sync_channel::<()>(0);
        let done = done.clone();
        let work: Work = Box::new(move |runtime| {
            let _ = gone.recv();
            assert!(runtime.is_ok());
            let _ = done.send(current().id());
        });
        threads.start(work).unwrap();
        go
    }

    fn wait_for_idle(threads: &Threads, count: usize) {
        while lock(&threads.0.idle).len() != count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_serves_again_and_no_more_than_a_few_wait() {
        let threads = Threads::default();
        let (done, finished) = channel();
        drop(busy(&threads, &done));
        let first = finished.recv().unwrap();
        wait_for_idle(&threads, 1);
        drop(busy(&threads, &done));
        assert_eq!(finished.recv().unwrap(), first);
        wait_for_idle(&threads, 1);
        let many: Vec<_> = (0..3 * MOST_IDLE).map(|_| busy(&threads, &done)).collect();
        assert_eq!(lock(&threads.0.idle).len(), 0, "all are at work at once");
        drop(many);
        let mut ids: Vec<_> = (0..3 * MOST_IDLE).map(|_| finished.recv().unwrap()).collect();
        ids.sort_by_key(|id| format!("{id:?}"));
        ids.dedup();
        assert_eq!(ids.len(), 3 * MOST_IDLE);
        wait_for_idle(&threads, MOST_IDLE);
    }

    #[test]
    fn a_thread_that_panicked_or_has_tasks_left_serves_no_more() {
        let threads = Threads::default();
        let (told, heard) = channel::<()>();
        let panic = told.clone();
        let work: Work = Box::new(move |_| {
            let _told = panic;
            panic!("this session ends");
        });
        threads.start(work).unwrap();
        let leave = told.clone();
        let work: Work = Box::new(move |runtime| {
            let runtime = runtime.as_ref().unwrap();
            runtime.spawn(async move {
                let _told = leave;
                std::future::pending::<()>().await;
            });
            runtime.block_on(tokio::task::yield_now());
        });
        threads.start(work).unwrap();
        drop(told);
        // Both have dropped what they held.
        assert!(heard.recv().is_err());
        assert_eq!(lock(&threads.0.idle).len(), 0);
    }
}
