//! Small files that have come, put in their places by threads beside the network.
//!
//! A new file has no name until it is complete; one that replaces another has a partial's until it is
//! on disk.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::replace::{Replacement, Replacements};
use super::shared::{LastFolder, Shared, Wanted};
use crate::beneath::Folder;
use crate::protocol::failure::{Action, Cause, Failure};
use crate::protocol::tree::PackedHead;
use crate::transfer::error::failed;
use crate::transfer::{commit, in_place};

/// A pack, and whose bytes are where in it.
pub(super) struct Job {
    pub(super) body: Vec<u8>,
    pub(super) files: Vec<(Wanted, PackedHead, Range<usize>)>,
}

/// Writes all files of a pack. Gives how many there are now, and their bytes.
pub(super) fn write(shared: &Shared, replacements: &Replacements, job: Job) -> (u64, u64) {
    let mut last = LastFolder::default();
    let (mut files, mut bytes) = (0, 0);
    for (mut wanted, head, range) in job.files {
        shared.as_read(&mut wanted.attributes, head.mode, head.mtime);
        let content = &job.body[range];
        match put(shared, replacements, &mut last, wanted, head.hash, content) {
            Ok(()) => {
                files += 1;
                bytes += content.len() as u64;
            }
            Err(failure) => shared.miss(failure),
        }
    }
    (files, bytes)
}

fn put(
    shared: &Shared,
    replacements: &Replacements,
    last: &mut LastFolder,
    wanted: Wanted,
    hash: [u8; 32],
    content: &[u8],
) -> Result<(), Failure> {
    let path = shared.shown(&wanted.folder, &wanted.name);
    if *blake3::hash(content).as_bytes() != hash {
        let cause = Cause::Mismatch;
        return Err(Failure { action: Action::Verify, path: Some(path), cause });
    }
    let folder = last.open(shared, &wanted.folder)?;
    shared.touch(&folder).map_err(failed(Action::Open, &path))?;
    if shared.finish.in_place && wanted.replaces && !wanted.clears {
        let given_mode = shared.finish.mode.is_some();
        let (folder, attributes) = (folder.as_fd(), &wanted.attributes);
        if in_place::overwrite(folder, &wanted.name, content, attributes, given_mode, &path)? {
            return Ok(());
        }
    }
    let part = shared.part_name(&wanted.folder, &wanted.name);
    let draft = Draft::create(&folder, &part).map_err(failed(Action::Create, &path))?;
    (&draft.file).write_all(content).map_err(failed(Action::Write, &path))?;
    if wanted.replaces {
        commit::inherit(&draft.file, folder.as_fd(), &wanted.name);
    }
    wanted.attributes.set(&draft.file, &path)?;
    if !wanted.replaces && draft.name_new(&wanted.name).map_err(failed(Action::Rename, &path))? {
        return Ok(());
    }
    draft.keep().map_err(failed(Action::Rename, &path))?;
    let Wanted { folder, name, clears, .. } = wanted;
    replacements.add(Replacement { folder, part, name, clears });
    Ok(())
}

/// A file that is not complete. It goes when it is dropped before it has a name.
struct Draft<'a> {
    folder: &'a Folder,
    file: File,
    part: &'a [u8],
    /// Whether it is there under the partial's name.
    named: bool,
    kept: bool,
}

impl<'a> Draft<'a> {
    fn create(folder: &'a Folder, part: &'a [u8]) -> io::Result<Self> {
        const UNKNOWN: [i32; 3] = [
            Errno::OPNOTSUPP.raw_os_error(),
            Errno::ISDIR.raw_os_error(),
            Errno::INVAL.raw_os_error(),
        ];
        let (file, named) = match folder.create_nameless() {
            Ok(file) => (file, false),
            Err(error) if error.raw_os_error().is_some_and(|n| UNKNOWN.contains(&n)) => {
                (folder.create_file(part)?, true)
            }
            Err(error) => return Err(error),
        };
        Ok(Self { folder, file, part, named, kept: false })
    }

    /// Gives the file its name, unless there is something under it now.
    fn name_new(&self, name: &[u8]) -> io::Result<bool> {
        let named = if self.named {
            self.folder.rename_new(self.part, name)
        } else {
            self.folder.name_file(&self.file, name)
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            named => named.map(|()| true),
        }
    }

    /// Leaves the file under the partial's name.
    fn keep(mut self) -> io::Result<()> {
        if !self.named {
            self.folder.name_file(&self.file, self.part)?;
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.named && !self.kept {
            // It has its own name by now, or nobody wants it.
            let _ = self.folder.remove(self.part);
        }
    }
}
