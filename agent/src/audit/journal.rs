//! Writes the chain: each line with one write, files of bounded size, and the reserve when the disk is full.
//!
//! Whatever fails, the newest file ends with a whole line: what was written in part is cut off again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lariat_base::audit::{DROPPED, FileName, Hash, OPENED, seal};
use lariat_base::clock::rfc3339;
use lariat_wire::protocol::audit::AuditHead;

use super::files;
use super::line::{self, About, Opened, Part};
use super::reserve::{self, Reserve};

/// The size at which another file is begun, in bytes.
const FULL: u64 = reserve::SIZE;

/// The chain's newest file, and the state of the chain behind its last line.
pub(super) struct Journal {
    directory: PathBuf,
    /// The directory itself, to sync it. Locked, so that no other agent writes there.
    handle: Arc<File>,
    opened: Opened,
    chain: [u8; 16],
    file: Option<Current>,
    seq: u64,
    prev: Hash,
    /// The newest line when the chain was opened.
    found: AuditHead,
    reserve: Reserve,
    /// The newest file is the reserve, and no other was set aside.
    on_reserve: bool,
    /// The newest file is so old that another is begun.
    is_aged: bool,
    /// Lines that could not be written.
    lost: u64,
    /// Files and directories that were changed since they were last synced.
    unsynced: Vec<Arc<File>>,
    /// The line that is being made.
    line: Vec<u8>,
}

/// The newest file.
struct Current {
    name: FileName,
    file: Arc<File>,
    /// Length of its whole lines.
    len: u64,
    /// Something may be behind them that has to be cut off first.
    is_torn: bool,
}

/// The end of a chain that goes on.
pub(super) struct Tail {
    /// The newest file and its length, if lines are appended to it.
    pub(super) file: Option<(FileName, File, u64)>,
    /// The last line's number; 0 for a new chain.
    pub(super) seq: u64,
    /// The last line's hash.
    pub(super) hash: Hash,
}

impl Journal {
    /// Continues a chain, or begins one.
    pub(super) fn new(
        (directory, handle): (&Path, File),
        chain: [u8; 16],
        opened: Opened,
        tail: Tail,
    ) -> Self {
        let current =
            |(name, file, len)| Current { name, file: Arc::new(file), len, is_torn: false };
        Self {
            reserve: Reserve::open(directory),
            directory: directory.to_owned(),
            handle: Arc::new(handle),
            opened,
            chain,
            file: tail.file.map(current),
            seq: tail.seq,
            prev: tail.hash,
            found: AuditHead { chain, seq: tail.seq, hash: tail.hash },
            on_reserve: false,
            is_aged: false,
            lost: 0,
            unsynced: Vec::new(),
            line: Vec::new(),
        }
    }

    /// The directory of the files.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The newest file, and the length of its whole lines.
    pub(super) fn newest(&self) -> Option<(FileName, u64)> {
        self.file.as_ref().map(|current| (current.name, current.len))
    }

    /// The newest line when the chain was opened. No later one was ever shown.
    pub(super) fn found(&self) -> AuditHead {
        self.found
    }

    /// The newest line.
    pub(super) fn head(&self) -> AuditHead {
        AuditHead { chain: self.chain, seq: self.seq, hash: self.prev }
    }

    /// Whether something was written that is not synced.
    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// What has to be synced, after which the newest line is on disk.
    pub(super) fn take_unsynced(&mut self) -> (Vec<Arc<File>>, AuditHead) {
        (std::mem::take(&mut self.unsynced), self.head())
    }

    /// Appends a line, and returns its number. `spare` lines may use the reserve.
    pub(super) fn append(
        &mut self,
        event: &str,
        parts: &[&dyn Part],
        spare: bool,
    ) -> io::Result<u64> {
        if self.on_reserve && self.reserve.refill() {
            self.on_reserve = false;
        }
        if self.on_reserve && !spare {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut written = self.write(event, parts);
        if written.is_err() && spare && !self.on_reserve {
            written = self.switch_to_reserve().and_then(|()| self.write(event, parts));
        }
        written?;
        let seq = self.seq;
        if self.lost > 0 {
            let count = Some(self.lost);
            if self.write("lost", &[&About { count, ..About::default() }]).is_ok() {
                self.lost = 0;
            }
        }
        Ok(seq)
    }

    /// Counts a line that could not be written. The next line that can be is followed by one about it.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
    }

