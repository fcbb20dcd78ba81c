//! A copy of a host's record: the same files, of which every line is verified before it is written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lariat_base::audit::{FileName, Verifier, Whole, Wrong};
use lariat_base::os_error::io_error;
use lariat_client::AuditPart;
use lariat_wire::protocol::audit::AuditStart;
use rustix::fs::FlockOperation;

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// A copy that is being continued.
pub(super) struct Copy {
    directory: PathBuf,
    /// Locked, so that no other process continues the same copy.
    _lock: File,
    verifier: Verifier,
    newest: Option<File>,
    /// Bytes that were added.
    pub(super) added: u64,
}

/// Why a copy can't be continued.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The copy itself is not whole.
    #[error("the copy in {0} is not whole: {1}")]
    Own(String, Wrong),
    /// What the host sends does not continue the copy.
    #[error(
        "what comes is no record that continues the copy in {0}: {1}; lariat audit verify tells what became of it. Where that \
         is accepted, as after a restored snapshot, keep the copy under another name, and pull again"
    )]
    Other(String, Wrong),
    /// A system call failed.
    #[error("{0}: {error}", error = io_error(.1))]
    Io(String, io::Error),
    /// Another process is at it.
    #[error("another process adds to {0} now")]
    Busy(String),
}

impl Copy {
    /// Opens the copy in this directory, which need not be there, and verifies it.
    pub(super) fn open(directory: &Path) -> Result<Self, CopyError> {
        let shown = directory.display().to_string();
        let io = |error| CopyError::Io(shown.clone(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock = File::open(directory).map_err(io)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| CopyError::Busy(shown.clone()))?;
        let mut copy = Self {
            directory: directory.to_owned(),
            _lock: lock,
            verifier: Verifier::default(),
            newest: None,
            added: 0,
        };
        for name in names(directory).map_err(io)? {
            let own = |wrong| CopyError::Own(shown.clone(), wrong);
            copy.verifier.file(name).map_err(own)?;
            let path = copy.path(name);
            let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(io)?;
            let mut buffer = vec![0; PIECE];
            loop {
                match file.read(&mut buffer).map_err(io)? {
                    0 => break,
                    len => copy.verifier.bytes(&buffer[..len], &mut |_, _| ()).map_err(own)?,
                }
            }
            copy.newest = Some(file);
        }
        Ok(copy)
    }

    /// Where the host is to go on.
    pub(super) fn start(&self) -> AuditStart {
        match self.verifier.position() {
            Some((FileName(first), offset)) => AuditStart::Behind { first, offset },
            None => AuditStart::Oldest,
        }
    }

    /// Adds a part of the record.
    pub(super) fn take(&mut self, part: AuditPart<'_>) -> Result<(), CopyError> {
        let shown = || self.directory.display().to_string();
        let io = |error| CopyError::Io(shown(), error);
        match part {
            AuditPart::File { first, offset } => {
                let name = FileName(first);
                if self.verifier.position() != Some((name, offset)) {
                    let begun = self.verifier.file(name);
                    begun.map_err(|wrong| CopyError::Other(shown(), wrong))?;
                    let mut options = OpenOptions::new();
                    let new = options.append(true).create_new(true).mode(0o600);
                    self.newest = Some(new.open(self.path(name)).map_err(io)?);
                }
            }
            AuditPart::Bytes(bytes) => {
                let fed = self.verifier.bytes(bytes, &mut |_, _| ());
                fed.map_err(|wrong| CopyError::Other(self.directory.display().to_string(), wrong))?;
                if let Some(file) = &mut self.newest {
                    let written = file.write_all(bytes);
                    written.map_err(|e| CopyError::Io(self.directory.display().to_string(), e))?;
                }
                self.added += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// Nothing more is to be added: forces it to disk. Returns what the copy has.
    pub(super) fn finish(self) -> Result<Whole, CopyError> {
        let shown = self.directory.display().to_string();
        if let Some(file) = &self.newest {
            file.sync_all().map_err(|error| CopyError::Io(shown.clone(), error))?;
        }
        self.verifier.finish().map_err(|wrong| CopyError::Other(shown, wrong))
    }

    fn path(&self, name: FileName) -> PathBuf {
        self.directory.join(name.to_string())
    }
}

/// The files of a copy, oldest first.
fn names(directory: &Path) -> io::Result<Vec<FileName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<FileName>().ok()));
    }
    names.sort_unstable();
    Ok(names)
}
