//! Removes the abandoned temporary files of one owner below a directory. Files that a transfer uses stay.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir as Listing, FileType};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::confined::{Dir, Names, join, shown};
use crate::error::TransferError;
use crate::file::Owner;
use crate::file::in_use::{self, DirectoryId, tree_is_under_way};
use crate::file::private_file;
use crate::file::temporary::{Kind, Temporary};
use crate::offload::{offload, unexpected};
use lariat_wire::link::Link;
use lariat_wire::protocol::clean::Cleaned;
use lariat_wire::protocol::failure::{Action, Failure};

/// File systems without storage, by their magic numbers: proc, sysfs.
const NO_STORAGE: [i64; 2] = [0x9fa0, 0x6265_6572];

/// The most failures that are reported.
const MAX_FAILURES: usize = 1000;

/// The result of a clean.
#[derive(Debug, Default)]
pub struct Done {
    /// What was removed.
    pub cleaned: Cleaned,
    /// What could not be read or removed.
    pub failures: Vec<Failure>,
}

/// Removes the owner's abandoned temporary files below an open directory, on a thread of its own: this may
/// take longer than a silent peer is waited for. `path` is the directory's path for failures. `dry_run` only
/// counts.
pub async fn clean_for<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    root: Dir,
    path: Vec<u8>,
    owner: Owner,
    dry_run: bool,
) -> Result<Done, TransferError> {
    let work = move |tell: oneshot::Sender<Done>| {
        let mut failures = Vec::new();
        let cleaned = clean(&root, owner, dry_run, &mut |action, below, errno| {
            if failures.len() < MAX_FAILURES {
                let shown = shown(&path, below);
                failures.push(Failure::io(action, &shown, &errno.into()));
            }
        });
        // Fails only when the request is over.
        let _ = tell.send(Done { cleaned, failures });
    };
    offload("clean", work, unexpected(link)).await
}

/// Removes the owner's abandoned temporary files below an open directory, without following links. `dry_run` only
/// counts them. `failed` gets failures, and the rest goes on.
fn clean(
    root: &Dir,
    owner: Owner,
    dry_run: bool,
    failed: &mut dyn FnMut(Action, &[u8], Errno),
) -> Cleaned {
    Cleaner { root, owner, dry_run, staged_only: None, failed, cleaned: Cleaned::default() }.run()
}

/// Removes the staged files that a killed attempt at the tree below `root` left. The caller has locked the root,
/// whose id is `id`.
pub(super) fn staged(root: &Dir, owner: Owner, id: DirectoryId) -> Cleaned {
    let (staged_only, failed) = (Some(id), &mut |_: Action, _: &[u8], _: Errno| ());
    Cleaner { root, owner, dry_run: false, staged_only, failed, cleaned: Cleaned::default() }.run()
}

struct Cleaner<'a> {
    root: &'a Dir,
    owner: Owner,
    dry_run: bool,
    /// Only staged files of the tree with this root are removed.
    staged_only: Option<DirectoryId>,
    failed: &'a mut dyn FnMut(Action, &[u8], Errno),
    cleaned: Cleaned,
}

/// A directory on the way down.
struct Level {
    path: Vec<u8>,
    device: u64,
    inside: Names,
    next: usize,
}

