//! The receiver's threads: one compares the manifest, the others write small files.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use lariat_base::lock::lock;
use tokio::sync::mpsc;

use super::event::Event;
use super::manifest::Manifest;
use super::replacements::Replacements;
use super::shared::Shared;
use super::writer::{self, Job};
use lariat_wire::protocol::tree::Entries;

/// Threads that write small files. A third one gains nothing.
const WRITERS: usize = 2;

/// Messages or packs that are queued for a thread.
const AHEAD: usize = 2;

/// The threads, and the channels to them.
pub(super) struct Workers {
    /// Open until the manifest is complete.
    pub(super) entries: Option<mpsc::Sender<Entries>>,
    /// Open until all contents are there.
    pub(super) jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Writers that are running.
    writers: usize,
}

impl Workers {
    pub(super) fn start(
        manifest: Manifest,
        shared: &Arc<Shared>,
        replacements: &Arc<Replacements>,
    ) -> io::Result<Self> {
        let (entries, received) = mpsc::channel(AHEAD);
        let (jobs, queue) = mpsc::channel(AHEAD);
        let (entries, jobs) = (Some(entries), Some(jobs));
        let mut workers = Self { entries, jobs, threads: Vec::new(), writers: WRITERS };
        let compare_shared = Arc::clone(shared);
        workers.spawn("compare", move || compare_all(manifest, received, &compare_shared))?;
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..WRITERS {
            let (shared, queue) = (Arc::clone(shared), Arc::clone(&queue));
            let replacements = Arc::clone(replacements);
            workers.spawn("write", move || write_all(&shared, &replacements, &queue))?;
        }
        Ok(workers)
    }

    /// Starts one more thread.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.threads.push(Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// Records the end of a writer, and returns whether it was the last one.
    pub(super) fn writer_ended(&mut self) -> bool {
        self.writers -= 1;
        self.writers == 0
    }
}

/// Waits for the end of all threads.
impl Drop for Workers {
    fn drop(&mut self) {
        (self.entries, self.jobs) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn compare_all(mut manifest: Manifest, mut entries: mpsc::Receiver<Entries>, shared: &Shared) {
    shared.collect();
    while let Some(message) = entries.blocking_recv() {
        match manifest.entries(message) {
            Ok(decided) => shared.report(Event::Decided(decided)),
            Err(bad) => return shared.report(Event::Bad(bad)),
        }
    }
    let listed = |deferred| Event::Listed(Box::new(deferred));
    shared.report(manifest.end().map_or_else(Event::Bad, listed));
}

fn write_all(shared: &Shared, replacements: &Replacements, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = lock(jobs).blocking_recv();
        let Some(job) = job else { break };
        let (files, bytes) = writer::write(shared, replacements, job);
        shared.report(Event::Written(files, bytes));
    }
    shared.report(Event::WriterEnded);
}
