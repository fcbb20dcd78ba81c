//! A key with roots: no byte outside them is read, written or removed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lariat_testing::agent::Agent;
use lariat_testing::files::{assert_same, names, random_file};
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::rng::number;

use super::{directory, refused};

/// A host that has `up` to push to and `down` to pull from, with `out` beside them.
fn with_roots() -> (TestFleet, Agent) {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let [up, down, out] = ["up", "down", "out"].map(|name| directory(&fleet, name));
    fs::write(out.join("secret"), "the secret").unwrap();
    fleet.set_rules(
        "web1",
        &format!(
            "verbs = [\"push\", \"pull\"]\npush = [\"{}\"]\npull = [\"{}\"]\n",
            up.display(),
            down.display()
        ),
    );
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    (fleet, agent)
}

/// A path on the host.
fn at(path: &Path) -> String {
    format!("web1:{}", path.display())
}

#[test]
fn what_is_in_a_root_goes_as_ever() {
    let (fleet, _agent) = with_roots();
    let [up, down] = ["up", "down"].map(|name| directory(&fleet, name));
    random_file(&fleet.path("file"), 3 << 20, 1);
    fs::create_dir_all(fleet.path("tree/a")).unwrap();
    for (name, size) in [("small", 10), ("a/small", 20), ("a/large", 3 << 20)] {
        random_file(&fleet.path("tree").join(name), size, size);
    }
    let push = |dest: &Path, more: &[&str]| {
        let dest = at(dest);
        fleet.ok([&["push", "file", &dest], more].concat());
    };
    push(&up.join("new/deep/file"), &[]);
    assert_same(&fleet.path("file"), &up.join("new/deep/file"));
    // An update, in place, and into the root itself.
    random_file(&fleet.path("file"), 3 << 20, 2);
    push(&up.join("new/deep/file"), &["--inplace"]);
    assert_same(&fleet.path("file"), &up.join("new/deep/file"));
    push(&up, &["--checksum"]);
    assert_same(&fleet.path("file"), &up.join("file"));
    let dry = fleet.ok(["push", "--dry-run", "file", &at(&up.join("x/"))]);
    assert!(dry.contains(&format!("make {}/x/file", up.display())), "{dry}");

    fleet.ok(["push", "tree", &at(&up)]);
    fs::write(up.join("tree/extra"), "x").unwrap();
    fleet.ok(["push", "--delete", "tree/", &at(&up.join("tree"))]);
    for name in ["small", "a/small", "a/large"] {
        assert_same(&fleet.path("tree").join(name), &up.join("tree").join(name));
    }
    assert!(!up.join("tree/extra").exists());
    fleet.ok(["clean", &at(&up)]);

    fs::rename(up.join("tree"), down.join("tree")).unwrap();
    fleet.ok(["pull", &at(&down.join("tree/a/large")), "got"]);
    assert_same(&down.join("tree/a/large"), &fleet.path("got"));
    fleet.ok(["pull", &at(&down.join("tree")), "all"]);
    assert_same(&down.join("tree/a/small"), &fleet.path("all/tree/a/small"));
}

