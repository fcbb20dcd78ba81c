//! Describes a name to the receiver: mode, time, and its owner by number and by name.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::Stat;

use super::acl::Described;
use super::attributes::{MODE, mode_mask, mtime};
use lariat_wire::protocol::metadata::{AclTag, Acls, Metadata, Ownership, Preserve};

/// The metadata of a name, without extended attributes, which are read from the open file.
pub(crate) fn describe(stat: &Stat, preserve: Preserve, owners: &mut OwnerNames) -> Metadata {
    Metadata {
        mode: stat.st_mode & mode_mask(preserve),
        mtime: mtime(stat),
        owner: preserve.owner.then(|| owners.of(stat)),
        xattrs: Vec::new(),
        acls: Acls::None,
    }
}

/// Names of users and groups, each looked up once.
#[derive(Default)]
pub(crate) struct OwnerNames {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl OwnerNames {
    fn of(&mut self, stat: &Stat) -> Ownership {
        let (user, group) = (self.user(stat.st_uid), self.group(stat.st_gid));
        Ownership { uid: stat.st_uid, gid: stat.st_gid, user, group }
    }

    fn user(&mut self, uid: u32) -> String {
        let name = self.users.entry(uid).or_insert_with(|| {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            user.map(|user| user.name).unwrap_or_default()
        });
        name.clone()
    }

    fn group(&mut self, gid: u32) -> String {
        let name = self.groups.entry(gid).or_insert_with(|| {
            let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
            group.map(|group| group.name).unwrap_or_default()
        });
        name.clone()
    }

    /// Adds a name's ACLs to its metadata.
    pub(crate) fn add_acls(&mut self, mut described: Described, metadata: &mut Metadata) {
        if let Acls::These { access, default } = &mut described.acls {
            for entry in access.iter_mut().chain(default) {
                match entry.tag {
                    AclTag::NamedUser => entry.name = self.user(entry.id),
                    AclTag::NamedGroup => entry.name = self.group(entry.id),
                    _ => {}
                }
            }
        }
        metadata.acls = described.acls;
        metadata.mode = metadata.mode & !MODE | described.mode & MODE;
    }
}
