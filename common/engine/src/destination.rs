//! Resolves destinations. A file gets the name DEST, or goes into DEST if that ends in `/` or is an existing
//! directory. A directory goes into DEST under its own name or, if its contents are meant, becomes DEST itself.
//! Missing parents are made.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::confined::named;
use crate::confined::open_followed;
use crate::error::failed;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::transfer::Destination;

/// Why a source without a name can't get a destination.
const IS_A_DIRECTORY: Cause = Cause::NotAFile(FileKind::Directory);

/// An open directory and the name of a file in it.
#[derive(Debug)]
pub struct Place {
    /// Every later step is relative to this descriptor, so replacing the directory changes nothing.
    pub(super) directory: File,
    /// For failures.
    pub(super) directory_path: PathBuf,
    /// One component.
    pub(super) name: Vec<u8>,
}

/// Identifies a directory, whatever its path: device and inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PlaceId(u64, u64);

impl PlaceId {
    /// The id of this device and inode.
    pub(super) fn new(device: u64, inode: u64) -> Self {
        Self(device, inode)
    }
}

impl Place {
    /// Resolves the destination of a file. A relative one begins at `base`. Makes missing directories.
    pub fn resolve(base: &Path, dest: &Destination) -> Result<Self, Failure> {
        let (directory_path, name) = Self::locate(base, dest)?;
        let directory = open_directory(&directory_path)?;
        Ok(Self { directory, directory_path, name })
    }

    /// Resolves the destination of a directory. If DEST is `/`, empty, or ends in `.` or `..`, the name is empty
    /// and the place is the open directory itself.
    pub(crate) fn resolve_directory(base: &Path, dest: &Destination) -> Result<Self, Failure> {
        let (directory, name) = split_tree(dest);
        let directory_path = base.join(OsStr::from_bytes(directory));
        let directory = open_directory(&directory_path)?;
        Ok(Self { directory, directory_path, name: name.to_vec() })
    }

    /// The directory's path and the name that a file would get. Makes nothing.
    pub(super) fn locate(base: &Path, dest: &Destination) -> Result<(PathBuf, Vec<u8>), Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let is_directory =
            |path: &[u8]| named::open(&base.join(OsStr::from_bytes(path)), flags).is_ok();
        let (directory, name) = split(&dest.path, &dest.name, is_directory);
        let directory = base.join(OsStr::from_bytes(directory));
        if name.is_empty() {
            let path = Some(directory.into_os_string().into_encoded_bytes());
            return Err(Failure { action: Action::Create, path, cause: IS_A_DIRECTORY });
        }
        Ok((directory, name.to_vec()))
    }

    /// The path that a directory would get.
    pub(super) fn directory_path(base: &Path, dest: &Destination) -> PathBuf {
        let (directory, name) = split_tree(dest);
        join_name(&base.join(OsStr::from_bytes(directory)), name)
    }

    /// The open directory.
    pub(super) fn into_directory(self) -> std::os::fd::OwnedFd {
        self.directory.into()
    }

    /// A name in an open directory.
    pub(super) fn within(directory: File, directory_path: PathBuf, name: Vec<u8>) -> Self {
        Self { directory, directory_path, name }
    }

    /// The directory's id.
    pub fn id(&self) -> io::Result<PlaceId> {
        let metadata = self.directory.metadata()?;
        Ok(PlaceId(metadata.dev(), metadata.ino()))
    }

    /// The file's whole path.
    pub fn path(&self) -> PathBuf {
        join_name(&self.directory_path, &self.name)
    }
}

/// Joins a directory and a name. An empty name adds no slash.
fn join_name(directory: &Path, name: &[u8]) -> PathBuf {
    if name.is_empty() { directory.to_owned() } else { directory.join(OsStr::from_bytes(name)) }
}