#[test]
fn no_path_leads_out_of_a_root() {
    let (fleet, _agent) = with_roots();
    let [up, down, out] = ["up", "down", "out"].map(|name| directory(&fleet, name));
    fs::write(fleet.path("file"), "new").unwrap();
    fs::create_dir(fleet.path("tree")).unwrap();
    fs::write(fleet.path("tree/secret"), "new").unwrap();
    for root in [&up, &down] {
        symlink(&out, root.join("link")).unwrap();
        symlink(out.join("secret"), root.join("to-secret")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
    }
    let outside: Vec<String> = [
        out.join("secret"),
        "/etc/passwd".into(),
        format!("{}/../out/secret", up.display()).into(),
        format!("{}//../out/secret", down.display()).into(),
        format!("{}x", up.display()).into(),
        "relative".into(),
        "".into(),
        "/proc/self/cwd/x".into(),
        "/proc/self/fd/3".into(),
        up.parent().unwrap().to_owned(),
    ]
    .iter()
    .map(|path| at(path))
    .collect();
    for path in &outside {
        refused(&fleet, ["push", "file", path]);
        refused(&fleet, ["push", "--dry-run", "file", path]);
        refused(&fleet, ["push", "tree", path]);
        refused(&fleet, ["push", "tree/", "--delete", "--max-delete", "9", path]);
        refused(&fleet, ["clean", path]);
        if path != "web1:" {
            refused(&fleet, ["pull", path, "got"]);
        }
    }
    // Each rule is for its own verb.
    refused(&fleet, ["push", "file", &at(&down.join("x"))]);
    refused(&fleet, ["pull", &at(&up.join("x")), "got"]);
    for (option, value) in
        [("--owner", None), ("-A", None), ("--special", None), ("--chown", Some("nobody"))]
    {
        let dest = at(&up.join("x"));
        let push: Vec<&str> = ["push", "file", &dest, option].into_iter().chain(value).collect();
        let error = refused(&fleet, push);
        assert!(error.contains(option), "{error}");
    }

    fs::write(down.join("file"), "new").unwrap();
    for option in ["--owner", "-A", "--special"] {
        let error = refused(&fleet, ["pull", &at(&down.join("file")), "got", option]);
        assert!(error.contains(option), "{error}");
    }
    fs::remove_file(down.join("file")).unwrap();

    let link = |root: &Path, path: &str| at(&root.join(path));
    for path in ["link/secret", "link/new", "slash/etc/x", "link/", "magic/x"] {
        refused(&fleet, ["push", "file", &link(&up, path)]);
        refused(&fleet, ["push", "tree", &link(&up, path)]);
    }
    for path in ["link/secret", "to-secret", "slash/etc/passwd", "link", "magic"] {
        refused(&fleet, ["pull", &link(&down, path), "got"]);
    }
    refused(&fleet, ["clean", &link(&up, "link")]);
    // A link with the name of the destination is itself replaced.
    fleet.ok(["push", "file", &link(&up, "to-secret")]);
    fleet.ok(["push", "tree/", "--delete", &link(&up, "made")]);
    assert!(up.join("to-secret").symlink_metadata().unwrap().is_file());
    assert_eq!(names(&out), ["secret"]);
    assert_eq!(fs::read_to_string(out.join("secret")).unwrap(), "the secret");
    assert!(!fleet.path("got").exists());
}

#[test]
fn a_file_with_other_names_is_neither_read_nor_changed() {
    let (fleet, _agent) = with_roots();
    let [up, down, out] = ["up", "down", "out"].map(|name| directory(&fleet, name));
    random_file(&out.join("large"), 3 << 20, 5);
    for (file, root) in [("secret", &up), ("secret", &down), ("large", &up), ("large", &down)] {
        fs::create_dir_all(root.join("tree")).unwrap();
        fs::hard_link(out.join(file), root.join("tree").join(file)).unwrap();
    }
    let before = out.join("secret").metadata().unwrap();
    for file in ["secret", "large"] {
        let error = refused(&fleet, ["pull", &at(&down.join("tree").join(file)), "got"]);
        assert!(error.contains("more than one name"), "{error}");
    }
    for more in [&[][..], &["--checksum"], &["--dry-run", "--checksum"], &["-n"]] {
        let source = at(&down.join("tree"));
        let pulled = fleet.run([&["pull", &source, "got"], more].concat());
        assert_eq!(pulled.status.code(), Some(255));
        let error = String::from_utf8(pulled.stderr).unwrap();
        assert_eq!(error.matches("more than one name").count(), 2, "{more:?}: {error}");
        assert!(!error.contains("create"), "{error}");
        assert!(!fleet.path("got/tree/secret").exists() && !fleet.path("got/tree/large").exists());
    }

    // The same size and time, so that nothing but attributes would change; and another content of each size.
    fs::create_dir(fleet.path("tree")).unwrap();
    for (name, content) in [("secret", "the secreT".to_owned()), ("large", "x".repeat(3 << 20))] {
        let file = fs::File::create(fleet.path("tree").join(name)).unwrap();
        fs::write(fleet.path("tree").join(name), content).unwrap();
        file.set_modified(out.join(name).metadata().unwrap().modified().unwrap()).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o666)).unwrap();
    }
    for more in [&["--inplace"][..], &["--inplace", "--checksum"], &[], &["--backup"]] {
        for file in ["secret", "large"] {
            let name = up.join("tree").join(file);
            fs::remove_file(&name).unwrap();
            fs::hard_link(out.join(file), &name).unwrap();
        }
        let dest = at(&up.join("tree"));
        fleet.ok([&["push", "tree/", &dest], more].concat());
        for file in ["secret", "large"] {
            assert_same(&fleet.path("tree").join(file), &up.join("tree").join(file));
            let _ = fs::remove_file(up.join("tree").join(format!("{file}~")));
        }
        let single = at(&up.join("single"));
        let _ = fs::remove_file(up.join("single"));
        fs::hard_link(out.join("secret"), up.join("single")).unwrap();
        fleet.ok([&["push", "tree/secret", &single], more].concat());
        let _ = fs::remove_file(up.join("single~"));
    }
    let after = out.join("secret").metadata().unwrap();
    assert_eq!(fs::read_to_string(out.join("secret")).unwrap(), "the secret");
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
}

