//! Room for what must go on when a disk is full: files that have blocks and no content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use crate::private::{self, PrivateError};

/// Bytes that are set aside: as many as the largest private file has.
const LARGEST: u64 = 1024 * 1024;

/// Fewer are not of much use.
const SMALLEST: u64 = 64 * 1024;

/// Sets blocks aside in this file. Where there is no room, it does as much as it can.
pub fn set_aside(spare: &Path) {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(spare);
    // Even without a block it is a file, where no more files can be made.
    let Ok(file) = opened else { return };
    let mut size = LARGEST;
    while size >= SMALLEST && allocate(&file, size).is_err() {
        size /= 2;
    }
}

/// Gives an empty file the blocks for so many bytes. Its length stays 0: what is written later takes them.
pub fn allocate(file: &File, size: u64) -> io::Result<()> {
    // Some file systems need room even for blocks that are there.
    if file.metadata()?.blocks() * 512 >= size {
        return Ok(());
    }
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, 0, size)?)
}

/// Gives back what was set aside. Returns whether there was anything.
pub fn give_up(spare: &Path) -> bool {
    fs::remove_file(spare).is_ok()
}

/// Replaces a private file, as [`private::replace`] does. If there is no room, the new content goes into the blocks that
/// were set aside, if these are on the same file system.
pub fn replace(path: &Path, content: &[u8], spare: &Path) -> Result<(), PrivateError> {
    let replaced = private::replace_by(path, |new| match private::create(new, content) {
        Err(error) if error.io_kind().is_some_and(is_full) && fs::rename(spare, new).is_ok() => {
            fill(new, content).map_err(|source| PrivateError::io("write", new, source))
        }
        made => made,
    });
    set_aside(spare);
    replaced
}

/// Whether an error of this kind says that there is no room.
pub fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes into the blocks of an empty file, and gives back those that are not needed.
fn fill(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    // Blocks behind the end go only if the file becomes shorter.
    let len = content.len() as u64;
    file.set_len(len + 1)?;
    file.set_len(len)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// A small file system, gone with this.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        /// Mounts it; `None` if that can't be done.
        fn mount(options: &str) -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let options = format!("{options},mode=0700");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path());
            mount.output().is_ok_and(|done| done.status.success()).then_some(Self(directory))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }

    #[test]
    fn a_file_is_replaced_again_and_again_on_a_disk_without_a_block_or_an_inode() {
        for options in ["size=4m", "nr_inodes=8"] {
            let Some(disk) = SmallDisk::mount(options) else { return };
            let at = |name: &str| disk.0.path().join(name);
            private::create(&at("file"), b"old").unwrap();
            std::os::unix::fs::symlink("file", at("link")).unwrap();
            set_aside(&at("spare"));
            assert_eq!(at("spare").metadata().unwrap().len(), 0);
            for number in 0.. {
                let filler = vec![0; 8 * 1024 * 1024];
                if fs::write(at(&number.to_string()), filler).is_err() {
                    break;
                }
            }
            let plain = private::replace(&at("file"), &[1; 6000]).unwrap_err();
            assert!(plain.io_kind().is_some_and(is_full), "{plain}");
            for number in 0..10 {
                let content = vec![number; 6000];
                replace(&at("link"), &content, &at("spare")).unwrap();
                assert_eq!(fs::read(at("file")).unwrap(), content);
                let metadata = at("file").metadata().unwrap();
                assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
                assert!(metadata.blocks() <= 16, "{options}: {}", metadata.blocks());
            }
            assert!(at("link").is_symlink());
        }
    }

    #[test]
    fn what_does_not_fit_leaves_the_old_file() {
        let Some(disk) = SmallDisk::mount("size=2m") else { return };
        let [file, spare] = ["file", "spare"].map(|name| disk.0.path().join(name));
        private::create(&file, b"old").unwrap();
        set_aside(&spare);
        let error = replace(&file, &vec![1; 3 * 1024 * 1024], &spare).unwrap_err();
        assert!(error.io_kind().is_some_and(is_full), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"old");
        replace(&file, b"new", &spare).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
