//! Where sources go: rsync's rule, for push, pull, plans and several hosts, and what `--delete` clears by it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;
use serde_json::Value;

/// A directory `site` with `index` and `img/1` in it, and a file `file`.
fn sources(fleet: &TestFleet) {
    fs::create_dir_all(fleet.path("site/img")).unwrap();
    fs::write(fleet.path("site/index"), "hello").unwrap();
    fs::write(fleet.path("site/img/1"), "one").unwrap();
    fs::write(fleet.path("file"), "file").unwrap();
}

/// All names below a directory, sorted.
fn names(root: &Path) -> Vec<String> {
    fn down(directory: &Path, before: &str, all: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries {
            let entry = entry.unwrap();
            let name = format!("{before}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                down(&entry.path(), &format!("{name}/"), all);
            }
            all.push(name);
        }
    }
    let mut all = Vec::new();
    down(root, "", &mut all);
    all.sort();
    all
}

const SITE: [&str; 3] = ["img", "img/1", "index"];

fn in_site(root: &Path) -> bool {
    names(&root.join("site")) == SITE && names(root).len() == 4
}

#[test]
fn a_directory_goes_into_dest_and_its_contents_become_dest() {
    let (fleet, _agent) = TestFleet::with_agent();
    sources(&fleet);
    symlink("site", fleet.path("to-site")).unwrap();
    symlink("file", fleet.path("to-file")).unwrap();
    let work = fleet.path("");
    let work = work.to_str().unwrap().trim_end_matches('/');
    for verb in ["push", "pull"] {
        let copy = |sources: &[&str], dest: &str| {
            let here = fleet.path(format!("{verb}-{dest}"));
            let there = format!("web1:{work}/{verb}-{dest}");
            let local = format!("{work}/{verb}-{dest}");
            let from = |source: &&str| match verb {
                "push" => (*source).to_owned(),
                _ => format!("web1:{work}/{source}"),
            };
            let mut args = vec![verb.to_owned()];
            args.extend(sources.iter().map(from));
            args.push(if verb == "push" { there } else { local });
            // The second run does the same as the first.
            fleet.ok(&args);
            fleet.ok(&args);
            here
        };
        for dest in ["a", "b/", "c/new/x", "d/."] {
            assert!(in_site(&copy(&["site"], dest)), "{verb} {dest}");
        }
        for contents in ["site/", "site/.", "site//", "site/img/.."] {
            let dest = format!("of-{}", contents.replace('/', "-"));
            assert_eq!(names(&copy(&[contents], &dest)), SITE, "{verb} {contents}");
        }
        assert_eq!(names(&copy(&["to-site"], "e").join("to-site")), SITE, "{verb}");
        assert_eq!(names(&copy(&["to-site/"], "f")), SITE, "{verb}");
        assert_eq!(names(&copy(&["site/", "file"], "g")), ["file", "img", "img/1", "index"]);
        assert_eq!(names(&copy(&["file", "site/img"], "h")), ["file", "img", "img/1"]);
        assert!(copy(&["file"], "i").is_file() && copy(&["to-file"], "j").is_file());
        assert!(!fleet.path(format!("{verb}-j")).is_symlink());
        fs::create_dir(fleet.path(format!("{verb}-k"))).unwrap();
        for (dest, name) in [("k", "file"), ("l/", "file")] {
            assert_eq!(names(&copy(&["file"], dest)), [name]);
        }
    }
    let mut push = fleet.lariat();
    push.current_dir(fleet.path("site")).args(["push", ".", &format!("web1:{work}/dot")]);
    assert!(push.status().unwrap().success());
    assert_eq!(names(&fleet.path("dot")), SITE);
    for bad in ["file/", "nothing/"] {
        fleet.fails(255, ["push", bad, &format!("web1:{work}/bad")]);
        fleet.fails(255, ["pull", &format!("web1:{work}/{bad}"), "bad"]);
        assert!(!fleet.path("bad").exists());
    }
}

