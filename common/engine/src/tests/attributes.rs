//! What a file gets beyond its content, from senders honest and hostile.

use super::*;
use lariat_wire::protocol::failure::Action;
use lariat_wire::protocol::metadata::{Ownership, Xattr};

/// Moves the source to `dest`, as what was asked for and as what the sender says; cut if that is said.
fn transfer(
    world: &World,
    asked: Preserve,
    change: impl FnOnce(&mut Metadata),
    cut: Option<u64>,
) -> Result<Transferred, TransferError> {
    let mut source = Source::open(&world.path("source"), asked).unwrap();
    let mut offer = source.offer().clone();
    change(&mut offer.metadata);
    let options = CommitOptions::new(&ResolvedOverrides::default(), asked, offer.metadata.clone());
    let target = world.target(&offer);
    World::transfer_placing(target, &mut source, cut, Sending::default(), &options).1
}

fn all() -> Preserve {
    Preserve { xattrs: true, owner: true, special: true, acls: true }
}

fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    let len = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn special_bits_and_attributes_travel_when_asked_for() {
    let world = world_with_dest(b"old");
    world.source(10, 1);
    let (source, dest) = (world.path("source"), world.path("dest"));
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o6755)).unwrap();
    let has_xattrs = set(&source, "user.a", b"new") && set(&dest, "user.gone", b"old");
    transfer(&world, Preserve::default(), |_| (), None).unwrap();
    assert_eq!(mode(&dest), 0o755);
    if has_xattrs {
        assert_eq!((get(&dest, "user.a"), get(&dest, "user.gone")), (None, Some(b"old".to_vec())));
    }
    transfer(&world, all(), |_| (), None).unwrap();
    assert_eq!(mode(&dest), 0o6755);
    if has_xattrs {
        assert_eq!((get(&dest, "user.a"), get(&dest, "user.gone")), (Some(b"new".to_vec()), None));
    }
}

#[test]
fn a_resume_gets_what_the_newest_attempt_asked_for() {
    let world = World::new();
    world.source(8 * C, 1);
    let (source, dest) = (world.path("source"), world.path("dest"));
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o4755)).unwrap();
    let has_xattrs = set(&source, "user.a", b"1");
    transfer(&world, Preserve::default(), |_| (), Some(5 * C)).unwrap_err();
    let got = transfer(&world, all(), |_| (), None).unwrap();
    assert!(got.moved <= 5 * C, "{got:?}");
    assert_eq!(mode(&dest), 0o4755);
    assert!(!has_xattrs || get(&dest, "user.a").is_some());
    std::fs::remove_file(&dest).unwrap();
    transfer(&world, all(), |_| (), Some(5 * C)).unwrap_err();
    let got = transfer(&world, Preserve::default(), |_| (), None).unwrap();
    assert!(got.moved <= 5 * C, "{got:?}");
    assert_eq!(mode(&dest), 0o755);
    assert_eq!(get(&dest, "user.a"), None);
}

#[test]
fn what_nobody_asked_for_is_not_set() {
    let world = World::new();
    world.source(10, 1);
    let before = world.path("source").metadata().unwrap();
    let hostile = |metadata: &mut Metadata| {
        metadata.mode = 0o7777;
        let (user, group) = ("nobody".to_owned(), String::new());
        metadata.owner = Some(Ownership { uid: 4321, gid: 4321, user, group });
        metadata.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: vec![1] }];
    };
    transfer(&world, Preserve::default(), hostile, None).unwrap();
    let dest = world.path("dest");
    let after = dest.metadata().unwrap();
    assert_eq!(mode(&dest), 0o777);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_eq!(get(&dest, "user.a"), None);
}

#[test]
fn attributes_that_do_not_travel_fail_and_harm_nothing() {
    let world = world_with_dest(b"old");
    world.source(10, 1);
    let hostile = |metadata: &mut Metadata| {
        let name = b"security.capability".to_vec();
        metadata.xattrs = vec![Xattr { name, value: vec![1] }];
    };
    let failed = transfer(&world, all(), hostile, None).unwrap_err();
    let TransferError::Local(failure) = failed else { panic!("{failed}") };
    assert_eq!(failure.action, Action::SetMetadata);
    assert_eq!(std::fs::read(world.path("dest")).unwrap(), b"old");
    world.assert_nothing_left(2);
}
