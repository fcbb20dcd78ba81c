//! How full the host's disks are. A disk that does not answer holds up one thread, and nobody who asks.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_wire::protocol::status::Disk;

use super::mounts::{Mount, disks};

/// How long all disks together may take to answer. One that takes longer is told of as silent.
const PATIENCE: Duration = Duration::from_millis(400);

/// How long an answer is good for, so that being asked often costs little.
const FRESH: Duration = Duration::from_secs(1);

/// The host's disks. Clones share their state.
#[derive(Clone, Default)]
pub struct Disks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    look: Mutex<Look>,
    answered: Condvar,
}

/// The newest look at the disks.
#[derive(Default)]
struct Look {
    /// When it began; `None` before the first one.
    since: Option<Instant>,
    /// The disks, each as it was found, or silent until it has answered.
    disks: Vec<Disk>,
    /// A thread is at it.
    is_running: bool,
}

impl Disks {
    /// How full the disks are. May take as long as [`PATIENCE`].
    pub fn look(&self) -> Vec<Disk> {
        self.look_by(|| fs::read("/proc/self/mountinfo").unwrap_or_default(), figures)
    }

    fn look_by(
        &self,
        table: impl FnOnce() -> Vec<u8> + Send + 'static,
        figures: impl Fn(&Path, &mut Disk) -> io::Result<()> + Send + 'static,
    ) -> Vec<Disk> {
        let Shared { look, answered } = &*self.0;
        let mut current = lock(look);
        let is_fresh = current.since.is_some_and(|since| since.elapsed() < FRESH);
        if !current.is_running && !is_fresh {
            let shared = Arc::clone(&self.0);
            let run = move || shared.run(&table(), figures);
            // Without a thread there are the old figures.
            let started = std::thread::Builder::new().name("disks".into()).spawn(run);
            if started.is_ok() {
                *current =
                    Look { since: Some(Instant::now()), is_running: true, ..Look::default() };
            }
        }
        let left =
            current.since.map_or(Duration::ZERO, |since| PATIENCE.saturating_sub(since.elapsed()));
        let waited = answered.wait_timeout_while(current, left, |look| look.is_running);
        let (current, _) = waited.unwrap_or_else(PoisonError::into_inner);
        current.disks.clone()
    }
}

impl Shared {
    /// Asks each disk. Those that are asked and have not answered are silent.
    fn run(&self, table: &[u8], figures: impl Fn(&Path, &mut Disk) -> io::Result<()>) {
        for Mount { path, kind, .. } in disks(table) {
            let bytes = path.as_os_str().as_bytes().to_vec();
            let mut disk = Disk { path: bytes, kind, is_silent: true, ..Disk::default() };
            lock(&self.look).disks.push(disk.clone());
            let answered = figures(&path, &mut disk);
            let mut look = lock(&self.look);
            look.disks.pop();
            // One that went away meanwhile is none.
            if answered.is_ok() {
                look.disks.push(Disk { is_silent: false, ..disk });
            }
        }
        lock(&self.look).is_running = false;
        self.answered.notify_all();
    }
}

fn figures(path: &Path, disk: &mut Disk) -> io::Result<()> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // What is kept for root is full, for everybody else.
    let kept = found.f_bfree.saturating_sub(found.f_bavail);
    (disk.size, disk.free) = (bytes(found.f_blocks.saturating_sub(kept)), bytes(found.f_bavail));
    (disk.files, disk.files_free) = (found.f_files, found.f_favail);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn table() -> Vec<u8> {
        let line = |n| format!("{n} 1 8:{n} / /m{n} rw - ext4 /dev/sd{n} rw\n");
        (0..3).map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn this_machine_has_a_disk_and_is_not_asked_again_at_once() {
        let disks = Disks::default();
        let found = disks.look();
        assert!(found.iter().any(|disk| disk.size > 0 && disk.free <= disk.size), "{found:?}");
        assert_eq!(disks.look_by(|| panic!("it is fresh"), figures), found);
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_nobody_up_and_has_one_thread() {
        let disks = Disks::default();
        let (release, held) = channel::<()>();
        let figures = move |path: &Path, disk: &mut Disk| {
            disk.size = 7;
            if path == Path::new("/m1") {
                let _ = held.recv();
            }
            if path == Path::new("/m2") { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
        };
        let began = Instant::now();
        let found = disks.look_by(table, figures);
        assert!(began.elapsed() >= PATIENCE && began.elapsed() < 20 * PATIENCE);
        let told = |disks: &[Disk]| {
            disks.iter().map(|disk| (disk.size, disk.is_silent)).collect::<Vec<_>>()
        };
        assert_eq!(told(&found), [(7, false), (0, true)]);
        let began = Instant::now();
        let again = disks.look_by(|| panic!("it is being looked at"), self::figures);
        assert!(again == found && began.elapsed() < PATIENCE);
        drop(release);
        let done = || {
            let look = disks.0.look.lock().unwrap();
            disks.0.answered.wait_while(look, |look| look.is_running).map(|look| told(&look.disks))
        };
        assert_eq!(done().unwrap(), [(7, false), (7, false)], "the third has gone");
    }
}
