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
use super::shared::{LastDirectory, Shared, Wanted};
use crate::confined::Dir;
use crate::error::failed;
use crate::replaced::Replaced;
use crate::{commit, end_state, in_place};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::tree::PackedHead;

/// A pack, and whose bytes are where in it.
pub(super) struct Job {
    pub(super) body: Vec<u8>,
    pub(super) files: Vec<(Wanted, PackedHead, Range<usize>)>,
}

/// Writes all files of a pack. Gives how many there are now, and their bytes.
pub(super) fn write(shared: &Shared, replacements: &Replacements, job: Job) -> (u64, u64) {
    let mut last = LastDirectory::default();
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
    last: &mut LastDirectory,
    wanted: Wanted,
    hash: [u8; 32],
    content: &[u8],
) -> Result<(), Failure> {
    let path = shared.shown(&wanted.directory, &wanted.name);
    if *blake3::hash(content).as_bytes() != hash {
        let cause = Cause::Mismatch;
        return Err(Failure { action: Action::Verify, path: Some(path), cause });
    }
    let directory = last.open(shared, &wanted.directory)?;
    shared.touch(&directory).map_err(failed(Action::Open, &path))?;
    let old = if wanted.replaces { Replaced::find(&*directory, &wanted.name) } else { None };
    let equal = old.as_ref().filter(|old| old.has(content));
    if equal.and_then(|old| commit::touch(old, &wanted.attributes)).is_some() {
        shared.arrived(wanted.linked);
        return Ok(());
    }
    if shared.finish.in_place && wanted.replaces && !wanted.clears {
        let given_mode = shared.finish.mode.is_some();
        let (directory, attributes) = (directory.as_fd(), &wanted.attributes);
        if in_place::overwrite(directory, &wanted.name, content, attributes, given_mode, &path)? {
            shared.arrived(wanted.linked);
            return Ok(());
        }
    }
    let stage = || shared.stage(&wanted.name);
    let draft = Draft::create(&directory, stage).map_err(failed(Action::Create, &path))?;
    (&draft.file).write_all(content).map_err(failed(Action::Write, &path))?;
    end_state::finish(&draft.file, &wanted.attributes, old.as_ref(), &path)?;
    if !wanted.replaces && draft.name_new(&wanted.name).map_err(failed(Action::Rename, &path))? {
        shared.arrived(wanted.linked);
        return Ok(());
    }
    let staged = draft.keep(stage).map_err(failed(Action::Rename, &path))?;
    let backup = shared.finish.backup && equal.is_none();
    let Wanted { directory, name, clears, linked, .. } = wanted;
    replacements.add(Replacement { directory, staged, name, clears, backup, linked });
    Ok(())
}

/// A file that is not complete. It goes when it is dropped before it has a name.
struct Draft<'a> {
    directory: &'a Dir,
    file: File,
    /// The temporary name under which it is there, if it has one.
    staged: Option<Vec<u8>>,
}

impl<'a> Draft<'a> {
    /// Makes one without a name, or where the file system can't do that, with the one that `stage` gives.
    fn create(directory: &'a Dir, stage: impl Fn() -> Vec<u8>) -> io::Result<Self> {
        const UNKNOWN: [i32; 3] = [
            Errno::OPNOTSUPP.raw_os_error(),
            Errno::ISDIR.raw_os_error(),
            Errno::INVAL.raw_os_error(),
        ];
        match directory.create_nameless() {
            Ok(file) => Ok(Self { directory, file, staged: None }),
            Err(error) if error.raw_os_error().is_some_and(|n| UNKNOWN.contains(&n)) => {
                let staged = stage();
                let file = anew(directory, &staged, || directory.create_file(&staged))?;
                Ok(Self { directory, file, staged: Some(staged) })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file its name, unless there is something under it now.
    fn name_new(&self, name: &[u8]) -> io::Result<bool> {
        let named = match &self.staged {
            Some(staged) => self.directory.rename_new(staged, name),
            None => self.directory.name_file(&self.file, name),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            named => named.map(|()| true),
        }
    }

    /// Leaves the file under its temporary name, which is returned.
    fn keep(mut self, stage: impl Fn() -> Vec<u8>) -> io::Result<Vec<u8>> {
        if let Some(staged) = self.staged.take() {
            return Ok(staged);
        }
        let staged = stage();
        anew(self.directory, &staged, || self.directory.name_file(&self.file, &staged))?;
        Ok(staged)
    }
}

/// Makes what gets a temporary name; one that a killed attempt left gives way.
fn anew<T>(directory: &Dir, staged: &[u8], make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            directory.remove(staged)?;
            make()
        }
        done => done,
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(staged) = &self.staged {
            // It has its own name by now, or nobody wants it.
            let _ = self.directory.remove(staged);
        }
    }
}
