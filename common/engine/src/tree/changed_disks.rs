//! The file systems that a tree's transfer has changed, which are synced as a whole.

use std::io;
use std::sync::Mutex;

use lariat_base::lock::lock;
use rustix::io::Errno;

use crate::confined::Dir;

/// One open directory on each changed file system, by device.
#[derive(Default)]
pub(super) struct ChangedDisks(Mutex<Vec<(u64, Dir)>>);

impl ChangedDisks {
    /// Records that something in this directory is about to be changed.
    pub(super) fn add(&self, directory: &Dir) -> io::Result<()> {
        let device = directory.stat_self()?.st_dev;
        let mut disks = lock(&self.0);
        if disks.iter().all(|(known, _)| *known != device) {
            disks.push((device, directory.enter(b"")?));
        }
        Ok(())
    }

    /// Whether nothing was changed.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Syncs all of them.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        let disks = lock(&self.0);
        disks.iter().try_for_each(|(_, disk)| match rustix::fs::syncfs(disk) {
            // A directory that may not be read can't be synced, but a file on its file system can.
            Err(Errno::BADF) => disk.create_nameless().map_or_else(
                |_| {
                    rustix::fs::sync();
                    Ok(())
                },
                rustix::fs::syncfs,
            ),
            synced => synced,
        })
    }
}