#[test]
fn listed_paths_land_beneath_dest_slash_or_not() {
    let (fleet, _agent) = TestFleet::with_agent();
    sources(&fleet);
    let there = fleet.path("");
    let there = there.to_str().unwrap();
    fs::write(fleet.path("list"), b"\xef\xbb\xbfimg/1\r\nindex\r\n").unwrap();
    fs::write(fleet.path("list0"), b"img/1\0index\0").unwrap();
    for (list, option) in [("list", "--checksum"), ("list0", "-0")] {
        for source in ["site", "site/"] {
            let dest = format!("{list}{}", source.len());
            let args = ["--files-from", list, option];
            fleet.ok([&["push", source, &format!("web1:{there}push-{dest}")][..], &args].concat());
            assert_eq!(names(&fleet.path(format!("push-{dest}"))), SITE);
            let from = format!("web1:{there}{source}");
            fleet.ok([&["pull", &from, &format!("pull-{dest}")][..], &args].concat());
            assert_eq!(names(&fleet.path(format!("pull-{dest}"))), SITE);
        }
    }
    let error = fleet
        .fails(255, ["push", "site", "file", &format!("web1:{there}x"), "--files-from", "list"]);
    assert!(error.contains("paths of one SOURCE"), "{error}");
}

#[test]
fn several_hosts_and_plans_follow_the_same_rule() {
    let (fleet, _agents) = fleet_of(2);
    sources(&fleet);
    let work = fleet.path("");
    let work = work.to_str().unwrap().trim_end_matches('/');
    fleet.ok(["push", "site", &format!("all:{work}/push/{{host}}")]);
    fleet.ok(["push", "site/", &format!("all:{work}/of/{{host}}/{{{{host}}}}")]);
    fleet.ok(["pull", &format!("all:{work}/site"), "pull"]);
    fleet.ok(["pull", &format!("all:{work}/site/"), "contents"]);
    fleet.ok(["pull", &format!("all:{work}/site"), "named/{host}"]);
    let plan = format!(
        "[[step]]\npush = \"site\"\ndest = \"{work}/plan/{{host}}\"\n\
         [[step]]\npush = \"site/\"\ndest = \"{work}/plan-of/{{host}}\"\n\
         [[step]]\npull = \"{work}/site/\"\ndest = \"plan-pull\"\n"
    );
    fs::write(fleet.path("p.toml"), plan).unwrap();
    fleet.ok(["batch", "p.toml", "all"]);
    for host in ["h0001", "h0002"] {
        let at = |path: &str| fleet.path(path).join(host);
        for path in ["push", "pull", "named", "plan"] {
            assert!(in_site(&at(path)), "{path}");
        }
        for path in ["contents", "plan-of", "plan-pull"] {
            assert_eq!(names(&at(path)), SITE, "{path}");
        }
        assert_eq!(names(&at("of").join("{host}")), SITE);
    }
    for (args, why) in [
        (["push", "site", "all:x/{hsot}"], "unknown placeholder {hsot}"),
        (["push", "file", "h0001:{HOST}"], "unknown placeholder {HOST}"),
        (["pull", "all:file", "x/{name}"], "unknown placeholder {name}"),
        (["push", "file", "h0001:~bob/x"], "the home of bob is not looked up"),
    ] {
        let error = fleet.fails(255, args);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn delete_clears_what_the_source_becomes_and_nothing_beside_it() {
    let (fleet, _agent) = TestFleet::with_agent();
    sources(&fleet);
    let there = fleet.path("there");
    let to = format!("web1:{}", there.display());
    let extra = |path: &str| {
        let path = there.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "extra").unwrap();
    };
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&fleet.ok([args, &["--json"]].concat())).unwrap()
    };
    for path in ["passwd", "site/old/deep", "site/img/2"] {
        extra(path);
    }
    // A file deletes nothing, wherever it goes.
    fleet.ok(["push", "file", &to, "--delete"]);
    assert!(there.join("passwd").exists() && there.join("site/old/deep").exists());
    let error = fleet.fails(255, ["push", "site/", "file", &to, "--delete"]);
    assert!(error.contains("--delete: the contents of site/"), "{error}");
    let dry = fleet.ok(["push", "site", &to, "--delete", "--dry-run"]);
    for path in ["site/old/deep", "site/old", "site/img/2"] {
        assert!(dry.contains(&format!("delete {}/{path}\n", there.display())), "{dry}");
    }
    let error = fleet.run(["push", "site", &to, "--delete", "--max-delete", "2"]);
    assert_eq!(error.status.code(), Some(255), "{error:?}");
    assert!(text(&error.stderr).contains("3 names would be deleted"), "{error:?}");
    assert!(there.join("site/old/deep").exists() && there.join("site/img/2").exists());
    assert!(there.join("site/index").exists(), "everything else has arrived");
    let done = json(&["push", "site", &to, "--delete", "--max-delete", "3"]);
    assert_eq!((&done["deleted"], &done["unchanged"]), (&3.into(), &2.into()), "{done}");
    assert_eq!(names(&there), ["file", "passwd", "site", "site/img", "site/img/1", "site/index"]);
    let done = json(&["push", "site/", &to, "--delete"]);
    assert_eq!((&done["deleted"], &done["changed"]), (&6.into(), &2.into()), "{done}");
    assert_eq!(names(&there), SITE);

    let back = fleet.path("back");
    fs::create_dir_all(back.join("site/old")).unwrap();
    fs::write(back.join("keep"), "x").unwrap();
    let from = format!("web1:{}", fleet.path("site").display());
    let error = fleet.run(["pull", &from, "back", "--delete", "--max-delete", "0"]);
    assert!(error.status.code() == Some(255) && back.join("site/old").exists(), "{error:?}");
    fleet.ok(["pull", &from, "back", "--delete"]);
    assert_eq!(names(&back), ["keep", "site", "site/img", "site/img/1", "site/index"]);
}

