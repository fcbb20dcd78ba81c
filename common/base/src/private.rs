//! Private files: mode 0600 in directories of mode 0700. A file that others can access is refused.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::os_error::io_error;

/// Largest private file, in bytes: keys and certificates are small.
const MAX_LEN: u64 = 1024 * 1024;

/// Why a private file could not be read or created.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// A system call failed.
    #[error("{action} {}: {}", path.display(), io_error(source))]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Users other than its owner have access.
    #[error(
        "{} is open to others (mode {mode:04o}), and must be its owner's alone; try: chmod {} {}",
        path.display(), if *directory { "700" } else { "600" }, path.display()
    )]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a directory.
        directory: bool,
    },
    /// It belongs to another user.
    #[error(
        "{} belongs to user {owner}, not to the user {user} that reads it; if you trust it, try: chown {user} {}",
        path.display(), path.display()
    )]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// It is not UTF-8 text.
    #[error("{}:{line}: this is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is not UTF-8, from 1.
        line: usize,
    },
    /// It is a directory.
    #[error("{} is a directory, and a file is needed", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// It is not a regular file, or is too large for a key or certificate.
    #[error("{} is not a regular file of at most 1 MiB", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
}

impl PrivateError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// The kind of the system's error, if it is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether there is no such file, because its directory may be none: who opens that reports it.
    pub fn is_not_there(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// The permissions that others have not in a private file.
const PRIVATE: u32 = 0o077;

/// The permissions that others have not in a file without secrets.
const PUBLIC: u32 = 0o022;

/// Reads a private file, whose directory must be private too. The content is zeroized when dropped.
pub fn read(path: &Path) -> Result<Zeroizing<String>, PrivateError> {
    read_without(PRIVATE, path)
}

/// Reads a file without secrets, such as a certificate, in a private directory: others may have the permission to read
/// it, and not to change it.
pub fn read_public(path: &Path) -> Result<Zeroizing<String>, PrivateError> {
    read_without(PUBLIC, path)
}

fn read_without(others: u32, path: &Path) -> Result<Zeroizing<String>, PrivateError> {
    let io = |e| PrivateError::io("read", path, e);
    // Opening a FIFO in the file's place must not block.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        return Err(PrivateError::Directory { path: path.to_owned() });
    }
    if !metadata.is_file() || metadata.len() > MAX_LEN {
        return Err(PrivateError::NotAFile { path: path.to_owned() });
    }
    check_mode(path, &metadata, others, false)?;
    check_owner(path, &metadata)?;
    check_directory(parent(path))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    // It may have grown since.
    file.take(MAX_LEN).read_to_end(&mut bytes).map_err(io)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|&byte| byte == b'\n').count();
        PrivateError::NotText { path: path.to_owned(), line }
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Refuses a directory that other users can access.
pub fn check_directory(path: &Path) -> Result<(), PrivateError> {
    let metadata = path.metadata().map_err(|e| PrivateError::io("open", path, e))?;
    check_mode(path, &metadata, PRIVATE, true)?;
    check_owner(path, &metadata)
}

/// Refuses a regular file that others than its owner can access. A pipe passes.
pub fn check_file_mode(path: &Path, file: &File) -> Result<(), PrivateError> {
    let metadata = file.metadata().map_err(|e| PrivateError::io("open", path, e))?;
    if metadata.is_file() { check_mode(path, &metadata, PRIVATE, false) } else { Ok(()) }
}

fn check_mode(
    path: &Path,
    metadata: &Metadata,
    others: u32,
    directory: bool,
) -> Result<(), PrivateError> {
    let mode = metadata.mode() & 0o7777;
    if mode & others != 0 {
        return Err(PrivateError::Exposed { path: path.to_owned(), mode, directory });
    }
    Ok(())
}

/// Any user may use a file of root's, but root does not trust a file that another user may have written.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), PrivateError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user && owner != 0 {
        return Err(PrivateError::Foreign { path: path.to_owned(), owner, user });
    }
    Ok(())
}

/// Creates a file of mode 0600 with this content, synced to disk. An existing file is an error, and stays as
/// it is.
pub fn create(path: &Path, content: &[u8]) -> Result<(), PrivateError> {
    let io = |e| PrivateError::io("create", path, e);
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    // The umask may have removed further bits.
    file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(io)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(io)
}

