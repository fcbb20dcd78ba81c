//! A copy that is brought up to date: what is sent, what goes, what stays.

use super::*;
use lariat_wire::protocol::tree::Rule;

fn exclude(globs: &[&str]) -> Vec<Rule> {
    globs.iter().map(|glob| Rule { include: false, glob: (*glob).to_owned() }).collect()
}

fn delete() -> TreeOptions {
    TreeOptions { delete: true, ..TreeOptions::default() }
}

#[test]
fn only_what_changed_is_sent() {
    let world = World::new();
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(i) / 7).to_le_bytes()[1]).collect();
    for (name, content) in [("a", &b"one"[..]), ("b/c", b"two"), ("large", &large)] {
        world.file(name, content);
    }
    world.copied();
    assert_eq!(world.copied().counts.moved, 0);
    world.file("b/c", "three");
    let mut changed = large.clone();
    changed.insert(1000, 1);
    world.file("large", &changed);
    let counts = world.copied().counts;
    assert!((5..100_000).contains(&counts.moved), "{counts:?}");
    world.assert_same();
    // Only its mode: nothing is sent.
    std::fs::set_permissions(world.source("a"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(world.copied().counts.moved, 0);
    world.assert_same();
}

#[test]
fn a_verified_copy_is_read_back_whole_and_by_its_differences() {
    for in_place in [false, true] {
        let mut world = World::with(TreeOptions { checksum: true, ..TreeOptions::default() });
        (world.overrides.verify, world.overrides.in_place) = (true, in_place);
        let mut large = vec![7; 3_000_000];
        world.file("large", &large);
        world.file("empty", "");
        (0..50).for_each(|n| drop(world.file(&format!("small/{n}"), n.to_string())));
        world.copied();
        world.assert_same();
        large.insert(1_000_000, 8);
        world.file("large", &large);
        world.file("small/7", "changed");
        assert_eq!(world.copied().received.unwrap().done.files, 2);
        world.assert_same();
    }
}

#[test]
fn content_counts_when_it_is_asked_for() {
    let world = World::with(TreeOptions { checksum: true, ..TreeOptions::default() });
    for (name, old) in [("same", "text"), ("other", "tent")] {
        let source = world.file(name, "text");
        std::fs::create_dir_all(world.dest("")).unwrap();
        std::fs::write(world.dest(name), old).unwrap();
        set_mtime(&source, 1_000_000, 5);
        set_mtime(&world.dest(name), 1_000_000, if name == "same" { 4 } else { 5 });
    }
    assert_eq!(world.copied().counts.moved, 4, "only the one that differs");
    world.assert_same();
}

#[test]
fn what_the_source_does_not_have_goes_only_when_asked_for_and_when_all_is_there() {
    let mut world = World::new();
    world.file("kept/file", "x");
    world.file("n", "x");
    for extra in ["a", "kept/gone/deep/er", "z", "cache/x", "kept/cache/y", "gone too/cache/z"] {
        let path = world.dest(extra);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "extra").unwrap();
    }
    symlink(world.directory.path().join("outside"), world.dest("link")).unwrap();
    let part = ".lariat-0123456789abcdef0123456789abcdef.part";
    std::fs::write(world.dest(part), "").unwrap();
    world.copied();
    assert!(world.dest("a").exists());
    world.options = TreeOptions { rules: exclude(&["cache"]), ..delete() };
    world.copied();
    assert_eq!(names(&world.dest("")), [part, "cache", "gone too", "kept", "n"]);
    assert_eq!(names(&world.dest("kept")), ["cache", "file"]);
    assert_eq!(names(&world.dest("gone too")), ["cache"]);
    world.options.rules.clear();
    world.copied();
    assert_eq!(names(&world.dest("")), [part, "kept", "n"]);
    assert_eq!(names(&world.dest("kept")), ["file"]);
}

#[test]
fn nothing_goes_when_something_is_missing() {
    let world = World::with(delete());
    world.file("a", "x");
    std::fs::create_dir_all(world.dest("b/full")).unwrap();
    std::fs::write(world.dest("extra"), "x").unwrap();
    let mut outcome = world.copy();
    assert!(outcome.sent.is_ok() && !world.dest("extra").exists());
    std::fs::write(world.dest("extra"), "x").unwrap();
    let mut arrival = world.arrival(world.open().root().clone());
    let cause = Cause::SourceChanged;
    let failure =
        Failure { action: lariat_wire::protocol::failure::Action::Read, path: None, cause };
    arrival.avoid.insert(b"a".to_vec(), failure);
    outcome = world.copy_into(arrival);
    assert!(outcome.sent.is_ok());
    assert_eq!(outcome.receiver.missed.borrow().len(), 1);
    assert!(world.dest("extra").exists());
}

