//! What a name is beyond its content: read by the sender and set by the receiver, on open descriptors;
//! the same for a file alone and for what is in a tree.

use std::collections::HashMap;
use std::os::fd::AsFd;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{FileType, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::acl::{self, Described};
use super::error::sys_failed;
use super::subject::Subject;
use crate::ResolvedOverrides;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{
    AclEntry, AclTag, Acls, MAX_XATTRS, Metadata, Ownership, Preserve, Xattr,
};

/// Permission bits that always travel, and those that do with `--special`.
const MODE: u32 = 0o777;
const SPECIAL: u32 = 0o7777;

/// Extended attributes that travel: those of users, and root's own. Others say what a host thinks of
/// a file, or give it rights.
const NAMESPACES: [&[u8]; 2] = [b"user.", b"trusted."];

/// What a name gets on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// Bits of the mode that stay as they are there.
    pub(super) kept: u32,
    pub(super) mtime: Time,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// None if they are left as they are.
    pub(super) xattrs: Option<Vec<Xattr>>,
    /// None if they are left as they are.
    pub(super) acls: Option<BinaryAcls>,
}

/// ACLs in their binary form, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BinaryAcls {
    access: Vec<u8>,
    /// Of a directory.
    default: Vec<u8>,
}

/// Permission bits that travel.
pub(super) fn mode_mask(preserve: Preserve) -> u32 {
    if preserve.special { SPECIAL } else { MODE }
}

/// Turns what the sender says into what is set here.
pub(super) struct Translator {
    preserve: Preserve,
    finish: ResolvedOverrides,
    users: HashMap<String, Option<u32>>,
    groups: HashMap<String, Option<u32>>,
}

/// Names of users and groups that are looked up once; a sender that knows more is asked anew.
const MOST_NAMES: usize = 4096;

impl Translator {
    pub(super) fn new(preserve: Preserve, finish: ResolvedOverrides) -> Self {
        let (users, groups) = (HashMap::new(), HashMap::new());
        Self { preserve, finish, users, groups }
    }

