//! Owners of files after a transfer, and the rights that it has.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lariat_testing::files::{assert_same, names, random_file, remote, text};
use lariat_testing::fleet::TestFleet;

const MIB: u64 = 1 << 20;

#[test]
fn a_replaced_file_keeps_its_owner() {
    if !rustix::process::geteuid().is_root() {
        // Only root can change owners, so there is nothing to preserve.
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 100, 1);
    std::fs::write(&dest, "old").unwrap();
    std::os::unix::fs::chown(&dest, Some(12345), Some(54321)).unwrap();
    fleet.ok(["push".into(), text(&source), remote(&dest)]);
    let metadata = dest.metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    assert_same(&source, &dest);
}

#[test]
fn as_another_user_only_what_that_user_may_is_read_and_written() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let directory =
        tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir();
    let directory = directory.unwrap();
    let at = |name: &str| directory.path().join(name);
    for (name, mode) in [("closed", 0o755), ("open", 0o777)] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let tree = fleet.path("tree");
    std::fs::create_dir(&tree).unwrap();
    for (name, size) in [("small", 100), ("large", 3 * MIB)] {
        random_file(&tree.join(name), size, size);
        std::fs::set_permissions(tree.join(name), PermissionsExt::from_mode(0o640)).unwrap();
    }
    let large = text(&tree.join("large"));
    let push = |source: &str, name: &str| {
        ["push", "--user", "nobody", source, &remote(&at(name))].map(ToOwned::to_owned)
    };
    let owner = |name: &str| at(name).metadata().unwrap().uid();

    fleet.ok(push(&large, "open/file"));
    fleet.ok(push(&(text(&tree) + "/"), "open/tree"));
    let nobody = owner("open/file");
    assert_ne!(nobody, 0);
    for name in ["open/tree", "open/tree/small", "open/tree/large"] {
        assert_eq!(owner(name), nobody, "{name}");
    }
    let what = "permission denied";
    for error in [push(&large, "closed/file"), push(&text(&tree), "closed/tree")] {
        let error = fleet.fails(255, error);
        assert!(error.contains(what) && error.contains("closed"), "{error}");
    }
    assert_eq!(names(&at("closed")), Vec::<String>::new());

    // Root's files belong to root, and the same session has its own rights again.
    fleet.ok(["push", &large, &text(&tree), &remote(&at("closed/"))]);
    assert_eq!(owner("closed/large"), 0);
    let pull = |name: &str, to: &str| {
        let from = format!("nobody@{}", remote(&at(name)));
        ["pull".to_owned(), from, text(&fleet.path(to))]
    };
    let error = fleet.fails(255, pull("closed/large", "x"));
    assert!(error.contains(what), "{error}");
    let output = fleet.run(pull("closed/tree", "y"));
    assert_eq!(output.status.code(), Some(255));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("small") && error.contains("large") && error.contains(what), "{error}");
    fleet.ok(pull("open/tree/", "z"));
    assert_same(&fleet.path("z/large"), &at("open/tree/large"));

    let error = fleet.fails(255, ["push", "--user", "no-such", &large, "web1:/x"]);
    assert!(error.contains("there is no user no-such"), "{error}");
    let error = fleet.fails(255, ["push", "--user", "a", &large, "b@web1:/x"]);
    assert!(error.contains("which of the two"), "{error}");
}
