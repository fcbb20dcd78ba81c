//! Whole directories by `lariat push` and `pull` with the real binaries: equal afterwards, brought up to
//! date, cut and killed; one bad name stops no other.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::rng::Rng;
use lariat_testing::strace::{self, Injection};
use lariat_testing::wait;
use rustix::process::Signal;

/// A directory as a source that stands for its contents.
fn contents(path: &Path) -> String {
    format!("{}/", path.display())
}

/// Everything below a directory: name, mode, time, target or content.
fn described(root: &Path) -> Vec<String> {
    fn down(path: &Path, name: &str, all: &mut Vec<String>) {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string()
        } else if metadata.is_symlink() {
            text(&path.read_link().unwrap())
        } else {
            String::new()
        };
        let (secs, nanos) = (metadata.mtime(), metadata.mtime_nsec());
        all.push(format!("{name} {:o} {secs}.{nanos:09} {content}", metadata.mode()));
        if metadata.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
                down(&entry.path(), &inner, all);
            }
        }
    }
    let mut all = Vec::new();
    down(root, "", &mut all);
    all.sort();
    all
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (described(one), described(other));
    let differ: Vec<_> = one.iter().zip(&other).filter(|(a, b)| a != b).take(3).collect();
    assert!(one == other, "{} names and {}: {differ:?}", one.len(), other.len());
}

/// A directory with directories, files small and large, and links.
fn make_tree(root: &Path, seed: u64) {
    for directory in 0..5 {
        let directory = root.join(format!("directory{directory}"));
        std::fs::create_dir_all(directory.join("inner")).unwrap();
        for file in 0..40 {
            random_file(&directory.join(format!("file{file}")), file * 97 % 5000, seed + file);
        }
        random_file(&directory.join("inner/large"), (1 << 20) + 77, seed);
        symlink("../file1", directory.join("inner/link")).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o750)).unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
}

fn fleet_with_tree() -> (TestFleet, Agent, PathBuf) {
    let (fleet, agent) = TestFleet::with_agent();
    let source = fleet.path("site");
    make_tree(&source, 1);
    (fleet, agent, source)
}

fn counted(fleet: &TestFleet, args: &[String]) -> serde_json::Value {
    let args: Vec<String> = args.iter().cloned().chain(["--json".to_owned()]).collect();
    serde_json::from_str(&fleet.ok(args)).unwrap()
}

#[test]
fn a_directory_goes_there_and_back_and_a_second_time_costs_nothing() {
    let (fleet, _agent, source) = fleet_with_tree();
    let (there, back) = (fleet.path("there"), fleet.path("back"));
    let push = ["push".to_owned(), contents(&source), remote(&there)];
    let pull = ["pull".to_owned(), format!("{}/", remote(&there)), text(&back)];
    for (args, made) in [(&push, &there), (&pull, &back)] {
        let first = counted(&fleet, args);
        assert_same(&source, made);
        let size = first["bytes"].as_u64().unwrap();
        assert_eq!((&first["files"], &first["reused"]), (&205.into(), &0.into()));
        assert!(first["sent"].as_u64().unwrap() >= size, "{first}");
        let again = counted(&fleet, args);
        assert_eq!((&again["files"], &again["bytes"]), (&205.into(), &size.into()));
        assert_eq!((&again["sent"], &again["reused"]), (&0.into(), &size.into()));
    }
}

#[test]
fn options_choose_what_goes_and_what_stays() {
    let (fleet, _agent, source) = fleet_with_tree();
    let there = fleet.path("there");
    let push = |options: &[&str]| {
        let mut args = vec!["push".to_owned(), contents(&source), remote(&there)];
        args.extend(options.iter().map(|&option| option.to_owned()));
        fleet.ok(args)
    };
    push(&["--exclude", "inner", "--exclude", "file*", "--include", "file1"]);
    assert!(there.join("directory1/file1").exists() && there.join("empty").exists());
    assert!(!there.join("directory1/file2").exists() && !there.join("directory1/inner").exists());
    std::fs::write(there.join("extra"), "x").unwrap();
    std::fs::write(there.join("kept.log"), "x").unwrap();
    let rest = ["--exclude", "*.log", "--exclude", "directory[0234]", "--delete"];
    let told = push(&[&rest[..], &["--dry-run"]].concat());
    let told = told.replace(&text(&there), "");
    let mut told: Vec<&str> = told.lines().filter(|line| !line.contains("/file")).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "delete /extra",
            "make /directory1/inner",
            "make /directory1/inner/large",
            "make /directory1/inner/link",
            "touch "
        ]
    );
    push(&rest);
    assert!(!there.join("extra").exists() && there.join("kept.log").exists());
    push(&["--delete"]);
    assert_same(&source, &there);
}

#[test]
fn hard_links_attributes_and_special_bits_when_asked_for() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("site");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("one"), "x").unwrap();
    std::fs::hard_link(source.join("one"), source.join("two")).unwrap();
    std::fs::set_permissions(source.join("one"), PermissionsExt::from_mode(0o4755)).unwrap();
    let there = fleet.path("there");
    let ino = |name: &str| there.join(name).metadata().unwrap().ino();
    let mode = |name: &str| there.join(name).metadata().unwrap().mode() & 0o7777;
    fleet.ok(["push".to_owned(), contents(&source), remote(&there)]);
    assert!(ino("one") != ino("two") && mode("one") == 0o755);
    let options = ["-H", "-X", "--owner", "--special"].map(ToOwned::to_owned);
    let push = ["push".to_owned(), contents(&source), remote(&there)];
    fleet.ok(push.into_iter().chain(options));
    assert!(ino("one") == ino("two") && mode("one") == 0o4755);
}