    /// What a name gets; nothing that was not asked for, whatever the sender says. Only files get the mode
    /// that the operator gave.
    pub(super) fn attributes(&mut self, metadata: Metadata, is_file: bool) -> Attributes {
        let given = self.finish.mode.filter(|_| is_file);
        // A directory's setgid and sticky bits say what becomes of what is made in it: that is this host's to
        // say, unless the source's were asked for.
        let kept = if is_file || self.preserve.special { 0 } else { SPECIAL & !MODE };
        let (mut uid, mut gid) = (None, None);
        let owner = metadata.owner.filter(|_| self.preserve.owner);
        if let Some(Ownership { uid: number, gid: group_number, user, group }) = &owner {
            uid = Some(known(&mut self.users, user, user_number).unwrap_or(*number));
            gid = Some(known(&mut self.groups, group, group_number_of).unwrap_or(*group_number));
        }
        Attributes {
            mode: given.unwrap_or(metadata.mode & mode_mask(self.preserve)),
            kept,
            mtime: metadata.mtime,
            uid: self.finish.user.or(uid),
            gid: self.finish.group.or(gid),
            xattrs: self.preserve.xattrs.then_some(metadata.xattrs),
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

fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group_number_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

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
    if cache.len() < MOST_NAMES {
        cache.insert(name.to_owned(), number);
    }
    number
}

/// A name as the receiver is told of it. Extended attributes are still to be read, from the open file.
pub(super) fn describe(stat: &Stat, preserve: Preserve, owners: &mut Owners) -> Metadata {
    Metadata {
        mode: stat.st_mode & mode_mask(preserve),
        mtime: mtime(stat),
        owner: preserve.owner.then(|| owners.of(stat)),
        xattrs: Vec::new(),
        acls: Acls::None,
    }
}

/// Whose a file is, by number and by name, with each name looked up once.
#[derive(Default)]
pub(super) struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Owners {
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

    /// Puts what is known of a name's ACLs into its description.
    pub(super) fn tell_acls(&mut self, mut described: Described, metadata: &mut Metadata) {
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

impl Attributes {
    /// Bytes beside its own size.
    pub(super) fn weight(&self) -> usize {
        let len = |xattr: &Xattr| xattr.name.len() + xattr.value.len();
        let acls = self.acls.as_ref().map_or(0, |acls| acls.access.len() + acls.default.len());
        self.xattrs.iter().flatten().map(len).sum::<usize>() + acls
    }

    /// Whether a name that is there has all of them, as far as `stat` tells.
    pub(super) fn are_of(&self, stat: &Stat) -> bool {
        stat.st_mode & SPECIAL == self.mode_for(stat)
            && mtime(stat) == self.mtime
            && self.owns(stat)
    }

    /// Whether its mode stays.
    pub(super) fn permits_as(&self, stat: &Stat) -> bool {
        stat.st_mode & SPECIAL == self.mode_for(stat)
    }

    /// Whether whose it is stays.
    pub(super) fn owns(&self, stat: &Stat) -> bool {
        self.uid.is_none_or(|uid| uid == stat.st_uid)
            && self.gid.is_none_or(|gid| gid == stat.st_gid)
    }

    /// The mode that a name gets which is this now.
    fn mode_for(&self, stat: &Stat) -> u32 {
        self.mode | stat.st_mode & self.kept
    }

    /// Sets those that an open file or directory does not have yet, and touches nothing that is equal. Tells
    /// whether there was anything to set.
    pub(super) fn make_equal(&self, file: impl AsFd, path: &[u8]) -> Result<bool, Failure> {
        self.compare(Subject::new(&file), true).map_err(sys_failed(Action::SetMetadata, path))
    }

    /// The access ACL that was asked for, in its binary form; empty if that is none.
    pub(super) fn access_list(&self) -> Option<&[u8]> {
        self.acls.as_ref().map(|acls| acls.access.as_slice())
    }

    /// Whether there are any that only an open file shows.
    pub(super) fn are_beyond_stat(&self) -> bool {
        self.xattrs.is_some() || self.acls.is_some()
    }

    /// Whether an open file or directory lacks any of them.
    pub(super) fn differ(&self, file: impl AsFd, path: &[u8]) -> Result<bool, Failure> {
        self.compare(Subject::new(&file), false).map_err(sys_failed(Action::Read, path))
    }

    /// Whether something differs; what does is set if `set` says so. Owner first: a change of it takes setuid
    /// away.
    fn compare(&self, file: Subject<'_>, set: bool) -> Result<bool, Errno> {
        let stat = file.stat()?;
        let mut differs = !self.owns(&stat);
        if differs && set {
            // Meanwhile nobody has a right that neither the old nor the new state gives.
            let mode = stat.st_mode & MODE;
            if mode & !self.mode != 0 {
                file.set_mode(mode & self.mode)?;
            }
            file.set_owner(self.uid, self.gid)?;
        }
        if let Some(xattrs) = &self.xattrs {
            differs |= compare_xattrs(file, xattrs, set)?;
        }
        if let Some(BinaryAcls { access, default }) = &self.acls {
            differs |= acl::compare(file, acl::ACCESS, access, set)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                differs |= acl::compare(file, acl::DEFAULT, default, set)?;
            }
        }
        let mode = self.mode_for(&stat);
        // What was set so far may have changed the mode.
        let mode_differs = differs || stat.st_mode & SPECIAL != mode;
        if mode_differs && set {
            file.set_mode(mode)?;
        }
        let time_differs = mtime(&stat) != self.mtime;
        if time_differs && set {
            file.set_times(&timestamps(self.mtime))?;
        }
        Ok(differs || mode_differs || time_differs)
    }
}

/// The times to set for a time of last modification.
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let mtime = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: omit, last_modification: mtime }
}

/// When a file was last modified.
pub(super) fn mtime(stat: &Stat) -> Time {
    Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}

/// The attributes of an open file that travel, by name. More than may travel is an error.
pub(super) fn read_xattrs(file: impl AsFd) -> Result<Vec<Xattr>, Errno> {
    let file = Subject::new(&file);
    let names = match travelling(file) {
        // A file system without any.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    let (mut left, mut value) = (MAX_XATTRS, Vec::new());
    for name in names {
        value.resize(MAX_XATTRS, 0);
        // One that is not there any more does not travel.
        let Some(len) = file.xattr(&name, &mut value)? else { continue };
        left = left.checked_sub(name.len() + len).ok_or(Errno::TOOBIG)?;
        xattrs.push(Xattr { name, value: value[..len].to_vec() });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(xattrs)
}

/// The names of a file's attributes, as far as they are such that travel.
fn travelling(file: Subject<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = file.xattr_names()?;
    names.retain(|name| may_travel(name));
    Ok(names)
}

/// Makes a file's attributes these, as far as they are such that travel.
pub(super) fn set_xattrs(file: impl AsFd, xattrs: &[Xattr]) -> Result<(), Errno> {
    compare_xattrs(Subject::new(&file), xattrs, true).map(drop)
}

fn may_travel(name: &[u8]) -> bool {
    NAMESPACES.iter().any(|space| name.starts_with(space))
}

/// Whether a file's attributes, as far as they are such that travel, are others than these; those that are
/// become these if `set` says so.
fn compare_xattrs(file: Subject<'_>, xattrs: &[Xattr], set: bool) -> Result<bool, Errno> {
    let there = match travelling(file) {
        Err(Errno::OPNOTSUPP) if xattrs.is_empty() => return Ok(false),
        there => there?,
    };
    let mut differs = false;
    for name in there.iter().filter(|name| xattrs.iter().all(|xattr| xattr.name != **name)) {
        differs = true;
        if set {
            file.remove_xattr(name)?;
        }
    }
    let mut value = vec![0; if there.is_empty() { 0 } else { MAX_XATTRS }];
    for xattr in xattrs {
        if !may_travel(&xattr.name) {
            return Err(Errno::PERM);
        }
        let old = if there.contains(&xattr.name) {
            file.xattr(&xattr.name, &mut value).ok().flatten()
        } else {
            None
        };
        if old.is_none_or(|len| value[..len] != *xattr.value) {
            differs = true;
            if set {
                file.set_xattr(&xattr.name, &xattr.value).map_err(|errno| match errno {
                    // Most disks have little room for the attributes of one file, and say the same of it.
                    Errno::NOSPC if file.has_room() => Errno::TOOBIG,
                    errno => errno,
                })?;
            }
        }
    }
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(mode: u32, owner: Option<Ownership>) -> Metadata {
        let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
        Metadata { mode, mtime: Time { secs: 1, nanos: 2 }, owner, xattrs, acls: Acls::None }
    }

    fn owner(user: &str, uid: u32) -> Ownership {
        Ownership { uid, gid: 7, user: user.to_owned(), group: String::new() }
    }

    #[test]
    fn special_bits_only_when_asked_for_and_given_modes_only_for_files() {
        let mode = |special, given, mode, is_file| {
            let preserve = Preserve { special, ..Preserve::default() };
            let finish = ResolvedOverrides { mode: given, ..ResolvedOverrides::default() };
            Translator::new(preserve, finish).attributes(metadata(mode, None), is_file).mode
        };
        assert_eq!(mode(false, None, 0o6755, true), 0o755);
        assert_eq!(mode(true, None, 0o6755, true), 0o6755);
        assert_eq!(mode(false, Some(0o600), 0o755, true), 0o600);
        assert_eq!(mode(true, Some(0o600), 0o6755, true), 0o600);
        assert_eq!(mode(false, Some(0o600), 0o1777, false), 0o777);
    }

    #[test]
    fn a_name_that_is_known_counts_before_the_number() {
        let preserve = Preserve { owner: true, ..Preserve::default() };
        let mut translator = Translator::new(preserve, ResolvedOverrides::default());
        let mut of = |user, uid| {
            let got = translator.attributes(metadata(0, Some(owner(user, uid))), true);
            (got.uid, got.gid)
        };
        assert_eq!(of("root", 4321), (Some(0), Some(7)));
        assert_eq!(of("no-such-user-here", 4321), (Some(4321), Some(7)));
        assert_eq!(of("", 4321), (Some(4321), Some(7)));
        let finish = ResolvedOverrides { user: Some(99), ..ResolvedOverrides::default() };
        let given =
            Translator::new(preserve, finish).attributes(metadata(0, Some(owner("", 5))), true);
        assert_eq!((given.uid, given.gid), (Some(99), Some(7)));
    }

    #[test]
    fn what_nobody_asked_for_is_not_set() {
        let mut translator = Translator::new(Preserve::default(), ResolvedOverrides::default());
        let got = translator.attributes(metadata(0o4755, Some(owner("root", 0))), true);
        assert_eq!((got.mode, got.uid, got.gid, got.xattrs), (0o755, None, None, None));
    }

    #[test]
    fn a_directory_s_own_special_bits_stay_unless_the_source_s_travel() {
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
                attributes.make_equal(&directory, b"x").unwrap();
                assert_eq!(mode(), expected);
                assert!(attributes.are_of(&rustix::fs::fstat(&directory).unwrap()));
            }
        }
    }

    #[test]
    fn what_is_equal_is_not_touched() {
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
        assert_eq!(attributes.make_equal(&file, b"x"), Ok(true));
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
        assert_eq!(attributes.make_equal(&file, b"x"), Ok(false));
        assert_eq!(ctime(), before);
    }

    #[test]
    fn extended_attributes_are_made_equal() {
        let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let set = |file, name: &str, value: &[u8]| {
            rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())
        };
        if set(&one, "user.a", b"1").is_err() {
            // A file system without any.
            return;
        }
        set(&one, "user.b", b"\0\xff").unwrap();
        set(&other, "user.b", b"old").unwrap();
        set(&other, "user.gone", b"x").unwrap();
        let xattrs = read_xattrs(&one).unwrap();
        assert_eq!(xattrs.len(), 2);
        let compare = |xattrs: &[Xattr], set| compare_xattrs(Subject::new(&other), xattrs, set);
        assert_eq!((compare(&xattrs, false), compare(&xattrs, true)), (Ok(true), Ok(true)));
        assert_eq!(read_xattrs(&other).unwrap(), xattrs);
        assert_eq!(compare(&xattrs, true), Ok(false));
        let forbidden = Xattr { name: b"security.capability".to_vec(), value: b"x".to_vec() };
        assert_eq!(compare(&[forbidden], true), Err(Errno::PERM));
    }
}