impl Cleaner<'_> {
    fn run(mut self) -> Cleaned {
        let mut levels: Vec<Level> = self.enter(&[], None).into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.inside.get(level.next) else {
                levels.pop();
                continue;
            };
            level.next += 1;
            let (path, device) = (join(&level.path, name), level.device);
            levels.extend(self.enter(&path, Some(device)));
        }
        self.cleaned
    }

    /// Cleans one directory.
    fn enter(&mut self, path: &[u8], around: Option<u64>) -> Option<Level> {
        match self.directory(path, around) {
            Ok(level) => level,
            // It was removed or replaced meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => None,
            Err(errno) => {
                (self.failed)(Action::Read, path, errno);
                None
            }
        }
    }

    fn directory(&mut self, path: &[u8], around: Option<u64>) -> Result<Option<Level>, Errno> {
        let directory = self.root.enter(path).map_err(|error| errno_of(&error))?;
        let (device, _) = in_use::id_of(&directory)?;
        if around != Some(device)
            && rustix::fs::fstatfs(&directory).is_ok_and(|disk| NO_STORAGE.contains(&disk.f_type))
        {
            return Ok(None);
        }
        let (mut inside, mut temporary) = (Names::default(), Names::default());
        for entry in Listing::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let kind = match entry.file_type() {
                FileType::Unknown => match directory.stat(name) {
                    Ok(Some(stat)) => FileType::from_raw_mode(stat.st_mode),
                    _ => continue,
                },
                kind => kind,
            };
            if kind.is_dir() && !matches!(name, b"." | b"..") {
                inside.push(name);
            } else if Temporary::parse(name).is_some_and(|found| found.is_of(self.owner)) {
                temporary.push(name);
            }
        }
        let mut under_way = None;
        for name in temporary.iter() {
            let Some(found) = Temporary::parse(name) else { continue };
            let staged_only = self.staged_only;
            let mut under_way =
                || *under_way.get_or_insert_with(|| tree_is_under_way(&directory, staged_only));
            match self.temporary(&directory, name, &found, &mut under_way) {
                Ok(()) | Err(Errno::NOENT | Errno::LOOP) => {}
                Err(errno) => (self.failed)(Action::Remove, &join(path, name), errno),
            }
        }
        Ok(Some(Level { path: path.to_vec(), device, inside, next: 0 }))
    }

    /// Removes one temporary file, unless a transfer uses it.
    fn temporary(
        &mut self,
        directory: &Dir,
        name: &[u8],
        found: &Temporary<'_>,
        under_way: &mut dyn FnMut() -> bool,
    ) -> Result<(), Errno> {
        match found.kind {
            Kind::Partial if self.staged_only.is_none() => {
                let Some(locked) = in_use::lock(directory, name)? else { return Ok(()) };
                // Its transfer may have renamed it before it was locked here.
                if !private_file::is_at(directory, name, &locked).unwrap_or(false) {
                    return Ok(());
                }
                self.remove(directory, found.sibling(Kind::Journal).as_bytes(), false)?;
                self.remove(directory, name, true)
            }
            Kind::Journal if self.staged_only.is_none() => {
                let part = directory.stat(found.sibling(Kind::Partial).as_bytes());
                if !matches!(part, Ok(None)) || under_way() {
                    return Ok(());
                }
                self.remove(directory, name, false)
            }
            Kind::Staged if !under_way() => self.remove(directory, name, true),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, directory: &Dir, name: &[u8], counts: bool) -> Result<(), Errno> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let bytes = match stat {
            Ok(stat) => u64::try_from(stat.st_size).unwrap_or_default(),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if !self.dry_run {
            rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::empty())?;
        }
        if counts {
            self.cleaned.files += 1;
            self.cleaned.bytes += bytes;
        }
        Ok(())
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::temporary::{PartialNames, TreeNames};
    use lariat_base::name::KeyId;
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn owner(key: u8) -> Owner {
        Owner { key: KeyId([key; 16]), user: 0 }
    }

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            let world = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(world.at("root/a/b")).unwrap();
            world
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn root(&self) -> Dir {
            Dir::open(&self.at("root")).unwrap()
        }

        /// Makes a partial with its journal, and a staged file.
        fn fill(&self, directory: &str, owner: Owner) {
            let names = PartialNames::of(b"file", owner);
            let tree = TreeNames::of_root(owner, &self.root().stat_self().unwrap());
            let staged = String::from_utf8(tree.staged(b"file")).unwrap();
            for name in [names.part, names.journal, staged] {
                std::fs::write(self.at(directory).join(name), "12345").unwrap();
            }
        }

        fn clean(&self, owner: Owner, dry_run: bool) -> Cleaned {
            clean(&self.root(), owner, dry_run, &mut |_, path, errno| panic!("{path:?}: {errno}"))
        }

        fn count(&self, directory: &str) -> usize {
            let files = std::fs::read_dir(self.at(directory)).unwrap();
            files.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count()
        }
    }

    #[test]
    fn what_is_abandoned_goes_from_every_directory_below_and_no_other() {
        let world = World::new();
        std::fs::create_dir(world.at("beside")).unwrap();
        symlink(world.at("beside"), world.at("root/a/link")).unwrap();
        for directory in ["root", "root/a/b", "beside"] {
            world.fill(directory, owner(1));
            world.fill(directory, owner(2));
            std::fs::write(world.at(directory).join("file"), "x").unwrap();
        }
        let expected = Cleaned { files: 4, bytes: 20 };
        assert_eq!(world.clean(owner(1), true), expected);
        assert_eq!(world.count("root"), 7);
        assert_eq!(world.clean(owner(1), false), expected);
        assert_eq!((world.count("root"), world.count("root/a/b")), (4, 4));
        assert_eq!(world.count("beside"), 7);
        assert_eq!(world.clean(owner(1), false), Cleaned::default());
        assert_eq!(world.clean(owner(2), false), expected);
    }

    #[test]
    fn what_is_in_use_stays() {
        let world = World::new();
        world.fill("root", owner(1));
        world.fill("root/a/b", owner(1));
        let part = world.at("root").join(PartialNames::of(b"file", owner(1)).part);
        let held = File::open(part).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        // A tree is under way in here.
        let tree = File::open(world.at("root/a")).unwrap();
        rustix::fs::flock(&tree, rustix::fs::FlockOperation::LockExclusive).unwrap();
        // The staged file of the root and the partial below, which is no tree's.
        assert_eq!(world.clean(owner(1), false).files, 2);
        assert_eq!((world.count("root"), world.count("root/a/b")), (2, 1));
        drop((held, tree));
        assert_eq!(world.clean(owner(1), false).files, 2);
        assert_eq!((world.count("root"), world.count("root/a/b")), (0, 0));
    }

    #[test]
    fn a_tree_takes_only_what_its_own_killed_attempts_have_staged() {
        let world = World::new();
        world.fill("root/a/b", owner(1));
        world.fill("root", owner(1));
        let root = world.root();
        rustix::fs::flock(&root, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let id = in_use::id_of(&root).unwrap();
        let nested = File::open(world.at("root/a")).unwrap();
        rustix::fs::flock(&nested, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(staged(&root, owner(1), id).files, 1);
        assert_eq!((world.count("root"), world.count("root/a/b")), (2, 3));
        drop(nested);
        assert_eq!(staged(&root, owner(1), id).files, 1);
        assert_eq!((world.count("root"), world.count("root/a/b")), (2, 2));
    }
}
