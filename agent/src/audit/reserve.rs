//! Space set aside for the lines of owners' keys: a preallocated file that becomes the audit's newest file when
//! the disk is full.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lariat_base::os_error::io_error;
use lariat_base::spare;
use rustix::fs::{AtFlags, CWD, OFlags, linkat};

/// Its name in the state directory.
const NAME: &str = "audit-reserve";

/// Its size in bytes.
pub(super) const SIZE: u64 = 16 * 1024 * 1024;

/// How often to try to set it aside again.
const AGAIN: Duration = Duration::from_secs(1);

/// The reserve of one audit.
pub(super) struct Reserve {
    place: Place,
    /// The reserve, if it is set aside.
    file: Option<File>,
    tried: Option<Instant>,
}

/// Where a reserve is.
enum Place {
    /// In the state directory, where the next run of the agent finds it.
    Named(PathBuf),
    /// On the disk that the audit's directory has for itself: a file without a name, for only the audit's own have one
    /// there. It goes with the agent.
    Nameless(PathBuf),
}

impl Reserve {
    /// The reserve of the audit in this directory, set aside if there is room.
    pub(super) fn open(directory: &Path) -> Self {
        let state = directory.parent().unwrap_or(Path::new("."));
        let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
        let place = if device(state) == device(directory) {
            Place::Named(state.join(NAME))
        } else {
            // From before the audit had a disk of its own: it is of no use here.
            let _ = std::fs::remove_file(state.join(NAME));
            Place::Nameless(directory.to_owned())
        };
        let (file, tried) = (place.set_aside(), Some(Instant::now()));
        if let Err(error) = &file {
            tracing::warn!(
                "audit: 16 MiB for the lines of owners' keys can't be set aside beside {}: {}; when its disk is \
                 full, they have none",
                directory.display(),
                io_error(error)
            );
        }
        Self { place, file: file.ok(), tried }
    }

    /// Sets it aside if it is used up and there is room again. Returns whether it is there.
    pub(super) fn refill(&mut self) -> bool {
        let now = Instant::now();
        if self.file.is_none() && self.tried.is_none_or(|tried| now - tried >= AGAIN) {
            self.tried = Some(now);
            self.file = self.place.set_aside().ok();
        }
        self.file.is_some()
    }

    /// Turns it into the file `name`.
    pub(super) fn take(&mut self, name: &Path) -> io::Result<File> {
        let file = self.file.take().ok_or(io::ErrorKind::StorageFull)?;
        self.tried = Some(Instant::now());
        match &self.place {
            Place::Named(path) => std::fs::rename(path, name)?,
            Place::Nameless(_) => {
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(CWD, own, CWD, name, AtFlags::SYMLINK_FOLLOW)?;
            }
        }
        Ok(file)
    }
}

impl Place {
    /// Sets the blocks aside, or finds those that an earlier run of the agent left.
    fn set_aside(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).mode(0o600);
        let file = match self {
            Self::Named(path) => options.create(true).open(path)?,
            Self::Nameless(directory) => {
                let nameless = i32::try_from(OFlags::TMPFILE.bits()).unwrap_or_default();
                options.custom_flags(nameless).open(directory)?
            }
        };
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        let set_aside = spare::allocate(&file, SIZE);
        if let (Self::Named(path), Err(_)) = (self, &set_aside) {
            let _ = std::fs::remove_file(path);
        }
        set_aside.map(|()| file)
    }
}