/// The parent of a tree's root, and the root's name in it. The name is empty if the parent is the root itself.
fn split_tree(dest: &Destination) -> (&[u8], &[u8]) {
    if !dest.name.is_empty() {
        return (&dest.path, &dest.name);
    }
    let end = dest.path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
    let plain = &dest.path[..end];
    let (parent, last) = match plain.iter().rposition(|&b| b == b'/') {
        Some(slash) => plain.split_at(slash + 1),
        None => (&b""[..], plain),
    };
    if matches!(last, b"" | b"." | b"..") { (&dest.path, b"") } else { (parent, last) }
}

/// The directory, and the name in it, of a file called `name` that is sent to `path`.
fn split<'a>(
    path: &'a [u8],
    name: &'a [u8],
    is_directory: impl FnOnce(&[u8]) -> bool,
) -> (&'a [u8], &'a [u8]) {
    let (parent, last) = match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    let inside = matches!(last, b"" | b"." | b"..") || is_directory(path);
    if inside { (path, name) } else { (parent, last) }
}

fn open_directory(path: &Path) -> Result<File, Failure> {
    let bytes = path.as_os_str().as_bytes();
    let open = || open_followed(path).map(File::from);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            named::make_all(path).map_err(failed(Action::MakeDirectory, bytes))?;
            open().map_err(failed(Action::Open, bytes))
        }
        directory => directory.map_err(failed(Action::Open, bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parents_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let dest = Destination { path: b"a/./b/../c/name".to_vec(), name: b"x".to_vec() };
        Place::resolve(directory.path(), &dest).unwrap();
        assert!(directory.path().join("a/c").is_dir());
        let dest = Destination { path: b"d/./e/name".to_vec(), name: b"x".to_vec() };
        let place = Place::resolve(directory.path(), &dest).unwrap();
        assert!(directory.path().join("d/e").is_dir());
        assert_eq!(place.path(), directory.path().join("d/./e/name"));
    }

    #[test]
    fn what_has_no_name_does_not_go_into_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let there = |path: &str| {
            let dest = Destination { path: path.into(), name: Vec::new() };
            Place::resolve(directory.path(), &dest).map(|place| place.path())
        };
        assert_eq!(there("a/b"), Ok(directory.path().join("a/b")));
        for path in ["a", "a/", "."] {
            assert_eq!(there(path).unwrap_err().cause, IS_A_DIRECTORY, "{path}");
        }
        assert!(std::fs::read_dir(directory.path().join("a")).unwrap().next().is_none());
    }

    #[test]
    fn a_tree_goes_into_dest_and_its_contents_become_dest() {
        let split = |path: &str, name: &str| {
            let dest = Destination { path: path.into(), name: name.into() };
            let (directory, name) = split_tree(&dest);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(directory), text(name))
        };
        for path in ["/srv/www", "/srv/www/", "", ".", "a/.."] {
            assert_eq!(split(path, "site"), (path.to_owned(), "site".to_owned()));
        }
        for (path, directory, name) in [
            ("/srv/www", "/srv/", "www"),
            ("/srv/www//", "/srv/", "www"),
            ("www", "", "www"),
            ("", "", ""),
            ("/", "/", ""),
            ("//", "//", ""),
            ("./", "./", ""),
            ("a/..", "a/..", ""),
        ] {
            assert_eq!(split(path, ""), (directory.to_owned(), name.to_owned()), "{path}");
        }
    }

    #[test]
    fn dest_is_the_name_and_dest_slash_the_directory() {
        let split = |path: &'static str, there| {
            let (directory, name) = split(path.as_bytes(), b"src", |_| there);
            (str::from_utf8(directory).unwrap(), str::from_utf8(name).unwrap())
        };
        assert_eq!(split("/srv/www", false), ("/srv/", "www"));
        assert_eq!(split("/srv/www", true), ("/srv/www", "src"));
        assert_eq!(split("/srv/", false), ("/srv/", "src"));
        assert_eq!(split("www", false), ("", "www"));
        assert_eq!(split("", false), ("", "src"));
        assert_eq!(split("/", true), ("/", "src"));
        assert_eq!(split("a/..", false), ("a/..", "src"));
        assert_eq!(split(".", false), (".", "src"));
    }
}