    fn write(&mut self, event: &str, parts: &[&dyn Part]) -> io::Result<()> {
        if self.is_aged || self.file.as_ref().is_none_or(|current| current.len >= FULL) {
            let path = self.next_path();
            let mut options = OpenOptions::new();
            let file = options.append(true).create_new(true).mode(0o600).open(&path)?;
            self.open(file, &path)?;
        }
        self.put(event, parts)
    }

    fn next_path(&self) -> PathBuf {
        self.directory.join(FileName(self.seq + 1).to_string())
    }

    fn switch_to_reserve(&mut self) -> io::Result<()> {
        let path = self.next_path();
        let file = self.reserve.take(&path)?;
        self.open(file, &path)?;
        self.on_reserve = true;
        Ok(())
    }

    /// Begins an empty file. One that can't be begun is removed, and the file before stays the newest.
    fn open(&mut self, file: File, path: &Path) -> io::Result<()> {
        let name = FileName(self.seq + 1);
        let new = Current { name, file: Arc::new(file), len: 0, is_torn: false };
        let before = self.file.replace(new);
        let opened = self.opened.clone();
        if let Err(error) = self.put(OPENED, &[&opened]) {
            self.file = before;
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        self.is_aged = false;
        self.unsynced.push(Arc::clone(&self.handle));
        Ok(())
    }

    /// Writes a line to the newest file.
    fn put(&mut self, event: &str, parts: &[&dyn Part]) -> io::Result<()> {
        let current = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        if current.is_torn {
            current.cut()?;
        }
        let (seq, time) = (self.seq + 1, rfc3339(SystemTime::now()));
        line::begin(&mut self.line, seq, &time, &self.prev, event);
        parts.iter().for_each(|part| part.add_to(&mut self.line));
        let hash = seal(&mut self.line);
        if let Err(error) = write_once(&current.file, &self.line) {
            current.is_torn = true;
            let _ = current.cut();
            return Err(error);
        }
        current.len += self.line.len() as u64;
        (self.seq, self.prev) = (seq, hash);
        if !self.unsynced.iter().any(|file| Arc::ptr_eq(file, &current.file)) {
            self.unsynced.push(Arc::clone(&current.file));
        }
        Ok(())
    }

    /// Drops files whose lines are all older than `keep`, behind a line that tells which. Begins another file
    /// when the newest one has become old, so that its lines can be dropped in their time.
    pub(super) fn drop_old(&mut self, keep: Duration) -> io::Result<()> {
        let now = SystemTime::now();
        let before =
            |age: Duration| rfc3339(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        let names = files::list(&self.directory)?;
        let count = files::count_before(&self.directory, &names, &before(keep));
        if let (Some(first), Some(next)) = (names.first().filter(|_| count > 0), names.get(count)) {
            let about = About { first: Some(first.0), last: Some(next.0 - 1), ..About::default() };
            self.append(DROPPED, &[&about], true)?;
            self.sync()?;
            for name in &names[..count] {
                std::fs::remove_file(self.directory.join(name.to_string()))?;
            }
        }
        if let Some(newest) = names.last()
            && files::opened_at(&self.directory, *newest)? < before(keep / 4)
        {
            self.is_aged = true;
        }
        Ok(())
    }

    /// Syncs everything.
    pub(super) fn sync(&mut self) -> io::Result<AuditHead> {
        let (files, head) = self.take_unsynced();
        if let Err(error) = sync(&files) {
            self.unsynced.extend(files);
            return Err(error);
        }
        Ok(head)
    }

    /// Files that could not be synced are to be synced again.
    pub(super) fn not_synced(&mut self, files: Vec<Arc<File>>) {
        self.unsynced.extend(files);
    }
}

/// Syncs files and directories.
pub(super) fn sync(files: &[Arc<File>]) -> io::Result<()> {
    files.iter().try_for_each(|file| file.sync_data())
}

impl Current {
    /// Cuts off what was written in part.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.is_torn = false;
        Ok(())
    }
}

/// Writes all bytes by one system call, or fails.
fn write_once(file: &File, bytes: &[u8]) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))? {
        len if len == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}
