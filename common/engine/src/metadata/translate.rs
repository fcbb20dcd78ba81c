//! Translates a sender's metadata into the attributes to set on this host: names of users and groups
//! become this host's numbers, and the operator's overrides win.

use std::collections::HashMap;

use nix::unistd::{Group, User};

use super::acl;
use super::attributes::{Attributes, BinaryAcls, MODE, SPECIAL, mode_mask};
use super::overrides::ResolvedOverrides;
use lariat_wire::protocol::metadata::{AclEntry, AclTag, Acls, Metadata, Ownership, Preserve};

/// Translates the metadata of one transfer.
pub(crate) struct Translator {
    preserve: Preserve,
    overrides: ResolvedOverrides,
    users: HashMap<String, Option<u32>>,
    groups: HashMap<String, Option<u32>>,
}

/// Names of users and groups that are cached. A sender that uses more has them looked up again.
const MAX_NAMES: usize = 4096;

impl Translator {
    pub(crate) fn new(preserve: Preserve, overrides: ResolvedOverrides) -> Self {
        let (users, groups) = (HashMap::new(), HashMap::new());
        Self { preserve, overrides, users, groups }
    }

    /// The attributes of a name. What is not to be preserved is left out, whatever the sender says.
    pub(crate) fn attributes(&mut self, metadata: Metadata, is_file: bool) -> Attributes {
        let mode = metadata.mode & mode_mask(self.preserve);
        let mode = if is_file {
            self.overrides.mode.map_or(mode, |change| change.of_file(mode))
        } else {
            self.overrides.directory_mode.map_or(mode, |change| change.of_directory(mode))
        };
        // A directory's setgid and sticky bits govern what is made in it. They stay this host's, unless the
        // source's are to be preserved.
        let kept = if is_file || self.preserve.special { 0 } else { SPECIAL & !MODE };
        let (mut uid, mut gid) = (None, None);
        let owner = metadata.owner.filter(|_| self.preserve.owner);
        if let Some(Ownership { uid: number, gid: group_number, user, group }) = &owner {
            uid = Some(known(&mut self.users, user, user_number).unwrap_or(*number));
            gid = Some(known(&mut self.groups, group, group_number_of).unwrap_or(*group_number));
        }
        let spaces = self.overrides.spaces;
        Attributes {
            mode,
            kept,
            mtime: metadata.mtime,
            uid: self.overrides.user.or(uid),
            gid: self.overrides.group.or(gid),
            xattrs: self.preserve.xattrs.then_some(metadata.xattrs),
            spaces,
            acls: self.preserve.acls.then(|| self.binary(&metadata.acls)),
        }
    }

    fn binary(&mut self, acls: &Acls) -> BinaryAcls {
        let Acls::These { access, default } = acls else { return BinaryAcls::default() };
        let mut encode = |entries: &[AclEntry]| {
            let raw = |entry: &AclEntry| {
                let id = match entry.tag {
                    AclTag::NamedUser => known(&mut self.users, &entry.name, user_number),
                    AclTag::NamedGroup => known(&mut self.groups, &entry.name, group_number_of),
                    _ => None,
                };
                acl::to_raw(entry, id.unwrap_or(entry.id))
            };
            acl::encode(&entries.iter().map(raw).collect::<Vec<_>>())
        };
        BinaryAcls { access: encode(access), default: encode(default) }
    }
}