/// Each path, whether a push to it and a pull of it are permitted.
#[test]
fn what_can_says_of_links_is_what_a_transfer_meets() {
    let (fleet, _agent) = with_roots();
    let [up, down, out] = ["up", "down", "out"].map(|name| directory(&fleet, name));
    let me = fleet.label();
    fs::write(fleet.path("file"), "new").unwrap();
    let prepare = |root: &Path| {
        fs::remove_dir_all(root).unwrap();
        fs::create_dir_all(root.join("dir/deep")).unwrap();
        fs::write(root.join("dir/file"), "x").unwrap();
        fs::hard_link(out.join("secret"), root.join("twice")).unwrap();
        symlink(&out, root.join("link")).unwrap();
        symlink("dir", root.join("inner")).unwrap();
        symlink("dir/file", root.join("to-file")).unwrap();
        symlink("nowhere", root.join("nowhere")).unwrap();
        symlink("nowhere", root.join("dir/deep/link")).unwrap();
    };
    let can = |option: &str, path: &Path| {
        let output = fleet.run(["can", &me, "web1", option, path.to_str().unwrap()]);
        (output.status.code(), text(&output.stdout).to_owned())
    };
    for (path, pushed, pulled) in [
        ("dir/file", true, true),
        ("new/file", true, true),
        ("twice", true, false),
        ("link", true, false),
        ("link/", false, false),
        ("link/secret", false, false),
        ("link/none/x", false, false),
        ("inner/file", false, false),
        ("inner", true, false),
        ("to-file", true, false),
        ("nowhere", true, false),
        ("nowhere/x", false, false),
        ("dir/deep/link/x", false, false),
    ] {
        for (option, root, permitted) in [("--push", &up, pushed), ("--pull", &down, pulled)] {
            prepare(root);
            if path == "new/file" {
                fs::create_dir(down.join("new")).unwrap();
                fs::write(down.join("new/file"), "x").unwrap();
            }
            let path = root.join(path);
            let (code, told) = can(option, &path);
            let verb = &option[2..];
            let remote = at(&path);
            let transfer = match verb {
                "push" => ["push", "file", &remote],
                _ => ["pull", &remote, "got"],
            };
            if permitted {
                assert_eq!(code, Some(0), "{option} {path:?}: {told}");
                fleet.ok(transfer);
            } else {
                assert_eq!(code, Some(1), "{option} {path:?}: {told}");
                let refused = refused(&fleet, transfer);
                let why = told.trim_end().rsplit("denied: ").next().unwrap();
                assert!(why.starts_with(&format!("{verb}: keyring.toml:")), "{why}");
                assert!(refused.contains(why), "{refused}: {why}");
            }
        }
    }
    assert_eq!(fs::read_to_string(out.join("secret")).unwrap(), "the secret");
    assert_eq!(names(&out), ["secret"]);
}