#[test]
fn excluded_names_are_left_out_and_included_ones_come_back() {
    let mut world = World::new();
    for name in ["a.o", "keep.o", "b.c", "sub/c.o", "sub/d.c", "target/e.c"] {
        world.file(name, name);
    }
    let mut rules = exclude(&["*.o", "/target/"]);
    rules.push(Rule { include: true, glob: "keep.o".to_owned() });
    world.options.rules = rules;
    world.copied();
    assert_eq!(names(&world.dest("")), ["b.c", "keep.o", "sub"]);
    assert_eq!(names(&world.dest("sub")), ["d.c"]);
}

#[test]
fn of_a_list_what_is_not_there_is_told_and_the_rest_goes() {
    let mut world = World::new();
    for name in ["a/b/c", "a/b/d", "a/e", "f"] {
        world.file(name, name);
    }
    world.options.only = vec![b"a/b".to_vec(), b"g/h".to_vec()];
    let outcome = world.copy();
    let missed = outcome.sender.missed.borrow();
    assert!(missed.len() == 1 && missed[0].0.contains("g/h: no such file"), "{missed:?}");
    assert_eq!(
        (names(&world.dest("")), names(&world.dest("a"))),
        (vec!["a".into()], vec!["b".into()])
    );
    assert_eq!(names(&world.dest("a/b")), ["c", "d"]);
}

#[test]
fn what_is_listed_and_left_out_by_the_rules_is_not_missing() {
    let mut world = World::new();
    for name in ["a/b.c", "a/b.h", "a-", "out/x/y", "z"] {
        world.file(name, name);
    }
    let listed = ["a/b.c", "a/b.h", "out/x/y", "out/z", "a/none.c"];
    world.options.only = listed.map(|path| path.as_bytes().to_vec()).to_vec();
    world.options.rules = exclude(&["*.c", "out/"]);
    let outcome = world.copy();
    let missed = outcome.sender.missed.borrow();
    assert!(missed.len() == 1 && missed[0].0.contains("a/none.c: no such file"), "{missed:?}");
    assert_eq!(
        (names(&world.dest("")), names(&world.dest("a"))),
        (vec!["a".into()], vec!["b.h".into()])
    );
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    use ChangeKind::{Change, Delete, Make, Touch};
    let mut world = World::with(TreeOptions { dry_run: true, ..delete() });
    world.file("new/file", "x");
    world.file("old", "longer");
    let touched = world.file("touched", "x");
    let outcome = world.copied();
    assert!(!world.dest("").exists());
    let root = world.dest("").to_str().unwrap().trim_end_matches('/').to_owned();
    let all = ["", "/new", "/new/file", "/old", "/touched"];
    assert_eq!(outcome.told(), all.map(|name| (Make, format!("{root}{name}"))));
    std::fs::create_dir(world.dest("")).unwrap();
    std::fs::write(world.dest("old"), "short").unwrap();
    std::fs::write(world.dest("extra"), "x").unwrap();
    std::fs::write(world.dest("touched"), "x").unwrap();
    set_mtime(&touched, 7, 7);
    set_mtime(&world.dest("touched"), 7, 7);
    std::fs::set_permissions(&touched, PermissionsExt::from_mode(0o611)).unwrap();
    let before = described(&world.dest(""));
    let outcome = world.copied();
    let expected = [
        (Delete, "/extra"),
        (Make, "/new"),
        (Make, "/new/file"),
        (Change, "/old"),
        (Touch, "/touched"),
    ];
    // The root's own time may be that of the source by chance.
    let mut told = outcome.told();
    told.retain(|(_, path)| *path != root);
    assert_eq!(told, expected.map(|(kind, name)| (kind, format!("{root}{name}"))));
    assert_eq!(*outcome.receiver.changed.borrow(), *outcome.sender.changed.borrow());
    assert_eq!(described(&world.dest("")), before);
    world.options.dry_run = false;
    world.copied();
    world.assert_same();
}

