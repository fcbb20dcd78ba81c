//! The threads that work on many hosts: each has its own runtime and its share of the hosts, which stay on
//! their thread.
//!
//! Invariant: every host that began is reported once, also after a panic.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

/// Most threads: TLS on this many saturates the fastest networks.
const MOST: usize = 8;

/// One host's work, which stays on its thread.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T>>>;

/// Begins the work on the host with this index.
pub(crate) type Begin<T> = dyn Fn(usize) -> Work<T> + Send + Sync;

/// A host's number and its outcome; `None` after a panic.
pub(crate) type HostOutcome<T> = (usize, Option<T>);

/// Worker threads. Dropping the pool cancels unfinished work and ends them.
pub(crate) struct WorkerPool<T> {
    workers: Vec<Worker>,
    came: UnboundedReceiver<(usize, HostOutcome<T>)>,
}

struct Worker {
    hosts: UnboundedSender<usize>,
    running: usize,
}

impl<T: Send + 'static> WorkerPool<T> {
    /// Starts as many threads as there are processors, but at most `hosts`.
    pub(crate) fn start(hosts: usize, begin: &Arc<Begin<T>>) -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let (tell, came) = unbounded_channel();
        let workers = (0..processors.min(MOST).min(hosts).max(1))
            .map(|number| {
                let (hosts, mine) = unbounded_channel();
                let (begin, tell) = (Arc::clone(begin), tell.clone());
                let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
                thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                    let tell = move |came| drop(tell.send((number, came)));
                    runtime.block_on(LocalSet::new().run_until(work(&*begin, mine, tell)));
                    // Does not wait for blocking tasks, such as name resolution.
                    runtime.shutdown_background();
                })?;
                Ok(Worker { hosts, running: 0 })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { workers, came })
    }

    /// Assigns a host to the thread with the fewest.
    pub(crate) fn begin(&mut self, host: usize) {
        if let Some(worker) = self.workers.iter_mut().min_by_key(|worker| worker.running) {
            worker.running += 1;
            // The worker receives until the pool is dropped.
            let _ = worker.hosts.send(host);
        }
    }

    /// The outcome of the next host that ends. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Option<HostOutcome<T>> {
        let (worker, came) = self.came.recv().await?;
        self.workers[worker].running -= 1;
        Some(came)
    }
}

/// The loop of one thread.
async fn work<T: 'static>(
    begin: &Begin<T>,
    mut hosts: UnboundedReceiver<usize>,
    tell: impl Fn(HostOutcome<T>) + 'static,
) {
    let tell = Rc::new(tell);
    while let Some(host) = hosts.recv().await {
        let (work, tell) = (spawn_local(begin(host)), Rc::clone(&tell));
        spawn_local(async move { tell((host, work.await.ok())) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_reported_once_also_after_a_panic() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let begin: Arc<Begin<usize>> = Arc::new(|host: usize| -> Work<usize> {
                Box::pin(async move {
                    tokio::task::yield_now().await;
                    assert_ne!(host, 7, "this panic is meant");
                    host * 2
                })
            });
            let mut pool = WorkerPool::start(100, &begin).unwrap();
            (0..100).for_each(|host| pool.begin(host));
            let mut came = Vec::new();
            for _ in 0..100 {
                came.push(pool.ended().await.unwrap());
            }
            came.sort_unstable();
            for (number, (host, result)) in came.into_iter().enumerate() {
                assert_eq!((host, result), (number, (number != 7).then_some(number * 2)));
            }
            assert!(pool.workers.iter().all(|worker| worker.running == 0));
        });
    }
}