/// The number of a user, or `None` if this host has no such user.
fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group_number_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// Looks up a name through its cache.
fn known(
    cache: &mut HashMap<String, Option<u32>>,
    name: &str,
    look_up: impl FnOnce(&str) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    if let Some(&number) = cache.get(name) {
        return number;
    }
    let number = look_up(name);
    if cache.len() < MAX_NAMES {
        cache.insert(name.to_owned(), number);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::subject::Subject;
    use lariat_wire::protocol::metadata::Time;
    use lariat_wire::protocol::metadata::Xattr;
    use lariat_wire::protocol::transfer::ModeChange;

    fn metadata(mode: u32, owner: Option<Ownership>) -> Metadata {
        let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
        Metadata { mode, mtime: Time { secs: 1, nanos: 2 }, owner, xattrs, acls: Acls::None }
    }

    fn owner(user: &str, uid: u32) -> Ownership {
        Ownership { uid, gid: 7, user: user.to_owned(), group: String::new() }
    }

    #[test]
    fn special_bits_only_when_asked_for_and_given_modes_only_for_files() {
        let mode = |special, given: Option<u32>, mode, is_file| {
            let preserve = Preserve { special, ..Preserve::default() };
            let given = given.map(ModeChange::exactly);
            let overrides = ResolvedOverrides { mode: given, ..ResolvedOverrides::default() };
            Translator::new(preserve, overrides).attributes(metadata(mode, None), is_file).mode
        };
        assert_eq!(mode(false, None, 0o6755, true), 0o755);
        assert_eq!(mode(true, None, 0o6755, true), 0o6755);
        assert_eq!(mode(false, Some(0o600), 0o755, true), 0o600);
        assert_eq!(mode(true, Some(0o600), 0o6755, true), 0o600);
        assert_eq!(mode(false, Some(0o600), 0o1777, false), 0o777);
        let directory_mode = Some(ModeChange::NONE.without(0o022));
        let overrides = ResolvedOverrides { directory_mode, ..ResolvedOverrides::default() };
        let mut translator = Translator::new(Preserve::default(), overrides);
        let modes =
            [true, false].map(|file| translator.attributes(metadata(0o1777, None), file).mode);
        assert_eq!(modes, [0o777, 0o755]);
    }

    #[test]
    fn a_known_name_takes_precedence_over_the_number() {
        let preserve = Preserve { owner: true, ..Preserve::default() };
        let mut translator = Translator::new(preserve, ResolvedOverrides::default());
        let mut of = |user, uid| {
            let got = translator.attributes(metadata(0, Some(owner(user, uid))), true);
            (got.uid, got.gid)
        };
        assert_eq!(of("root", 4321), (Some(0), Some(7)));
        assert_eq!(of("no-such-user-here", 4321), (Some(4321), Some(7)));
        assert_eq!(of("", 4321), (Some(4321), Some(7)));
        let overrides = ResolvedOverrides { user: Some(99), ..ResolvedOverrides::default() };
        let given =
            Translator::new(preserve, overrides).attributes(metadata(0, Some(owner("", 5))), true);
        assert_eq!((given.uid, given.gid), (Some(99), Some(7)));
    }

    #[test]
    fn unrequested_attributes_are_not_set() {
        let mut translator = Translator::new(Preserve::default(), ResolvedOverrides::default());
        let got = translator.attributes(metadata(0o4755, Some(owner("root", 0))), true);
        assert_eq!((got.mode, got.uid, got.gid, got.xattrs), (0o755, None, None, None));
    }

    #[test]
    fn a_directory_s_special_bits_stay_unless_preserved_from_the_source() {
        let directory = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(directory.path()).unwrap();
        let mode = || rustix::fs::fstat(&directory).unwrap().st_mode & SPECIAL;
        for there in [0o1777, 0o2750, 0o3555] {
            Subject::new(&directory).set_mode(there).unwrap();
            for (special, expected) in [(false, there & 0o7000 | 0o755), (true, 0o4755)] {
                let preserve = Preserve { special, ..Preserve::default() };
                let mut translator = Translator::new(preserve, ResolvedOverrides::default());
                let mut attributes = translator.attributes(metadata(0o4755, None), false);
                attributes.xattrs = None;
                attributes.apply(&directory, b"x").unwrap();
                assert_eq!(mode(), expected);
                assert!(attributes.match_stat(&rustix::fs::fstat(&directory).unwrap()));
            }
        }
    }

    #[test]
    fn equal_attributes_are_not_set() {
        let file = tempfile::tempfile().unwrap();
        let stat = || rustix::fs::fstat(&file).unwrap();
        let user = ResolvedOverrides { user: Some(stat().st_uid), ..ResolvedOverrides::default() };
        let preserve = Preserve { xattrs: true, ..Preserve::default() };
        let mut metadata = metadata(0o640, None);
        if Subject::new(&file).set_xattr(b"user.a", b"0").is_err() {
            metadata.xattrs.clear();
        }
        let attributes = Translator::new(preserve, user).attributes(metadata, true);
        assert_eq!(attributes.differ(&file, b"x"), Ok(true));
        assert_eq!(attributes.apply(&file, b"x"), Ok(true));
        let ctime = || (stat().st_ctime, stat().st_ctime_nsec);
        let before = ctime();
        while std::fs::File::create(tempfile::NamedTempFile::new().unwrap().path())
            .and_then(|other| other.metadata())
            .is_ok_and(|other| {
                use std::os::unix::fs::MetadataExt;
                (other.ctime(), u64::try_from(other.ctime_nsec()).unwrap()) <= before
            })
        {}
        assert_eq!(attributes.differ(&file, b"x"), Ok(false));
        assert_eq!(attributes.apply(&file, b"x"), Ok(false));
        assert_eq!(ctime(), before);
    }

    /// As ext4 with a time after 2446, where a temporary file is on one.
    #[test]
    fn a_time_that_the_disk_can_not_hold_is_set_once() {
        let file = tempfile::tempfile().unwrap();
        let metadata =
            Metadata { mtime: Time { secs: 16_741_000_000, nanos: 1 }, ..metadata(0o640, None) };
        let overrides = ResolvedOverrides::default();
        let attributes = Translator::new(Preserve::default(), overrides).attributes(metadata, true);
        assert_eq!(attributes.apply(&file, b"x"), Ok(true));
        assert_eq!(attributes.apply(&file, b"x"), Ok(false));
    }
}
