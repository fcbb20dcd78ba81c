//! The root of a tree at the receiver: opened as the operator named it, and made if it does not exist.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::decided::DirectoryState;
use crate::confined::{Dir, named, open_up, overrides_permissions, readable_or_not};
use crate::destination::{Place, PlaceId};
use crate::error::{failed, sys_failed};
use crate::file::Owner;
use crate::file::private_file;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::Destination;
use lariat_wire::protocol::tree::TreeOptions;

/// A process that only tests the lock holds it for an instant: the number of retries, and the time between two.
const RETRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// An open root.
pub struct TreeTarget {
    pub(super) directory: Dir,
    pub(super) path: Vec<u8>,
    pub(super) owner: Owner,
    pub(super) state: DirectoryState,
    /// Whether the root is locked for this transfer.
    pub(super) locked: bool,
}

impl TreeTarget {
    /// Opens the root, and makes it and its parents if they are missing. A relative destination begins at `base`.
    pub fn open(base: &Path, dest: &Destination, owner: Owner) -> Result<Self, Failure> {
        let place = Place::resolve_directory(base, dest)?;
        let path = place.path().into_os_string().into_encoded_bytes();
        let name = place.name.as_slice();
        if name.is_empty() {
            // `/`, the home, or a path that ends in `..`: it exists.
            let directory = Dir::from_open(place.into_directory());
            let directory = directory.map_err(failed(Action::Open, &path))?;
            return Ok(Self { directory, path, owner, state: DirectoryState::Old, locked: false });
        }
        let mode = Mode::RWXU;
        let state = match rustix::fs::mkdirat(&place.directory, name, mode) {
            Ok(()) => DirectoryState::New,
            Err(Errno::EXIST) => DirectoryState::Old,
            Err(errno) => return Err(sys_failed(Action::MakeDirectory, &path)(errno)),
        };
        // An existing name may be the operator's own link. A new one can't be.
        let strict = if state == DirectoryState::New { OFlags::NOFOLLOW } else { OFlags::empty() };
        let (flags, name) = (OFlags::DIRECTORY | strict, Path::new(OsStr::from_bytes(name)));
        let open = |access| named::open_at(&place.directory, name, flags | access);
        if state == DirectoryState::Old && !overrides_permissions() {
            // The final attributes restore the mode.
            let pinned = open(OFlags::PATH).map_err(failed(Action::Open, &path))?;
            open_up(&pinned);
        }
        let directory = readable_or_not(open).map_err(failed(Action::Open, &path))?;
        let directory = Dir::from_open(directory).map_err(failed(Action::Open, &path))?;
        Ok(Self { directory, path, owner, state, locked: false })
    }

    /// Opens the root for a dry run, and makes nothing.
    pub fn open_dry_run(base: &Path, dest: &Destination, owner: Owner) -> Result<Self, Failure> {
        let path = Place::directory_path(base, dest);
        let bytes = path.as_os_str().as_bytes().to_vec();
        let (directory, state) = match Dir::open(&path) {
            Ok(directory) => (directory, DirectoryState::Old),
            // Nothing is opened below a root that does not exist, so any directory serves.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let none = Dir::open(Path::new("/")).map_err(failed(Action::Open, b"/"))?;
                (none, DirectoryState::Imagined)
            }
            Err(error) => return Err(Failure::io(Action::Open, &bytes, &error)),
        };
        Ok(Self { directory, path: bytes, owner, state, locked: false })
    }

    /// Refuses `--delete` into `/` or the user's home directory without `--max-delete`.
    pub fn check_delete(&self, home: &Path, options: &TreeOptions) -> Result<(), Failure> {
        if !options.delete || options.max_delete.is_some() || self.state != DirectoryState::Old {
            return Ok(());
        }
        let root = self.id()?;
        let is = |path: &Path| {
            let directory = Dir::open(path).and_then(|directory| directory.stat_self());
            directory.is_ok_and(|stat| PlaceId::new(stat.st_dev, stat.st_ino) == root)
        };
        if is(Path::new("/")) || is(home) {
            let path = Some(self.path.clone());
            return Err(Failure { action: Action::Request, path, cause: Cause::Unbounded });
        }
        Ok(())
    }

    /// Locks the root for this transfer, which at its end may remove what another one has just written. Fails if
    /// another transfer holds the lock.
    pub fn lock(&mut self) -> Result<(), Failure> {
        if self.state == DirectoryState::Imagined {
            return Ok(());
        }
        for attempt in 0..=RETRIES {
            match rustix::fs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if attempt < RETRIES => std::thread::sleep(RETRY_AFTER),
                Err(Errno::WOULDBLOCK) => break,
                locked => {
                    // Some file systems have no locks.
                    self.locked = locked.is_ok();
                    return Ok(());
                }
            }
        }
        Err(private_file::held(&self.path))
    }

    /// The root's path, as it was resolved.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Which directory it is.
    pub fn id(&self) -> Result<PlaceId, Failure> {
        let stat = self.directory.stat_self().map_err(failed(Action::Open, &self.path))?;
        Ok(PlaceId::new(stat.st_dev, stat.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_base::name::KeyId;

    #[test]
    fn a_home_or_the_root_itself_is_cleared_within_a_bound_only() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("sub")).unwrap();
        let user = rustix::process::geteuid().as_raw();
        let checked = |path: &str, name: &str, max_delete| {
            let dest = Destination { path: path.into(), name: name.into() };
            let target =
                TreeTarget::open_dry_run(home.path(), &dest, Owner { key: KeyId([0; 16]), user })
                    .unwrap();
            let options = TreeOptions { delete: true, max_delete, ..TreeOptions::default() };
            target.check_delete(home.path(), &options).map_err(|failure| failure.cause)
        };
        for path in ["", ".", "sub/..", "./", "/", "/tmp/.."] {
            assert_eq!(checked(path, "", None), Err(Cause::Unbounded), "{path}");
            assert_eq!(checked(path, "", Some(3)), Ok(()), "{path}");
        }
        assert_eq!(checked("", "sub", None), Ok(()));
        assert_eq!(checked("sub", "", None), Ok(()));
        assert_eq!(checked("/", "no-such-directory", None), Ok(()));
    }
}
