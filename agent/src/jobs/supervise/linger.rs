//! What remains of a supervisor whose job is over while somebody whom the command left behind still holds
//! its output: it reads on, so that whoever writes there is not ended by a broken pipe.
//!
//! What comes is thrown away, or kept for a detached job. No agent comes here any more, and the job's record
//! is unlocked: to everybody else the job is over. It ends with the last of those who hold the pipes, or when
//! it is told to.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::output::Leftover;
use crate::jobs::spool::Filled;

/// Reads until nobody can write any more.
pub(super) fn linger(mut leftovers: Vec<Leftover>, directory: &OwnedFd, signals: &SignalFd) {
    while !leftovers.is_empty() {
        let mut fds: Vec<PollFd<'_>> =
            leftovers.iter().map(|left| PollFd::new(&left.pipe, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
        if ready.pop() == Some(true) && is_told_to_end(signals) {
            return;
        }
        let mut ready = ready.into_iter();
        leftovers.retain_mut(|left| {
            let is_ready = ready.next().unwrap_or_default();
            !is_ready || !matches!(left.read(directory.as_fd()), Ok(Filled::End) | Err(_))
        });
    }
}

/// Waits for children that have ended, whom the command left to us. Whether a signal says to end.
fn is_told_to_end(signals: &SignalFd) -> bool {
    while let Ok(Some(info)) = signals.read_signal() {
        if i32::try_from(info.ssi_signo) != Ok(nix::libc::SIGCHLD) {
            return true;
        }
    }
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_)) | Err(Errno::INTR)) {}
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Write};

    use nix::sys::signal::SigSet;
    use nix::sys::signalfd::SfdFlags;

    use super::super::output::Output;
    use super::*;
    use crate::jobs::stream::Stream;
    use crate::jobs::words::Streams;

    #[test]
    fn what_is_left_behind_writes_on_and_a_detached_job_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let directory: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        // No signal: those of the test's own process are none of its business.
        let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK).unwrap();
        let pipes = Stream::ALL.map(|stream| (stream, io::pipe().unwrap()));
        let mut writers = Vec::new();
        let mut leftovers = Vec::new();
        for (stream, (read, write)) in pipes {
            let streams = match stream {
                Stream::Stdout => Streams::Detached,
                Stream::Stderr => Streams::Followed { stdin: false },
            };
            let mut output = Output::new(stream, &streams, 1024 * 1024);
            output.pipe = Some(read.into());
            leftovers.extend(output.leftover());
            writers.push(write);
        }
        let writing = std::thread::spawn(move || {
            for _ in 0..64 {
                writers.iter_mut().for_each(|write| write.write_all(&[7; 4096]).unwrap());
            }
        });
        linger(leftovers, &directory, &signals);
        writing.join().unwrap();
        let kept: u64 =
            dir.path().read_dir().unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(kept, 64 * 4096, "only the detached job's is kept");
    }
}
