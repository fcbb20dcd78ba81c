//! Starting the command's process: born in its job's control group, where there is one.
//!
//! To be born in a group costs next to nothing; to move there would hold up every process of the host that starts
//! or ends meanwhile.
//!
//! Invariant: a program is run as it is. One that the system can't run is given to no shell, as `execvp` would.

use std::ffi::{CStr, CString, NulError, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Pid;
use rustix::io::Errno;

use crate::jobs::cgroup::OwnGroup;
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

    /// What its streams, its process group and its user are given to.
    pub(super) fn command(&self) -> Command {
        Command::new(OsStr::from_bytes(self.path.as_bytes()))
    }

    /// Becomes the program. Returns only if that fails.
    fn run(&self) -> io::Error {
        fn words(all: &[CString]) -> Vec<&CStr> {
            all.iter().map(CString::as_c_str).collect()
        }
        match nix::unistd::execve(&self.path, &words(&self.argv), &words(&self.environment)) {
            Err(error) => error.into(),
            Ok(never) => match never {},
        }
    }
}

/// Starts the program, and gives its process id.
pub(super) fn spawn(
    mut command: Command,
    program: Program,
    group: Option<&mut OwnGroup>,
) -> io::Result<u32> {
    // Closed by the program's start, and written to if there is none.
    let (mut failed, mut failure) = io::pipe()?;
    let child = match group {
        Some(group) => fork_in(group)?,
        None => raw::fork()?,
    };
    let Some(child) = child else {
        raw::run_last(&mut command, move || program.run());
        let error = command.exec().raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
        let _ = failure.write_all(&error.to_le_bytes());
        raw::leave_child();
    };
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

/// How often a group is made again that somebody has removed.
const TRIES: u32 = 3;

/// Goes on in two processes, of which the child is in the group if that can be.
fn fork_in(group: &mut OwnGroup) -> io::Result<Option<Pid>> {
    for _ in 0..TRIES {
        match raw::fork_into(group.as_fd()) {
            Err(error) if is_gone(&error) => {
                // What fails here fails again when somebody is to be born in it.
                let _ = group.renew();
            }
            // Linux before 5.7, or a filter that does not know the call.
            Err(error) if is_unknown(&error) => return fork_and_move(group),
            forked => return forked,
        }
    }
    raw::fork()
}

fn fork_and_move(group: &OwnGroup) -> io::Result<Option<Pid>> {
    let entrance = group.entrance();
    let child = raw::fork()?;
    if let (None, Ok(entrance)) = (child, &entrance) {
        // One that can't be moved runs where its supervisor is.
        let _ = rustix::io::write(entrance, b"0");
    }
    Ok(child)
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
    fn what_the_system_does_not_know_is_told_from_what_it_refuses() {
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
