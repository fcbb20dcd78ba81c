//! Metadata of single files, with the real binaries: what is copied, what is not, what a dry run reports of
//! it, and what the rules exclude.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::ManyAgents;
use rustix::fs::XattrFlags;

/// The arguments of a verb with its operands and options.
fn line(verb: &str, from: &str, to: &str, options: &[&str]) -> Vec<String> {
    let words = [verb, from, to].into_iter().chain(options.iter().copied());
    words.map(ToOwned::to_owned).collect()
}

fn push(fleet: &TestFleet, source: &Path, dest: &Path, options: &[&str]) -> String {
    fleet.ok(line("push", &text(source), &remote(dest), options))
}

fn pull(fleet: &TestFleet, source: &Path, dest: &Path, options: &[&str]) -> String {
    fleet.ok(line("pull", &remote(source), &text(dest), options))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = path.metadata().unwrap();
    (metadata.uid(), metadata.gid())
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).is_ok()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let len = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// A direction in which a file is copied.
type Moved = fn(&TestFleet, &Path, &Path, &[&str]) -> String;

/// Both directions.
const BOTH: [Moved; 2] = [push, pull];

#[test]
fn special_bits_travel_when_asked_for_and_a_given_mode_wins() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 1000, 1);
    set_mode(&source, 0o6751);
    for moved in BOTH {
        for (options, expected) in [
            (&[][..], 0o751),
            (&["--special"], 0o6751),
            (&["--special", "--chmod", "640"], 0o640),
            (&["--chmod", "600"], 0o600),
            (&["--chmod", "u=rwX,g-x,o="], 0o740),
        ] {
            moved(&fleet, &source, &dest, options);
            assert_eq!(mode(&dest), expected, "{options:?}");
        }
    }
}

#[test]
fn a_trees_files_and_directories_have_changes_of_their_own() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    std::fs::create_dir_all(source.join("in")).unwrap();
    let random =
        [("plain", 0o644, 1000), ("in/program", 0o755, 1000), ("in/large", 0o666, 3 << 20)];
    for (name, mode, size) in random {
        random_file(&source.join(name), size, 1);
        set_mode(&source.join(name), mode);
    }
    for (number, moved) in BOTH.into_iter().enumerate() {
        let dest = fleet.path(format!("dest{number}"));
        let options = &["--chmod", "D750,go-w,a+X,o-r"];
        moved(&fleet, &source, &dest, options);
        let dest = if dest.join("source").exists() { dest.join("source") } else { dest };
        let modes = ["in", "plain", "in/program", "in/large"].map(|name| mode(&dest.join(name)));
        assert_eq!(modes, [0o750, 0o640, 0o751, 0o640]);
    }
}

#[test]
fn extended_attributes_travel_when_asked_for_and_else_stay() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 1000, 1);
    if !set_xattr(&source, "user.new", b"1\0\xff") {
        // A file system without ACLs.
        return;
    }
    for moved in BOTH {
        std::fs::write(&dest, "old").unwrap();
        assert!(set_xattr(&dest, "user.old", b"x"));
        moved(&fleet, &source, &dest, &[]);
        assert_eq!((xattr(&dest, "user.old"), xattr(&dest, "user.new")), (Some(b"x".into()), None));
        moved(&fleet, &source, &dest, &["-X"]);
        let new = Some(b"1\0\xff".to_vec());
        assert_eq!((xattr(&dest, "user.old"), xattr(&dest, "user.new")), (None, new));
        std::fs::remove_file(&dest).unwrap();
    }
}

#[test]
fn owners_travel_when_asked_for_and_need_root_at_both_ends() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 1000, 1);
    std::os::unix::fs::chown(&source, Some(12345), Some(54321)).unwrap();
    set_mode(&source, 0o4755);
    for moved in BOTH {
        moved(&fleet, &source, &dest, &[]);
        assert_eq!(owner(&dest), (0, 0));
        moved(&fleet, &source, &dest, &["--owner", "--special"]);
        assert_eq!((owner(&dest), mode(&dest)), ((12345, 54321), 0o4755));
        moved(&fleet, &source, &dest, &["--owner", "--chown", "7"]);
        assert_eq!(owner(&dest), (7, 54321));
        std::fs::remove_file(&dest).unwrap();
    }
    let open = tempfile::tempdir().unwrap();
    set_mode(open.path(), 0o777);
    let dest = open.path().join("dest");
    let args = line("push", &text(&source), &remote(&dest), &["--owner", "--user", "nobody"]);
    let error = fleet.fails(255, args);
    assert!(error.contains("set metadata of") && error.contains("not permitted"), "{error}");
    assert_eq!(std::fs::read_dir(open.path()).unwrap().count(), 0);
}