/// Whatever was there, the dry run tells of each change that the run counts, and no other.
#[test]
fn a_dry_run_counts_as_the_run_does() {
    let mut world = World::with(TreeOptions { hard_links: true, ..delete() });
    world.file("same", "x");
    world.file("sub/was a directory", "x");
    let first = world.file("first", "x");
    std::fs::hard_link(first, world.source("second")).unwrap();
    symlink("there", world.source("link was a directory")).unwrap();
    world.copied();
    std::fs::remove_file(world.dest("sub/was a directory")).unwrap();
    std::fs::create_dir_all(world.dest("sub/was a directory/full/inner")).unwrap();
    std::fs::remove_file(world.dest("link was a directory")).unwrap();
    std::fs::create_dir_all(world.dest("link was a directory/full")).unwrap();
    std::fs::remove_file(world.dest("second")).unwrap();
    std::fs::write(world.dest("second"), "alone").unwrap();
    std::fs::create_dir_all(world.dest("extra/deep")).unwrap();
    std::fs::write(world.dest("extra/deep/file"), "x").unwrap();
    std::fs::set_permissions(world.dest("sub"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(world.source("sub"), PermissionsExt::from_mode(0o750)).unwrap();

    world.options.dry_run = true;
    let outcome = world.copied();
    let told = outcome.told();
    let deleted = told.iter().filter(|(kind, _)| *kind == ChangeKind::Delete).count() as u64;
    let expected = outcome.sent.as_ref().unwrap().done;
    assert_eq!((expected.deleted, expected.files, deleted), (6, 2, 6), "{told:?}");
    assert_eq!(expected.others + expected.files + expected.deleted, told.len() as u64, "{told:?}");
    world.options.dry_run = false;
    world.options.max_delete = Some(5);
    let refused = world.copy();
    let missed = refused.sender.missed.borrow().clone();
    assert!(missed[0].0.contains("6 names would be deleted"), "{missed:?}");
    assert_eq!(refused.sent.as_ref().unwrap().done.deleted, 0);
    assert!(
        world.dest("extra/deep/file").exists() && world.dest("sub/was a directory/full").exists()
    );
    world.options.max_delete = Some(6);
    let did = world.copied().sent.unwrap().done;
    assert_eq!(did.deleted, 6);
    world.assert_same();
    assert!(world.copied().sent.unwrap().done.is_nothing());
}

#[test]
fn what_is_in_the_way_makes_room() {
    let mut world = World::new();
    world.file("was a file/x", "x");
    world.file("was a link/x", "x");
    world.file("was a directory", "x");
    world.file("was an empty directory", "x");
    symlink("x", world.source("link was a file")).unwrap();
    std::fs::create_dir_all(world.dest("was a directory/full")).unwrap();
    std::fs::create_dir_all(world.dest("was an empty directory")).unwrap();
    std::fs::write(world.dest("was a file"), "x").unwrap();
    std::fs::write(world.dest("link was a file"), "x").unwrap();
    symlink(world.directory.path().join("outside"), world.dest("was a link")).unwrap();
    let outcome = world.copy();
    let missed = outcome.sender.missed.borrow().clone();
    assert!(
        missed.len() == 1 && missed[0].0.contains("was a directory: is a directory"),
        "{missed:?}"
    );
    world.assert_canary();
    world.options.delete = true;
    world.copied();
    world.assert_same();
}

#[test]
fn a_tree_that_was_cut_anywhere_goes_on_where_it_was() {
    let mut world = World::new();
    let large: Vec<u8> =
        (0..4_000_000_u32).map(|i| (i.wrapping_mul(i) / 7).to_le_bytes()[1]).collect();
    for file in 0..200 {
        world.file(&format!("{}/{file}", file % 7), vec![7; file * 10]);
    }
    world.file("large", &large);
    world.file("3/old", "new one");
    let whole = 4_000_000 + 200 * 1000;
    for cut in [100, 3000, 20_000, 100_000, 250_000, 1_000_000, 2_500_000, 4_100_000] {
        let _ = std::fs::remove_dir_all(world.dest(""));
        std::fs::create_dir_all(world.dest("3")).unwrap();
        std::fs::write(world.dest("3/old"), "old").unwrap();
        world.cut = Some(cut);
        assert!(world.copy().received.is_err(), "cut after {cut}");
        let old = std::fs::read(world.dest("3/old")).unwrap();
        assert!(old == b"old" || old == b"new one");
        world.cut = None;
        let counts = world.copied().counts;
        world.assert_same();
        let had = cut.saturating_sub(700_000);
        assert!(counts.moved <= whole - had, "cut after {cut}: {counts:?}");
    }
}

/// What arrived whole stays, whatever became of the rest of its pack, so that a link that never lasts for a
/// whole pack gets there in the end.
#[test]
fn files_that_came_whole_stay_wherever_their_pack_was_cut() {
    for compress in [false, true] {
        let mut world = World::new();
        world.compress = compress;
        for file in 0..30 {
            // Two thirds of it are noise, so that compression pays and leaves much.
            let mut content = vec![file; 20_000];
            blake3::Hasher::new().update(&[file]).finalize_xof().fill(&mut content[..12_000]);
            world.file(&format!("{file:02}"), content);
        }
        std::fs::create_dir(world.dest("")).unwrap();
        for file in (0..30).step_by(2) {
            std::fs::write(world.dest(&format!("{file:02}")), "old").unwrap();
        }
        // The manifest, a pack's beginning.
        world.cut = Some(100_000);
        let mut attempts = 0;
        while world.copy().received.is_err() {
            attempts += 1;
            assert!(attempts < 20, "it gets nowhere");
        }
        assert!(attempts > 2);
        world.assert_same();
    }
}

#[test]
fn two_transfers_never_have_one_root() {
    let world = World::new();
    let mut first = world.arrival(world.open().root().clone());
    first.target.lock().unwrap();
    let mut second = world.arrival(world.open().root().clone());
    assert!(second.target.lock().unwrap_err().to_string().contains("under way"));
    assert!(world.copy_into(first).received.is_ok());
    second.target.lock().unwrap();
}
