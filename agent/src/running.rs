//! `STATE/agent.pid`: which process is the agent, for those who have changed its files. It is locked as long as that
//! process runs, so that a number that is left over is never taken for an agent.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

const FILE: &str = "agent.pid";

/// Who only looks whether an agent runs holds the lock for a moment.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// This process is the agent, until it is dropped.
pub struct Running {
    _locked: File,
}

impl Running {
    /// Writes down that this process is the agent; `None` if another one is.
    pub fn mark(state: &Path) -> io::Result<Option<Self>> {
        let options = || {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(state.join(FILE))
        };
        let mut file = options()?;
        let mut tries = TRIES;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if tries == 0 => return Ok(None),
                Err(Errno::WOULDBLOCK) => tries -= 1,
                locked => break locked?,
            }
            sleep(PAUSE);
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Some(Self { _locked: file }))
    }
}

/// Whether there is an agent of this state directory.
pub(crate) fn is_there(state: &Path) -> io::Result<bool> {
    find(state).map(|file| file.is_some())
}

/// The file of the agent that runs, if one does.
fn find(state: &Path) -> io::Result<Option<File>> {
    let file = match File::open(state.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(Some(file)),
        locked => locked.map(|()| None).map_err(Into::into),
    }
}

/// Tells the agent of this state directory to read its files anew. Returns whether there is one.
pub fn reload(state: &Path) -> io::Result<bool> {
    let Some(mut file) = find(state)? else { return Ok(false) };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let pid = text.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    kill_process(pid, Signal::HUP)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_runs_is_the_agent() {
        let state = crate::private_directory();
        assert!(!reload(state.path()).unwrap());
        let running = Running::mark(state.path()).unwrap().unwrap();
        assert!(Running::mark(state.path()).unwrap().is_none());
        drop(running);
        assert!(!reload(state.path()).unwrap(), "what a dead agent left is nobody");
    }
}
