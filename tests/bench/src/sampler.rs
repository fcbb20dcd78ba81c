//! Samples the peak memory of processes that come and go.
//!
//! The kernel keeps each process's peak, so only what a process took between the last sample and its end is
//! missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Pid;

use crate::process;

/// The first samples come quickly, for short-lived processes; later ones rarely, to disturb little.
const FIRST: Duration = Duration::from_micros(500);
const SELDOM: Duration = Duration::from_millis(25);

/// A thread that takes samples.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[u64; 2]>,
}

impl Sampler {
    /// Starts to sample both ends' processes and their descendants.
    pub(crate) fn start(ends: [Vec<Pid>; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peaks = [HashMap::new(), HashMap::new()];
            let mut pause = FIRST;
            loop {
                let last = stopped.load(Ordering::SeqCst);
                for (peaks, roots) in peaks.iter_mut().zip(&ends) {
                    look(roots, peaks);
                }
                if last {
                    break;
                }
                std::thread::park_timeout(pause);
                pause = (pause * 2).min(SELDOM);
            }
            peaks.map(|peaks| peaks.values().sum())
        });
        Self { stop, thread }
    }

    /// The sum of the peaks of each end's processes, in bytes.
    pub(crate) fn finish(self) -> [u64; 2] {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        self.thread.join().expect("looking does not panic")
    }
}

fn look(roots: &[Pid], peaks: &mut HashMap<Pid, u64>) {
    for pid in roots.iter().flat_map(|&root| process::tree(root)) {
        if let Some(peak) = process::peak(pid) {
            // The newest value, not the highest: between fork and exec a child has its parent's peak.
            peaks.insert(pid, peak);
        }
    }
}