#[test]
fn within_a_root_only_attributes_of_users_go_and_others_are_told() {
    let (fleet, _agent) = with_roots();
    let [up, down] = ["up", "down"].map(|name| directory(&fleet, name));
    let set = |path: &Path, name: &str| {
        rustix::fs::setxattr(path, name, b"1", rustix::fs::XattrFlags::empty()).is_ok()
    };
    let has = |path: &Path, name: &str| {
        rustix::fs::getxattr(path, name, &mut [0; 10][..]).is_ok_and(|len| len > 0)
    };
    fs::create_dir(fleet.path("tree")).unwrap();
    for name in ["user", "root"] {
        fs::write(fleet.path("tree").join(name), name).unwrap();
        fs::write(down.join(name), name).unwrap();
        for file in [fleet.path("tree").join(name), down.join(name)] {
            let space = if name == "user" { "user.a" } else { "trusted.a" };
            if !set(&file, space) {
                // Only root has the other kind, and not every file system has any.
                return;
            }
        }
    }
    let why = "it has extended attributes besides user.*";
    let user = fleet.path("tree/user").into_os_string().into_string().unwrap();
    fleet.ok(["push", &user, &at(&up), "-X"]);
    assert!(has(&up.join("user"), "user.a"));
    let error = fleet.fails(255, ["push", "tree/root", &at(&up), "-X"]);
    assert!(error.contains(why) && !up.join("root").exists(), "{error}");
    let of_tree = |args: &[&str]| {
        let output = fleet.run(args);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    };
    of_tree(&["push", "tree", &at(&up), "-X"]);
    assert_eq!(names(&up.join("tree")), ["user"], "others go on");
    fleet.ok(["push", "tree/root", &at(&up)]);
    assert!(!has(&up.join("root"), "trusted.a"));

    fleet.ok(["pull", &at(&down.join("user")), "got", "-X"]);
    assert!(has(&fleet.path("got"), "user.a"));
    let error = fleet.fails(255, ["pull", &at(&down.join("root")), "other", "-X"]);
    assert!(error.contains(why) && !fleet.path("other").exists(), "{error}");
    of_tree(&["pull", &at(&down), "all", "-X"]);
    assert_eq!(names(&fleet.path("all/down")), ["user"]);
}

