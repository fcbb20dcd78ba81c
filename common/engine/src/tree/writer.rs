//! Writes small files on threads of their own.
//!
//! A new file has no name until it is complete. One that replaces another has a temporary name until it is on
//! disk.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::decided::Wanted;
use super::replacements::{Replacement, Replacements};
use super::shared::{LastDirectory, Shared};
use crate::confined::Dir;
use crate::error::failed;
use crate::file::commit;
use crate::file::in_place;
use crate::file::read_back;
use crate::metadata::end_state;
use crate::metadata::replaced::Replaced;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::tree::PackedHead;

/// A pack, and the files in it.
pub(super) struct Job {
    pub(super) body: Vec<u8>,
    pub(super) files: Vec<(Wanted, PackedHead, Range<usize>)>,
}

/// Writes all files of a pack. Returns how many were written, and their bytes.
pub(super) fn write(shared: &Shared, replacements: &Replacements, job: Job) -> (u64, u64) {
    let mut last = LastDirectory::default();
    let (mut files, mut bytes) = (0, 0);
    for (mut wanted, head, range) in job.files {
        shared.as_read(&mut wanted.attributes, head.mode, head.mtime);
        let content = &job.body[range];
        match put(shared, replacements, &mut last, wanted, content) {
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
    content: &[u8],
) -> Result<(), Failure> {
    let path = shared.shown(&wanted.directory, &wanted.name);
    let directory = last.open_to_change(shared, &wanted.directory)?;
    let old = if wanted.replaces { Replaced::find(&*directory, &wanted.name) } else { None };
    let equal = old.as_ref().filter(|old| old.has(content));
    let verify = |file: Arc<File>| {
        let read = || read_back::verify(&file, content.len() as u64, wanted.hash, &path).map(drop);
        if shared.overrides.verify { read() } else { Ok(()) }
    };
    if equal.and_then(|old| commit::touch(old, &wanted.attributes)).is_some() {
        shared.arrived(wanted.linked);
        return Ok(());
    }
    if shared.overrides.in_place && wanted.replaces && !wanted.clears {
        let given_mode = shared.overrides.mode.is_some();
        let (directory, attributes) = (directory.as_fd(), &wanted.attributes);
        let written =
            in_place::overwrite(directory, &wanted.name, content, attributes, given_mode, &path)?;
        if let Some(file) = written {
            verify(file)?;
            shared.arrived(wanted.linked);
            return Ok(());
        }
    }
    let stage = || shared.stage(&wanted.name);
    let draft = Draft::create(&directory, stage).map_err(failed(Action::Create, &path))?;
    (&*draft.file).write_all(content).map_err(failed(Action::Write, &path))?;
    verify(Arc::clone(&draft.file))?;
    end_state::finish(&draft.file, &wanted.attributes, old.as_ref(), &path)?;
    if !wanted.replaces && draft.name_new(&wanted.name).map_err(failed(Action::Rename, &path))? {
        shared.arrived(wanted.linked);
        return Ok(());
    }
    let staged = draft.keep(stage).map_err(failed(Action::Rename, &path))?;
    let backup = shared.overrides.backup && equal.is_none();
    let Wanted { directory, name, clears, linked, .. } = wanted;
    replacements.add(Replacement { directory, staged, name, clears, backup, linked });
    Ok(())
}

/// A file that is not complete. A drop removes it, unless it has its name.
struct Draft<'a> {
    directory: &'a Dir,
    file: Arc<File>,
    /// Its temporary name, if it has one.
    staged: Option<Vec<u8>>,
}

impl<'a> Draft<'a> {
    /// Creates a file without a name or, on file systems that can't, with the temporary name from `stage`.
    fn create(directory: &'a Dir, stage: impl Fn() -> Vec<u8>) -> io::Result<Self> {
        const UNKNOWN: [i32; 3] = [
            Errno::OPNOTSUPP.raw_os_error(),
            Errno::ISDIR.raw_os_error(),
            Errno::INVAL.raw_os_error(),
        ];
        match directory.create_nameless() {
            Ok(file) => Ok(Self { directory, file: Arc::new(file), staged: None }),
            Err(error) if error.raw_os_error().is_some_and(|n| UNKNOWN.contains(&n)) => {
                let staged = stage();
                let file = anew(directory, &staged, || directory.create_file(&staged))?;
                Ok(Self { directory, file: Arc::new(file), staged: Some(staged) })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file its name, and returns `false` if something else has that name.
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

    /// Leaves the file under a temporary name, which is returned.
    fn keep(mut self, stage: impl Fn() -> Vec<u8>) -> io::Result<Vec<u8>> {
        if let Some(staged) = self.staged.take() {
            return Ok(staged);
        }
        let staged = stage();
        anew(self.directory, &staged, || self.directory.name_file(&self.file, &staged))?;
        Ok(staged)
    }
}

/// Makes a temporary name. One that a killed attempt left is removed first.
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
            // It has its final name as well, or is not needed.
            let _ = self.directory.remove(staged);
        }
    }
}
