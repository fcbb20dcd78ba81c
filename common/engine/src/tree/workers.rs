//! The receiver's threads: one that decides, and those that write small files.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc;

use super::manifest::Manifest;
use super::replace::Replacements;
use super::shared::{Said, Shared};
use super::write::{self, Job};
use lariat_wire::protocol::tree::Entries;

/// Threads that write small files: a second one pays, a third does not.
const WRITERS: usize = 2;

/// Messages or packs that wait for a thread.
const AHEAD: usize = 2;

/// The threads, and the ways to them.
pub(super) struct Workers {
    /// Until the sender has listed everything.
    pub(super) entries: Option<mpsc::Sender<Entries>>,
    /// Until everything has come.
    pub(super) jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Writers that have not ended.
    writers: usize,
}

impl Workers {
    pub(super) fn start(
        decider: Manifest,
        shared: &Arc<Shared>,
        replacements: &Arc<Replacements>,
    ) -> io::Result<Self> {
        let (entries, listed) = mpsc::channel(AHEAD);
        let (jobs, taken) = mpsc::channel(AHEAD);
        let (entries, jobs) = (Some(entries), Some(jobs));
        let mut workers = Self { entries, jobs, threads: Vec::new(), writers: WRITERS };
        let deciding = Arc::clone(shared);
        workers.spawn("decide", move || decide_all(decider, listed, &deciding))?;
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..WRITERS {
            let (shared, taken) = (Arc::clone(shared), Arc::clone(&taken));
            let replacements = Arc::clone(replacements);
            workers.spawn("write", move || write_all(&shared, &replacements, &taken))?;
        }
        Ok(workers)
    }

    /// Starts one more.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.threads.push(Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// A writer has ended. Gives whether it was the last.
    pub(super) fn writer_ended(&mut self) -> bool {
        self.writers -= 1;
        self.writers == 0
    }
}

/// Waits until all have ended.
impl Drop for Workers {
    fn drop(&mut self) {
        (self.entries, self.jobs) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn decide_all(mut decider: Manifest, mut listed: mpsc::Receiver<Entries>, shared: &Shared) {
    shared.collect();
    while let Some(entries) = listed.blocking_recv() {
        match decider.entries(entries) {
            Ok(what) => shared.say(Said::Decided(what)),
            Err(bad) => return shared.say(Said::Bad(bad)),
        }
    }
    shared.say(decider.end().map_or_else(Said::Bad, |after| Said::Listed(Box::new(after))));
}

fn write_all(shared: &Shared, replacements: &Replacements, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { break };
        let (files, bytes) = write::write(shared, replacements, job);
        shared.say(Said::Written(files, bytes));
    }
    shared.say(Said::WriterEnded);
}