/// `LARIAT_ROUNDS` says how often it is tried, each way.
#[test]
fn a_parent_that_is_swapped_all_the_time_leads_nowhere() {
    let (fleet, _agent) = with_roots();
    let [up, down, out] = ["up", "down", "out"].map(|name| directory(&fleet, name));
    fs::write(fleet.path("file"), "new").unwrap();
    for root in [&up, &down] {
        fs::create_dir(root.join("inner")).unwrap();
        fs::write(root.join("inner/secret"), "mine").unwrap();
        symlink(&out, root.join("link")).unwrap();
    }
    let stop = AtomicBool::new(false);
    let (rounds, mut through) = (number("LARIAT_ROUNDS").unwrap_or(40), 0);
    std::thread::scope(|scope| {
        for root in [&up, &down] {
            let stop = &stop;
            scope.spawn(move || {
                let directory = fs::File::open(root).unwrap();
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(&directory, "inner", &directory, "link", flags)
                        .unwrap();
                }
            });
        }
        for round in 0..rounds {
            let _ = fs::remove_file(fleet.path("got"));
            // Whatever comes of it, nothing is written or read outside.
            let pushed = format!("{}/inner/new{round}", up.display());
            for args in [
                ["push", "file", &format!("web1:{pushed}")],
                ["pull", &at(&down.join("inner/secret")), "got"],
            ] {
                through += u64::from(fleet.run(args).status.success());
            }
            if let Ok(got) = fs::read_to_string(fleet.path("got")) {
                assert_eq!(got, "mine");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&out), ["secret"]);
    assert!(0 < through && through < 2 * rounds, "{through} of {rounds} twice: it was no race");
}

#[test]
fn a_root_that_is_a_link_is_no_root() {
    let (fleet, _agent) = with_roots();
    let [up, out] = ["up", "out"].map(|name| directory(&fleet, name));
    fs::write(fleet.path("file"), "new").unwrap();
    fs::rename(&up, fleet.path("moved")).unwrap();
    symlink(&out, &up).unwrap();
    refused(&fleet, ["push", "file", &at(&up.join("x"))]);
    fs::remove_file(&up).unwrap();
    let error = fleet.fails(255, ["push", "file", &at(&up.join("x"))]);
    assert!(error.contains("no such file"), "a missing root is not made: {error}");
    assert_eq!(names(&out), ["secret"]);
}

#[test]
fn a_confined_user_stays_in_the_root_too() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can act as another user.
        return;
    }
    let (fleet, agent) = with_roots();
    let [up, out] = ["up", "out"].map(|name| directory(&fleet, name));
    drop(agent);
    let rules = format!(
        "verbs = [\"push\", \"pull\"]\nusers = [\"nobody\"]\npush = [\"{0}\"]\npull = [\"{0}\"]\n",
        up.display()
    );
    fleet.set_rules("web1", &rules);
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let searchable = fs::Permissions::from_mode(0o711);
    fs::set_permissions(fleet.path("").parent().unwrap(), searchable).unwrap();
    for directory in [&up, &out] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::chown(directory, Some(65_534), Some(65_534)).unwrap();
    }
    random_file(&fleet.path("file"), 3 << 20, 1);
    symlink(&out, up.join("link")).unwrap();
    fleet.ok(["push", "file", &at(&up)]);
    assert_eq!(up.join("file").metadata().unwrap().uid(), 65_534);
    fleet.ok(["pull", &at(&up.join("file")), "got"]);
    assert_same(&fleet.path("file"), &fleet.path("got"));
    refused(&fleet, ["push", "file", &at(&up.join("link/x"))]);
    refused(&fleet, ["push", "file", &at(&up.join("link/"))]);
    refused(&fleet, ["pull", &at(&up.join("link/secret")), "got"]);
    // `can` looks as that user: what it may not see is no verdict.
    fs::create_dir(up.join("closed")).unwrap();
    symlink(&out, up.join("closed/link")).unwrap();
    fs::set_permissions(up.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let me = fleet.label();
    for (path, code) in [("link/x", 1), ("link/", 1), ("file", 0), ("closed/link/x", 0)] {
        let can = fleet.run(["can", &me, "web1", "--push", up.join(path).to_str().unwrap()]);
        assert_eq!(can.status.code(), Some(code), "{path}: {can:?}");
    }
    refused(&fleet, ["push", "file", &at(&out.join("x"))]);
    assert_eq!(names(&out), ["secret"]);
}

#[test]
fn a_list_that_is_empty_permits_nothing() {
    let (fleet, _agent) =
        TestFleet::with_rules("verbs = [\"push\", \"pull\"]\npush = []\npull = []\n");
    fs::write(fleet.path("file"), "new").unwrap();
    let error = refused(&fleet, ["push", "file", "web1:/tmp/x"]);
    assert!(error.contains("push: keyring.toml:10 has no directory above /tmp/x"), "{error}");
    refused(&fleet, ["pull", "web1:/etc/passwd", "got"]);
}
