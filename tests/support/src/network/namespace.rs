//! A network namespace: interfaces, addresses and ports of its own.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace. It exists as long as this, or a process inside it.
pub struct Namespace(File);

impl Namespace {
    pub(super) fn new() -> io::Result<Self> {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(Self)
        };
        on_a_thread(create)
    }

    /// Does work inside the namespace: sockets that it opens and processes that it starts belong there.
    ///
    /// # Panics
    /// If the work panics, or the namespace can't be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
            work()
        })
    }

    /// Runs commands of `ip` inside, one a line.
    ///
    /// # Panics
    /// If one fails.
    pub fn ip(&self, commands: &str) {
        self.enter(|| super::ip::configure(commands)).expect("ip can do it");
    }

    /// A file that stands for the namespace as long as this process has it, as `nsenter --net=FILE` needs it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

/// A thread has a namespace of its own. So this thread stays where it is.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
