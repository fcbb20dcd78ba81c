//! What a name is when it is not a regular file.

use rustix::fs::{FileType, Stat};

use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};

/// The kind of a name, or `None` if it is a regular file.
pub(crate) fn file_kind(stat: &Stat) -> Option<FileKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some(FileKind::Directory),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::Symlink => Some(FileKind::Symlink),
        _ => Some(FileKind::Device),
    }
}

/// The failure to open `path` as a regular file.
pub(crate) fn not_a_file(path: &[u8], kind: FileKind) -> Failure {
    Failure { action: Action::Open, path: Some(path.to_vec()), cause: Cause::NotAFile(kind) }
}