/// Replaces a file by one of mode 0600 with this content. At any instant either the old or the new file
/// exists. A symbolic link stays, and its target is replaced. Files that a killed process left behind are
/// removed, so callers must not replace the same file concurrently.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), PrivateError> {
    replace_by(path, |new| create(new, content))
}

/// The file that a path leads to, if it is there.
pub(crate) fn target(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Replaces a file as [`replace`] does, by one that `make` makes.
pub(crate) fn replace_by(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<(), PrivateError>,
) -> Result<(), PrivateError> {
    let path = &target(path);
    let io = |e| PrivateError::io("write", path, e);
    remove_unfinished(path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let _ = std::fs::remove_file(&new);
    make(&new)?;
    std::fs::rename(&new, path).map_err(io)?;
    File::open(parent(path)).and_then(|directory| directory.sync_all()).map_err(io)
}

/// Removes the files that a killed [`replace`] left behind: `NAME.PID.new`.
fn remove_unfinished(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let is_left = |other: &str| {
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        let number = rest.and_then(|rest| rest.strip_suffix(".new"));
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    for entry in std::fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            // A file that stays does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Creates a directory of mode 0700 and its missing parents, or takes over an empty one of this user or root. One that
/// is not empty is left unchanged, and [`PrivateError::Io`] with [`io::ErrorKind::AlreadyExists`] is returned.
pub fn create_directory(path: &Path) -> Result<(), PrivateError> {
    let io = |e| PrivateError::io("make directory", path, e);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
    if std::fs::read_dir(path).map_err(io)?.next().is_some() {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    check_owner(path, &path.metadata().map_err(io)?)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(io)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
        directory
    }

    #[test]
    fn a_link_stays_and_what_was_left_unfinished_goes() {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        create(&at("real"), b"old").unwrap();
        create(&at("real.123.new"), b"half").unwrap();
        create(&at("real.x.new"), b"somebody's").unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        replace(&at("link"), b"new").unwrap();
        assert!(at("link").is_symlink() && !at("real.123.new").exists());
        assert!(at("real.x.new").exists());
        assert_eq!(std::fs::read(at("real")).unwrap(), b"new");
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        let directory = directory();
        let path = directory.path().join("f");
        create(&path, b"one\ntwo \xff\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.ends_with("f:2: this is not UTF-8 text"), "{error}");
    }

    #[test]
    fn what_is_made_can_be_read_and_is_never_overwritten() {
        let directory = directory();
        let path = directory.path().join("key");
        create(&path, b"secret").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&path).unwrap().as_str(), "secret");
        let again = create(&path, b"other").unwrap_err();
        assert_eq!(again.io_kind(), Some(io::ErrorKind::AlreadyExists));
        replace(&path, b"newer").unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "newer");
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let directory = directory();
        let path = directory.path().join("key");
        create(&path, b"secret").unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        for mode in [0o640, 0o604, 0o620, 0o601] {
            chmod(&path, mode);
            assert!(matches!(read(&path), Err(PrivateError::Exposed { directory: false, .. })));
            assert_eq!(read_public(&path).is_ok(), mode & 0o022 == 0, "{mode:o}");
        }
        chmod(&path, 0o400);
        assert!(read(&path).is_ok());
        chmod(directory.path(), 0o755);
        assert!(matches!(read(&path), Err(PrivateError::Exposed { directory: true, .. })));
    }

    #[test]
    fn root_refuses_what_another_user_owns() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give files away.
            return;
        }
        let directory = directory();
        let path = directory.path().join("key");
        create(&path, b"secret").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(matches!(refused, PrivateError::Foreign { owner: 12345, user: 0, .. }));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        std::os::unix::fs::chown(directory.path(), Some(12345), None).unwrap();
        assert!(matches!(read(&path), Err(PrivateError::Foreign { .. })));
    }

    #[test]
    fn a_fifo_or_directory_in_its_place_does_not_hold_us() {
        let directory = directory();
        assert!(matches!(read(directory.path()), Err(PrivateError::Directory { .. })));
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(read(&fifo), Err(PrivateError::NotAFile { .. })));
    }

    #[test]
    fn an_empty_directory_is_taken_over_and_a_full_one_is_not() {
        let outer = directory();
        let path = outer.path().join("a/b");
        create_directory(&path).unwrap();
        create_directory(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        create(&path.join("x"), b"").unwrap();
        let full = create_directory(&path).unwrap_err();
        assert_eq!(full.io_kind(), Some(io::ErrorKind::AlreadyExists));
    }
}
