//! What the source does not have goes, or in a dry run is found: the same walk over the same names.

use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::filter::Filter;
use super::shared::Shared;
use crate::beneath::join;
use crate::protocol::failure::{Action, Cause, Failure, FileKind};
use crate::transfer::backup;
use crate::transfer::error::failed;

/// Levels of directories that a removal goes down.
const DEEPEST: usize = 2048;

/// Removes names with all that is in them, but for what is spared and the directories that it is in.
pub(super) struct Removal<'a> {
    shared: &'a Shared,
    filter: &'a Filter,
    /// Names are only found.
    look: bool,
    /// Told of each name that goes, by its path below the root: what is inside first.
    told: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Removal<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        filter: &'a Filter,
        look: bool,
        told: &'a mut dyn FnMut(&[u8]),
    ) -> Self {
        Self { shared, filter, look, told }
    }

    /// Removes a name. With backups files get their backups' names instead, which are spared.
    pub(super) fn remove(&mut self, path: &[u8], name: &[u8]) -> Result<(), Failure> {
        self.down(path, name, 0, true).map(drop)
    }

    /// Takes a directory away where something else must be. The directory itself is changed, not deleted.
    pub(super) fn make_way(&mut self, path: &[u8], name: &[u8]) -> Result<(), Failure> {
        if !self.shared.finish.backup {
            return if self.down(path, name, 0, false)? {
                Ok(())
            } else {
                let (path, cause) = (Some(self.shared.shown(path, name)), FileKind::Folder);
                Err(Failure { action: Action::Create, path, cause: Cause::NotAFile(cause) })
            };
        }
        if self.look {
            return Ok(());
        }
        let shown = self.shared.shown(path, name);
        let folder = self.shared.root.enter(path).map_err(failed(Action::Open, &shown))?;
        self.shared.touch(&folder).map_err(failed(Action::Open, &shown))?;
        backup::move_away(folder.as_fd(), name, &shown)
    }

    /// Gives whether the name has gone. No directory stays open while what is in it is removed: descriptors
    /// are few, levels may be many.
    fn down(
        &mut self,
        path: &[u8],
        name: &[u8],
        depth: usize,
        counts: bool,
    ) -> Result<bool, Failure> {
        let (shared, below) = (self.shared, join(path, name));
        let failed = failed(Action::Remove, &shared.shown(&below, b""));
        let folder = shared.root.enter(path).map_err(&failed)?;
        if !self.look {
            shared.touch(&folder).map_err(&failed)?;
        }
        let Some(stat) = folder.stat(name).map_err(&failed)? else { return Ok(true) };
        let is_folder = FileType::from_raw_mode(stat.st_mode).is_dir();
        if shared.spares(self.filter, &below, name, is_folder) {
            return Ok(false);
        }
        if !is_folder {
            let backed_up = shared.finish.backup;
            match (self.look, backed_up) {
                (true, _) => {}
                (false, true) => {
                    backup::move_away(folder.as_fd(), name, &shared.shown(&below, b""))?;
                }
                (false, false) => folder.remove(name).map_err(&failed)?,
            }
            (self.told)(&below);
            return Ok(!backed_up);
        }
        if depth >= DEEPEST {
            return Err(failed(rustix::io::Errno::NAMETOOLONG.into()));
        }
        let (inner, was) = if self.look {
            (folder.enter(name).map_err(&failed)?, None)
        } else {
            shared.enter_own(&folder, name).map_err(&failed)?
        };
        let names = inner.names().map_err(&failed)?;
        drop((folder, inner));
        let mut emptied = true;
        for inside in names.iter() {
            emptied &= self.down(&below, inside, depth + 1, true)?;
        }
        if !emptied {
            if let Some(mode) = was {
                let stays = shared.root.enter(&below).map_err(&failed)?;
                stays.set_mode(mode).map_err(&failed)?;
            }
            return Ok(false);
        }
        if !self.look {
            let folder = shared.root.enter(path).map_err(&failed)?;
            folder.remove_folder(name).map_err(&failed)?;
        }
        if counts {
            (self.told)(&below);
        }
        Ok(true)
    }
}
