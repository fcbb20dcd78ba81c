//! Files that are equal to what is there already: nothing is replaced, nor backed up again.

use super::*;

fn contents() -> Vec<Vec<u8>> {
    let noise = |size: usize| {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    };
    vec![
        Vec::new(),
        b"new".to_vec(),
        noise(CHUNK),
        noise(CHUNK + 1),
        noise(6 * CHUNK + 9),
        vec![0; 3 * CHUNK],
        noise(70_000).repeat(20),
        b"0123456789abcdef".repeat(200_000),
    ]
}

fn push(world: &World) -> Transferred {
    let mut source = Source::open(&world.path("source"), Preserve::default()).unwrap();
    let overrides = ResolvedOverrides { backup: true, ..ResolvedOverrides::default() };
    world.transfer_with(&mut source, None, Sending::default(), &overrides).1.unwrap()
}

fn set_mtime(path: &Path, secs: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
}

#[test]
fn a_second_transfer_changes_nothing() {
    for content in contents() {
        let world = world_with_dest(b"precious");
        std::fs::write(world.path("source"), &content).unwrap();
        assert!(push(&world).changed);
        let before = world.path("dest").metadata().unwrap();
        for mtime in [None, Some(1000), Some(1001)] {
            if let Some(secs) = mtime {
                set_mtime(&world.path("source"), secs);
            }
            assert_eq!(push(&world).changed, mtime.is_some(), "{} bytes", content.len());
            let is = world.path("dest").metadata().unwrap();
            assert_eq!(is.ino(), before.ino());
            let source = world.path("source").metadata().unwrap();
            assert_eq!((is.mtime(), is.mtime_nsec()), (source.mtime(), source.mtime_nsec()));
            assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"precious");
        }
        // Another mode is given to a file of its own: somebody may have the old one open.
        let narrow = PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(world.path("source"), narrow).unwrap();
        push(&world);
        assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"precious");
        std::fs::remove_file(world.path("dest~")).unwrap();
        world.assert_copied();
    }
}

#[test]
fn holes_are_equal_to_zeros() {
    use std::os::unix::fs::FileExt;
    let world = world_with_dest(b"precious");
    let file = std::fs::File::create(world.path("source")).unwrap();
    file.set_len(4 * C).unwrap();
    file.write_all_at(b"text", 2 * C).unwrap();
    push(&world);
    assert!(!push(&world).changed);
    assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"precious");
}

#[test]
fn one_byte_that_differs_is_another_file() {
    for content in contents().into_iter().filter(|content| !content.is_empty()) {
        for at in [0, content.len() / 2, content.len() - 1] {
            let mut other = content.clone();
            other[at] ^= 1;
            let world = world_with_dest(&other);
            std::fs::write(world.path("source"), &content).unwrap();
            assert!(push(&world).changed);
            assert!(std::fs::read(world.path("dest~")).unwrap() == other);
            assert!(std::fs::read(world.path("dest")).unwrap() == content);
        }
    }
}

#[test]
fn what_a_cut_left_of_an_equal_file_does_not_replace_it() {
    let frame = 8 + ChunkHead::LEN as u64 + C;
    let world = World::new();
    let mut source = world.source(5 * C + 7, 1);
    assert!(world.transfer(&mut source, Some(3 * frame)).1.is_err());
    std::fs::copy(world.path("source"), world.path("dest")).unwrap();
    std::fs::write(world.path("dest~"), "precious").unwrap();
    let before = world.path("dest").metadata().unwrap().ino();
    push(&world);
    assert_eq!(world.path("dest").metadata().unwrap().ino(), before);
    assert_eq!(std::fs::read(world.path("dest~")).unwrap(), b"precious");
    world.assert_nothing_left(3);
}