#[test]
fn one_bad_name_stops_no_other_and_is_told() {
    let (fleet, _agent, source) = fleet_with_tree();
    let there = fleet.path("there");
    std::fs::create_dir_all(there.join("directory2/file7/full")).unwrap();
    std::fs::write(there.join("extra"), "x").unwrap();
    let args = ["push".to_owned(), contents(&source), remote(&there), "--delete".to_owned()];
    let without: Vec<String> = args[..3].to_vec();
    let output = fleet.run(without);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255), "{told}");
    let words = ["push", "to web1", "directory2/file7: is a directory"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("web1: 204 files"), "{told}");
    assert!(there.join("directory4/inner/large").exists() && there.join("extra").exists());
    fleet.ok(args);
    assert_same(&source, &there);
}

#[test]
fn a_cut_connection_is_made_again_and_the_tree_goes_on() {
    let (fleet, agent, source) = fleet_with_tree();
    for pull in [false, true] {
        let slow = Faulty::start(agent.address, Fault { rate: Some(8 << 20), ..Fault::default() });
        fleet.set_address("web1", slow.address);
        let there = fleet.path(if pull { "pulled" } else { "pushed" });
        let args = if pull {
            ["pull".to_owned(), format!("{}/", remote(&source)), text(&there)]
        } else {
            ["push".to_owned(), contents(&source), remote(&there)]
        };
        let mut command = fleet.lariat();
        let command = command.args(&args).arg("--json").stdout(Stdio::piped());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let sides = || slow.bytes_up() + slow.bytes_down();
        for bytes in [1_000_000, 2_500_000] {
            wait::until("bytes to pass", || (sides() >= bytes).then_some(()));
            slow.cut();
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let size = object["bytes"].as_u64().unwrap();
        // What was in flight at each cut is lost, and no more.
        assert!(sides() < size + 3_000_000, "{} for {size}", sides());
        assert_same(&source, &there);
    }
}

#[test]
fn an_agent_that_is_killed_leaves_old_files_or_new_ones() {
    let (fleet, mut agent, source) = fleet_with_tree();
    let old = fleet.path("old");
    make_tree(&old, 1000);
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    let there = fleet.path("there");
    let mut rng = Rng::new();
    println!("LARIAT_SEED={}", rng.seed());
    for _ in 0..12 {
        let _ = std::fs::remove_dir_all(&there);
        let copied = std::process::Command::new("cp").arg("-a").args([&old, &there]).status();
        assert!(copied.unwrap().success());
        let mut push = fleet.lariat();
        push.args(["push", "--reconnect", "0", &contents(&source), &remote(&there)]);
        let before = faulty.bytes_up();
        let mut child = push.stderr(Stdio::null()).spawn().unwrap();
        let after = before + rng.below(5_900_000);
        wait::until("bytes to pass", || {
            let over = faulty.bytes_up() >= after || child.try_wait().unwrap().is_some();
            over.then_some(())
        });
        agent.signal(Signal::KILL);
        agent.wait();
        child.wait().unwrap();
        for directory in 0..5 {
            for name in (0..40).map(|n| format!("file{n}")).chain(["inner/large".to_owned()]) {
                let name = format!("directory{directory}/{name}");
                let is = std::fs::read(there.join(&name)).unwrap();
                let [new, old] =
                    [&source, &old].map(|root| std::fs::read(root.join(&name)).unwrap());
                assert!(is == new || is == old, "{name}");
            }
        }
        agent = fleet.start("web1");
        faulty.set_target(agent.address);
        fleet.ok(["push".to_owned(), contents(&source), remote(&there), "--delete".to_owned()]);
        // Partials of small files are not continued, and are removed once they are old.
        let left = std::process::Command::new("find")
            .arg(&there)
            .args(["-name", ".lariat-*.part", "-delete"])
            .status();
        assert!(left.unwrap().success());
        fleet.ok(["push".to_owned(), contents(&source), remote(&there)]);
        assert_same(&source, &there);
    }
}

#[test]
fn what_the_disk_does_not_take_does_not_replace_anything() {
    if !strace::is_here() {
        return;
    }
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let (source, there) = (fleet.path("site"), fleet.path("there"));
    for (directory, content) in [(&source, "new one"), (&there, "old")] {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("file"), content).unwrap();
    }
    let log = fleet.path("log");
    let paths = [there.clone()];
    let injection = Injection { call: "syncfs", what: "error=EIO", when: 1, paths: &paths };
    let _agent = strace::start(&fleet, "web1", &injection, &log);
    let output = fleet.run(["push".to_owned(), contents(&source), remote(&there)]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(strace::happened(&log), "{told}");
    assert_eq!(output.status.code(), Some(255), "{told}");
    assert!(told.contains("sync ") && told.contains("input/output error"), "{told}");
    assert_eq!(std::fs::read(there.join("file")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 1);
}

#[test]
fn from_several_hosts_each_tree_has_a_directory_of_its_own() {
    let (fleet, _agent) = TestFleet::with_agent();
    let _second = fleet.agent("web2");
    let source = fleet.path("etc");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("conf"), "x").unwrap();
    let from = |host: &str| format!("{host}:{}", source.display());
    fleet.ok(["pull".to_owned(), from("web1"), from("web2"), text(&fleet.path("all"))]);
    assert!(fleet.path("all/web1/etc/conf").exists() && fleet.path("all/web2/etc/conf").exists());
}
