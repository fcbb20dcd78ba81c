//! Starts the command's process in its job's control group, if there is one.
//!
//! Forking into a group costs next to nothing; moving a process there would block every process of the host
//! that starts or ends meanwhile.
//!
//! Invariant: the program is executed directly. `execvp` would pass a file that the system can't execute to a
//! shell.

use std::ffi::{CStr, CString, NulError, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use rustix::io::Errno;

use crate::jobs::cgroup::OwnGroup;
use crate::jobs::clone::{self, Memory};
use crate::jobs::raw;

/// A program, its argv, and its whole environment.
pub(super) struct Program {
    path: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// Fails if there is a NUL byte in one of them.
    pub(super) fn new(
        path: Vec<u8>,
        argv: Vec<Vec<u8>>,
        environment: impl Iterator<Item = Vec<u8>>,
    ) -> Result<Self, NulError> {
        Ok(Self {
            path: CString::new(path)?,
            argv: argv.into_iter().map(CString::new).collect::<Result<_, _>>()?,
            environment: environment.map(CString::new).collect::<Result<_, _>>()?,
        })
    }

    /// The command to which streams, process group and user are added.
    pub(super) fn command(&self) -> Command {
        Command::new(OsStr::from_bytes(self.path.as_bytes()))
    }

    /// Executes the program, with no signal blocked. Returns only on failure.
    fn run(&self) -> io::Error {
        fn words(all: &[CString]) -> Vec<&CStr> {
            all.iter().map(CString::as_c_str).collect()
        }
        // Those for which the supervisor watches are blocked until here.
        if let Err(error) = SigSet::empty().thread_set_mask() {
            return error.into();
        }
        match nix::unistd::execve(&self.path, &words(&self.argv), &words(&self.environment)) {
            Err(error) => error.into(),
            Ok(never) => match never {},
        }
    }
}

/// Starts the program, and returns its process id.
pub(super) fn spawn(
    mut command: Command,
    program: Program,
    memory: Memory,
    group: Option<&mut OwnGroup>,
) -> io::Result<u32> {
    raw::run_last(&mut command, move || program.run());
    // `exec` closes the pipe; if it fails, its error is written to it.
    let (mut failed, mut failure) = io::pipe()?;
    let child = start_in(group, memory, |entrance| {
        if let Some(entrance) = entrance {
            // If the move fails, the command runs in its supervisor's group.
            let _ = rustix::io::write(entrance, b"0");
        }
        let error = command.exec().raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
        let _ = failure.write_all(&error.to_le_bytes());
    })?;
    drop(failure);
    let mut error = [0; 4];
    match failed.read_exact(&mut error) {
        Ok(()) => {
            let _ = nix::sys::wait::waitpid(child, None);
            Err(io::Error::from_raw_os_error(i32::from_le_bytes(error)))
        }
        Err(_) => Ok(child.as_raw().unsigned_abs()),
    }
}

/// How often a group is created again after another process removed it.
const TRIES: u32 = 3;

/// Starts a child that does `work`, in the group if possible. Where a process can't be started in a group, `work` is
/// given the group's entrance.
fn start_in(
    group: Option<&mut OwnGroup>,
    memory: Memory,
    mut work: impl FnMut(Option<&OwnedFd>),
) -> io::Result<Pid> {
    let mut entrance = None;
    if let Some(group) = group {
        for _ in 0..TRIES {
            match clone::start(memory, Some(group.as_fd()), || work(None)) {
                Err(error) if is_gone(&error) => {
                    // If this fails, the next start fails as well.
                    let _ = group.renew();
                }
                // Linux before 5.7, or a seccomp filter that does not know the call.
                Err(error) if is_unknown(&error) => {
                    entrance = group.entrance().ok();
                    break;
                }
                started => return started,
            }
        }
    }
    match clone::start(memory, None, || work(entrance.as_ref())) {
        // `Memory::Own` without a group is a fork, which every system knows.
        Err(error) if is_unknown(&error) => {
            clone::start(Memory::Own, None, || work(entrance.as_ref()))
        }
        started => started,
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::NOENT | Errno::NODEV))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::NOSYS | Errno::INVAL | Errno::TOOBIG | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_calls_differ_from_failed_ones() {
        for (errno, unknown) in [
            (Errno::NOSYS, true),
            (Errno::INVAL, true),
            (Errno::NOMEM, false),
            (Errno::AGAIN, false),
        ] {
            let error = io::Error::from(errno);
            assert_eq!((is_unknown(&error), is_gone(&error)), (unknown, false), "{errno}");
        }
    }
}