#[test]
fn several_sources_and_stdin_get_them_as_well() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (file, directory, there) =
        (fleet.path("file"), fleet.path("directory"), fleet.path("there"));
    random_file(&file, 600_000, 1);
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("inner"), "x").unwrap();
    for path in [&file, &directory.join("inner")] {
        set_mode(path, 0o2755);
    }
    let options = ["-H", "-X", "--owner", "--special", "--delete"];
    let args = ["push", &text(&file), &text(&directory), &remote(&there)];
    fleet.ok(args.iter().chain(&options));
    assert_eq!((mode(&there.join("file")), mode(&there.join("directory/inner"))), (0o2755, 0o2755));

    let dest = fleet.path("stdin");
    std::fs::write(&dest, "old").unwrap();
    let has_xattrs = set_xattr(&dest, "user.old", b"x");
    let mut command = fleet.lariat();
    command.args(["push", "-", &remote(&dest)]).args(options);
    let status = command.stdin(std::fs::File::open(&file).unwrap()).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read(&dest).unwrap(), std::fs::read(&file).unwrap());
    assert!(!has_xattrs || xattr(&dest, "user.old").is_some(), "stdin has none to replace it");
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, directory) = (fleet.path("source"), fleet.path("directory"));
    random_file(&source, 1000, 1);
    set_mode(&source, 0o644);
    std::fs::create_dir(&directory).unwrap();
    let dest = directory.join("dest");
    let dry = |moved: Moved, dest: &Path, more: &[&str]| {
        moved(&fleet, &source, dest, &[&["--dry-run"], more].concat())
    };
    for moved in BOTH {
        let told = |what: &str, path: &Path| format!("{what} {}\n", text(path));
        assert_eq!(dry(moved, &dest, &[]), told("make", &dest));
        assert_eq!(dry(moved, &directory, &[]), told("make", &directory.join("source")));
        let missing = fleet.path("no/such/source");
        assert_eq!(dry(moved, &fleet.path("no/such/"), &[]), told("make", &missing));
        assert!(!fleet.path("no").exists());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);

        moved(&fleet, &source, &dest, &[]);
        assert_eq!(dry(moved, &dest, &[]), "");
        assert_eq!(dry(moved, &dest, &["--checksum"]), "");
        assert_eq!(dry(moved, &dest, &["--chmod", "600"]), told("touch", &dest));
        assert_eq!(mode(&dest), 0o644);
        let time = dest.metadata().unwrap().modified().unwrap();
        random_file(&dest, 1000, 2);
        let file = std::fs::File::options().write(true).open(&dest).unwrap();
        file.set_modified(time).unwrap();
        assert_eq!(dry(moved, &dest, &[]), told("change", &dest), "only the content differs");
        assert_eq!(dry(moved, &dest, &["--checksum"]), told("change", &dest));
        std::fs::write(&dest, "other").unwrap();
        assert_eq!(dry(moved, &dest, &[]), told("change", &dest));
        assert_eq!(std::fs::read(&dest).unwrap(), b"other");
        std::fs::remove_file(&dest).unwrap();
    }
}

#[test]
fn a_dry_run_is_summed_up_and_refused_as_the_push_would_be() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, tree) = (fleet.path("source"), fleet.path("tree"));
    random_file(&source, 1000, 1);
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("inner"), "x").unwrap();
    let there = fleet.path("there");
    let args = ["push", &text(&source), &text(&tree), &remote(&there), "--dry-run"];
    let output = fleet.run(args);
    let into = |name: &str| format!("{}/{name}", text(&there));
    let told = ["source", "tree", "tree/inner"].map(|name| format!("make {}\n", into(name)));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), told.concat());
    let summary = String::from_utf8(output.stderr).unwrap();
    let expected = "web1: a dry run of 2 files, 1001 B: 2 changed, ";
    assert!(summary.starts_with(expected), "{summary}");
    assert!(!there.exists());
    let output = fleet.run(line("push", &text(&source), &remote(&there), &["--dry-run", "--json"]));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["ok"], &object["files"]), (&true.into(), &1.into()));
    assert_eq!((&object["bytes"], &object["sent"]), (&1000.into(), &0.into()));
    assert_eq!(object["reused"], 0);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with(&format!("make {}\n", text(&there))), "{told}");

    std::fs::create_dir_all(there.join("source")).unwrap();
    let error = fleet.fails(255, line("push", &text(&source), &remote(&there), &["--dry-run"]));
    assert!(error.contains("web1") && error.contains("a directory"), "{error}");
    let error = fleet.fails(255, line("pull", &remote(&source), "-", &["--dry-run"]));
    assert!(error.contains("stdout"), "{error}");
    let list = text(&fleet.path("list"));
    std::fs::write(&list, "a\n").unwrap();
    for dry in [&[][..], &["--dry-run"]] {
        let options = [&["--files-from", &list], dry].concat();
        let error = fleet.fails(255, line("pull", &remote(&source), "x", &options));
        assert!(error.contains("--files-from") && error.contains("this is a file"), "{error}");
    }
}

