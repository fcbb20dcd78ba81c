//! Space set aside for the lines of owners' keys: a preallocated file that becomes the audit's newest file when
//! the disk is full.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

/// Its name in the state directory.
const NAME: &str = "audit-reserve";

/// Its size in bytes.
pub(super) const SIZE: u64 = 16 * 1024 * 1024;

/// How often to try to set it aside again.
const AGAIN: Duration = Duration::from_secs(1);

/// The reserve of one audit.
pub(super) struct Reserve {
    path: PathBuf,
    is_there: bool,
    tried: Option<Instant>,
}

impl Reserve {
    /// The reserve in this state directory, set aside if there is room.
    pub(super) fn open(state: &Path) -> Self {
        let path = state.join(NAME);
        // One that an earlier run of the agent left need not find room again.
        let is_there =
            path.metadata().is_ok_and(|left| left.len() == 0 && left.blocks() * 512 >= SIZE);
        let mut reserve = Self { path, is_there, tried: None };
        reserve.refill();
        reserve
    }

    /// Sets it aside if it is used up and there is room again. Returns whether it is there.
    pub(super) fn refill(&mut self) -> bool {
        let now = Instant::now();
        if !self.is_there && self.tried.is_none_or(|tried| now - tried >= AGAIN) {
            self.tried = Some(now);
            self.is_there = set_aside(&self.path).is_ok();
            if !self.is_there {
                let _ = std::fs::remove_file(&self.path);
            }
        }
        self.is_there
    }

    /// Turns it into the file `name`.
    pub(super) fn take(&mut self, name: &Path) -> io::Result<()> {
        if !self.is_there {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.is_there = false;
        self.tried = Some(Instant::now());
        std::fs::rename(&self.path, name)
    }
}

fn set_aside(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file: File = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // Its length stays 0: what is appended later takes the blocks.
    Ok(fallocate(&file, FallocateFlags::KEEP_SIZE, 0, SIZE)?)
}