/// Only dry runs, which take the same path: were they not refused, this machine would be cleared.
#[test]
fn the_home_and_the_root_are_cleared_within_a_bound_only() {
    let (fleet, _agent) = TestFleet::with_agent();
    let empty = fleet.path("empty");
    fs::create_dir(&empty).unwrap();
    for dest in ["web1:", "web1:~", "web1:~/", "web1:.", "web1:/", "web1:/tmp/.."] {
        let error = fleet.run(["push", "empty/", dest, "--delete", "--dry-run"]);
        assert_eq!(error.status.code(), Some(255), "{error:?}");
        assert!(text(&error.stderr).contains("--max-delete"), "{error:?}");
    }
    let from = format!("web1:{}/", empty.display());
    let error = fleet.run(["pull", &from, "/", "--delete", "--dry-run"]);
    assert_eq!(error.status.code(), Some(255), "{error:?}");
    assert!(text(&error.stderr).contains("--max-delete"), "{error:?}");
}

/// A kind of change, the path that differs, and the function that makes it differ.
type Difference<'a> = (&'a str, &'a str, &'a dyn Fn(&str));

#[test]
fn a_dry_run_lists_what_the_run_changes_and_fails_as_it_does() {
    let (fleet, _agent) = TestFleet::with_agent();
    sources(&fleet);
    symlink("index", fleet.path("site/link")).unwrap();
    let there = fleet.path("there");
    let to = format!("web1:{}", there.display());
    fleet.ok(["push", "site/", &to]);
    assert_eq!(fleet.ok(["push", "site/", &to, "-n"]), "");
    let mode = |path: &str| {
        fs::set_permissions(there.join(path), PermissionsExt::from_mode(0o700)).unwrap();
    };
    let time = |path: &str| {
        let file = fs::File::open(there.join(path)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    };
    let other: [Difference<'_>; 6] = [
        ("touch", "img", &mode),
        ("touch", "index", &mode),
        ("touch", "img", &time),
        ("change", "index", &time),
        ("make", "link", &|path| fs::remove_file(there.join(path)).unwrap()),
        ("make", "img/1", &|path| fs::remove_file(there.join(path)).unwrap()),
    ];
    for (kind, path, change) in other {
        change(path);
        let line = format!("{kind} {}/{path}\n", there.display());
        let dry = fleet.run(["push", "site/", &to, "-n"]);
        assert!(text(&dry.stdout).contains(&line), "{dry:?}");
        let count = |output: &Output| {
            let summary = text(&output.stderr);
            let words: Vec<_> = summary.split(' ').collect();
            let at = words.iter().position(|word| *word == "changed,");
            at.map(|at| words[at - 1].to_owned())
        };
        let done = fleet.run(["push", "site/", &to]);
        assert!(count(&dry).is_some() && count(&dry) == count(&done), "{dry:?} {done:?}");
        let output = fleet.run(["push", "site/", &to]);
        assert!(text(&output.stderr).contains(": unchanged, "), "{output:?}");
    }

    fs::remove_file(there.join("link")).unwrap();
    fs::create_dir_all(there.join("link/full")).unwrap();
    for more in [&["-n"][..], &[]] {
        let output = fleet.run([&["push", "site/", &to][..], more].concat());
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(text(&output.stderr).contains("there/link: is a directory"), "{output:?}");
    }
    let dry = fleet.ok(["push", "site/", &to, "-n", "--delete"]);
    let lines = ["change", "delete"].map(|verb| format!("{verb} {}/link", there.display()));
    assert!(dry.contains(&format!("{}\n", lines[0])), "{dry}");
    assert!(dry.contains(&format!("{}/full\n", lines[1])), "{dry}");

    let mut full = fleet.lariat();
    full.args(["push", "file", &format!("{to}/new"), "--dry-run"]);
    let full = full.stdout(fs::File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(full.status.code(), Some(255), "{full:?}");
}

#[test]
fn of_two_sources_with_the_same_name_in_them_the_first_one_has_it() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (file, content) in
        [("a/x", "1"), ("a/d/y", "1"), ("b/x", "two"), ("b/d/y", "two"), ("b/z", "two")]
    {
        let file = fleet.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let push = |words: &[&str]| {
        let dest = format!("web1:{}", fleet.path("there").display());
        let output = fleet.run([&["push"], words, &[&*dest]].concat());
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).to_owned()
    };
    let read = |name: &str| fs::read_to_string(fleet.path("there").join(name)).unwrap();
    let left_out = "b/: d/y and one more name are left out, for a/ comes first and has them too\n";
    let told = push(&["a/", "b/", "--dry-run"]);
    assert!(told.starts_with(left_out) && !fleet.path("there").exists(), "{told}");
    let told = push(&["a/", "b/"]);
    assert!(told.starts_with(left_out) && told.contains("web1: 3 files, "), "{told}");
    assert_eq!((read("x"), read("d/y"), read("z")), ("1".into(), "1".into(), "two".into()));
    let told = push(&["a/", "b/"]);
    assert!(told.contains(": unchanged, "), "{told}");
    let pull = || {
        let source = |name: &str| format!("web1:{}/", fleet.path(name).display());
        let (b, z) = (source("b"), format!("web1:{}", fleet.path("b/z").display()));
        let output = fleet.run(["pull", &source("a"), &b, &z, "here"]);
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).to_owned()
    };
    let told = pull();
    assert!(told.contains("/b/ from web1: x and one more name are left out, "), "{told}");
    assert!(told.contains("/b/z: it is left out, ") && told.contains("web1: 3 files, "), "{told}");
    let here = |name: &str| fs::read_to_string(fleet.path("here").join(name)).unwrap();
    assert_eq!((here("x"), here("d/y"), here("z")), ("1".into(), "1".into(), "two".into()));
    let told = pull();
    assert!(told.contains(": unchanged, "), "{told}");
    // A source that is named twice is sent once.
    let told = push(&["a/x", "a/x"]);
    assert!(told.starts_with("web1: 1 file, "), "{told}");
    let there = format!("web1:{}/x", fleet.path("there").display());
    let back = fleet.run(["pull", &there, &there, "back/"]);
    assert!(text(&back.stderr).starts_with("web1: 1 file, "), "{back:?}");
}