#[test]
fn a_dry_run_does_not_read_stdin() {
    let (fleet, _agent) = TestFleet::with_agent();
    let dest = fleet.path("dest");
    for told in ["make", "change"] {
        let told = format!("{told} {}\n", text(&dest));
        let mut command = fleet.lariat();
        // A pipe that is never written to or closed: reading it would take for ever.
        command.args(["push", "-", &remote(&dest), "--dry-run"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let held = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(held);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
        std::fs::write(&dest, "").unwrap();
    }
}

#[test]
fn a_named_file_that_the_rules_leave_out_is_left_out() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    std::fs::create_dir(&source).unwrap();
    for name in ["a.c", "a.o", "keep.o"] {
        std::fs::write(source.join(name), name).unwrap();
    }
    let rules = ["--exclude", "*.o", "--include", "keep.o"].map(ToOwned::to_owned);
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for (verb, dest) in [("push", fleet.path("there")), ("pull", fleet.path("here"))] {
        let from = |name: &str| match verb {
            "push" => text(&source.join(name)),
            _ => remote(&source.join(name)),
        };
        let to = if verb == "push" { remote(&dest) } else { text(&dest) };
        let args = [verb.to_owned(), from("a.c"), from("a.o"), from("keep.o"), to.clone()];
        let output = fleet.run(args.into_iter().chain(rules.clone()));
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("web1: 2 files, 9 B: "));
        assert_eq!(names(&dest), ["a.c", "keep.o"]);
        let args = [verb.to_owned(), from("gone.o"), to];
        let error = fleet.fails(255, args.into_iter().chain(rules.clone()));
        assert!(error.contains("gone.o"), "one that is not there is told: {error}");
    }
}

#[test]
fn to_many_hosts_a_file_takes_them_along_and_is_looked_at_once() {
    let fleet = TestFleet::new();
    let _agents = ManyAgents::start(&fleet, 3);
    let (file, there) = (fleet.path("file.o"), fleet.path("there"));
    random_file(&file, 600_000, 1);
    set_mode(&file, 0o4750);
    let has_xattrs = set_xattr(&file, "user.a", b"1");
    let to = format!("all:{}/{{host}}", there.display());
    let args = |options: &[&str]| line("push", &text(&file), &to, options);
    let mut told: Vec<String> =
        fleet.ok(args(&["--dry-run", "--checksum"])).lines().map(ToOwned::to_owned).collect();
    told.sort();
    let hosts = ["h0001", "h0002", "h0003"];
    assert_eq!(told, hosts.map(|host| format!("{host}: make {}/{host}", text(&there))));
    fleet.ok(args(&["--exclude", "*.o"]));
    assert!(!there.exists());
    fleet.ok(args(&["-X", "--owner", "--special"]));
    for host in ["h0001", "h0002", "h0003"] {
        assert_eq!(mode(&there.join(host)), 0o4750);
        assert!(!has_xattrs || xattr(&there.join(host), "user.a").is_some());
    }
    assert_eq!(fleet.ok(args(&["--dry-run", "--special"])), "");

    let from = format!("all:{}", text(&file));
    let mut told: Vec<String> = fleet
        .ok(line("pull", &from, &text(&fleet.path("here")), &["--dry-run"]))
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    told.sort();
    let here = text(&fleet.path("here"));
    assert_eq!(told, hosts.map(|host| format!("{host}: make {here}/{host}/file.o")));
    fleet.ok(line("pull", &from, &text(&fleet.path("here")), &["--special", "-X"]));
    assert_eq!(mode(&fleet.path("here/h0002/file.o")), 0o4750);
}
