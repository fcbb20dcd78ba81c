//! Transfers that replace a file which is like the new one.

use super::*;

#[test]
fn an_update_sends_what_the_old_file_does_not_have() {
    let world = World::new();
    drop(world.source(20 * C + 5, 1));
    let mut bytes = std::fs::read(world.path("source")).unwrap();
    std::fs::write(world.path("dest"), &bytes).unwrap();
    bytes.insert(0, b'x');
    bytes[9_000_000..9_004_096].fill(7);
    std::fs::write(world.path("source"), bytes).unwrap();
    let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
    let (sent, received) = world.transfer(&mut source, None);
    let sent = sent.unwrap();
    assert!(sent.moved < 100_000, "{sent:?}");
    assert_eq!(received.unwrap().moved, sent.moved);
    world.assert_copied();
}

#[test]
fn an_update_that_was_cut_goes_on_and_stays_an_update() {
    let frame = 8 + ChunkHead::LEN as u64 + C;
    for cut in [500, 100_000, 3 * frame, 6 * frame, 10 * frame] {
        let old: Vec<u8> = (0..20 * C).map(|i| (i / 7 * i).to_le_bytes()[1]).collect();
        let world = world_with_dest(&old);
        drop(world.source(10 * C, 2));
        let mut bytes = std::fs::read(world.path("source")).unwrap();
        bytes.extend_from_slice(&old[CHUNK / 3..]);
        std::fs::write(world.path("source"), bytes).unwrap();
        let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
        assert!(world.transfer(&mut source, Some(cut)).1.is_err());
        let sent = world.transfer(&mut source, None).0.unwrap();
        let already = cut / frame * C;
        assert!(sent.moved < 10 * C - already + C, "cut after {cut}: {sent:?}");
        world.assert_copied();
    }
}

#[test]
fn a_basis_that_has_nothing_in_common_costs_nothing() {
    let world = world_with_dest(&vec![9; 3 * CHUNK]);
    let mut source = world.source(3 * C + 9, 1);
    assert_eq!(world.transfer(&mut source, None).0.unwrap().sent, 3 * C + 9);
    world.assert_copied();
}

#[test]
fn a_replaced_file_s_attributes_stay() {
    let world = world_with_dest(b"old");
    let (name, flags) = ("user.lariat", rustix::fs::XattrFlags::empty());
    if rustix::fs::setxattr(world.path("dest"), name, b"kept", flags).is_err() {
        // A file system without any.
        return;
    }
    let mut source = world.source(C + 9, 1);
    world.transfer(&mut source, None).0.unwrap();
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(world.path("dest"), name, &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"kept");
    world.assert_copied();
}
