//! A working directory for one thread, for system calls that take a path and no descriptor.
//!
//! Before Linux 6.13 the extended attributes of a name that is not open can be read by path alone
//! (getxattrat(2)). Through `/proc/self/fd` that takes three times as long as relative to the working
//! directory, which shows in a walk over many files.

use std::marker::PhantomData;
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, unshare};

/// The working directory of the thread that creates this.
pub(super) struct WorkingDirectory {
    own: bool,
    /// Not `Send`: it belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl WorkingDirectory {
    /// Separates the calling thread's working directory from that of the process. If that is refused, nothing
    /// can be entered.
    pub(super) fn of_this_thread() -> Self {
        Self { own: unshare(CloneFlags::CLONE_FS).is_ok(), thread: PhantomData }
    }

    /// Makes `directory` the working directory, and returns whether that succeeded.
    pub(super) fn enter(&self, directory: impl AsFd) -> bool {
        self.own && rustix::process::fchdir(directory).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn other_threads_stay_where_they_are() {
        let before = std::env::current_dir().unwrap();
        let entered = std::thread::spawn(|| {
            let entered = WorkingDirectory::of_this_thread().enter(File::open("/proc").unwrap());
            (entered, std::env::current_dir().unwrap())
        });
        let (entered, there) = entered.join().unwrap();
        assert_eq!(entered, there == std::path::Path::new("/proc"));
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
