//! `lariat push` and `pull` with the real binaries: exact copies, resumed after real kills, and errors
//! without harm.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{assert_same, names, random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::Signal;

const MIB: u64 = 1 << 20;

#[test]
fn one_that_takes_too_long_is_named_and_what_was_done_counts() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (small, large) = (fleet.path("small"), fleet.path("large"));
    random_file(&small, 1000, 1);
    random_file(&large, 2 * MIB, 2);
    let there = fleet.path("there");
    std::fs::create_dir(&there).unwrap();
    for push in [true, false] {
        let paths = if push {
            [text(&small), text(&large), remote(&there)]
        } else {
            [remote(&small), remote(&large), text(&there)]
        };
        let limits = ["--timeout", "2s", "--bwlimit", "100K", "--json"].map(ToOwned::to_owned);
        let verb = if push { "push" } else { "pull" };
        let output = fleet.run([&[verb.to_owned()][..], &paths, &limits].concat());
        assert_eq!(output.status.code(), Some(124));
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&object["ok"], &object["files"]), (&false.into(), &1.into()), "{object}");
        assert!(object["seconds"].as_f64().unwrap() >= 2.0, "{object}");
        let way = if push { "to" } else { "from" };
        let error = format!("{verb} {} {way} web1: timed out after 2 s; run", large.display());
        assert!(object["error"].as_str().unwrap().starts_with(&error), "{object}");
    }
}

#[test]
fn a_file_goes_there_and_back() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (i, size) in [0, 1, 4096, 512 * 1024, 512 * 1024 + 1, 20 * MIB].into_iter().enumerate() {
        let (source, there, back) =
            (fleet.path(format!("s{i}")), fleet.path(format!("t{i}")), fleet.path(format!("b{i}")));
        random_file(&source, size, size);
        std::fs::set_permissions(&source, PermissionsExt::from_mode(0o640)).unwrap();
        let output = fleet.run(["push".into(), text(&source), remote(&there)]);
        assert!(output.status.success() && output.stdout.is_empty());
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
        fleet.ok(["pull".into(), remote(&there), text(&back)]);
        assert_same(&source, &there);
        assert_same(&source, &back);
    }
}

#[test]
fn what_the_kernel_makes_up_is_read_to_its_end() {
    let (fleet, _agent) = TestFleet::with_agent();
    for path in ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"] {
        let there = fleet.path("there");
        fleet.ok(["pull".into(), format!("web1:{path}"), text(&there)]);
        assert!(std::fs::read(&there).unwrap() == std::fs::read(path).unwrap(), "{path}");
    }
}

#[test]
fn dest_is_the_name_and_dest_slash_the_directory() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("file");
    random_file(&source, 10, 1);
    let push = |dest: &str| fleet.ok(["push".into(), text(&source), format!("web1:{dest}")]);
    let root = fleet.path("root");
    let at = |name: &str| root.join(name);
    push(&text(&at("a/b/name")));
    assert_same(&source, &at("a/b/name"));
    push(&format!("{}/", text(&at("c/d"))));
    assert_same(&source, &at("c/d/file"));
    push(&text(&at("c")));
    assert_same(&source, &at("c/file"));
    let other = fleet.path("other");
    random_file(&other, 20, 2);
    fleet.ok(["push".into(), text(&source), text(&other), remote(&at("e"))]);
    assert_eq!(names(&at("e")), ["file", "other"]);

    fleet.ok(["pull".into(), remote(&source), format!("{}/", text(&at("f")))]);
    assert_same(&source, &at("f/file"));
    fleet.ok(["pull".into(), remote(&source), remote(&other), text(&at("g"))]);
    assert_eq!(names(&at("g")), ["file", "other"]);
    fleet.ok(["pull".into(), remote(&source), "here".into()]);
    assert_same(&source, &fleet.path("here"));
}

#[test]
fn json_counts_truly() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (source, dest) = (fleet.path("source"), fleet.path("dest"));
    random_file(&source, 3 * MIB, 1);
    let json = fleet.ok(["push".into(), "--json".into(), text(&source), remote(&dest)]);
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&object["host"], &object["ok"]), (&"web1".into(), &true.into()));
    assert_eq!((&object["files"], &object["bytes"]), (&1.into(), &(3 * MIB).into()));
    assert_eq!((&object["sent"], &object["reused"]), (&(3 * MIB).into(), &0.into()));
    assert!(object["error"].is_null() && object["seconds"].as_f64().unwrap() > 0.0);
    let gone = text(&fleet.path("gone"));
    let failed = fleet.run(["push".into(), "--json".into(), gone, remote(&dest)]);
    let object: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!((failed.status.code(), &object["ok"]), (Some(255), &false.into()));
    assert!(object["error"].as_str().unwrap().contains("gone"));
}

fn pushed(fleet: &TestFleet, source: &Path, dest: &Path) -> (u64, u64) {
    let json = fleet.ok(["push".into(), "--json".into(), text(source), remote(dest)]);
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    (object["sent"].as_u64().unwrap(), object["reused"].as_u64().unwrap())
}

#[test]
fn a_push_that_is_given_up_says_that_nothing_is_lost() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let slow = Faulty::start(agent.address, Fault { rate: Some(20 << 20), ..Fault::default() });
    fleet.set_address("web1", slow.address);
    let directory = fleet.path("dest");
    std::fs::create_dir(&directory).unwrap();
    let source = fleet.path("source");
    random_file(&source, 32 * MIB, 1);
    let mut push = fleet.lariat();
    push.args(["push", "--reconnect", "0", &text(&source), &remote(&directory.join("file"))]);
    let child = push.stderr(Stdio::piped()).spawn().unwrap();
    wait::partial_reaches(&directory, 4 * MIB);
    agent.signal(Signal::KILL);
    agent.wait();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(told.ends_with("; run it again: only what is missing is sent\n"), "{told}");
}

#[test]
fn host_in_dest_is_the_hosts_name_and_what_is_refused_stops_nothing_else() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    random_file(&source, 10, 1);
    let there = fleet.path("there/{host}/file-{host}");
    fleet.ok(["push".into(), text(&source), remote(&there)]);
    let made = fleet.path("there/web1/file-web1");
    assert_same(&source, &made);
    let gone = fleet.path("gone");
    let into = text(&fleet.path("back-{host}"));
    let pulled = fleet.run(["pull".into(), remote(&gone), remote(&made), into]);
    let told = String::from_utf8(pulled.stderr).unwrap();
    assert_eq!(pulled.status.code(), Some(255));
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("open ") && told.contains("no such file or directory"), "{told}");
    assert_same(&source, &fleet.path("back-web1/file-web1"));
}

#[test]
fn two_sources_of_one_name_are_refused_before_anything_moves() {
    let (fleet, _agent) = TestFleet::with_agent();
    let sources = ["a", "b"].map(|directory| {
        std::fs::create_dir(fleet.path(directory)).unwrap();
        let source = fleet.path(directory).join("f");
        random_file(&source, 10, 1);
        source
    });
    let dest = fleet.path("dest");
    let push = sources.each_ref().map(|source| text(source));
    let pull = sources.each_ref().map(|source| remote(source));
    for (verb, [one, two], dest) in [("push", push, remote(&dest)), ("pull", pull, text(&dest))] {
        let output = fleet.run([verb.to_owned(), one, two, dest]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255));
        assert!(told.contains("two sources are named f"), "{told}");
    }
    assert!(!dest.exists());
}

#[test]
fn a_push_goes_on_after_either_end_was_killed() {
    for kill_agent in [false, true] {
        let (fleet, mut agent) = TestFleet::with_agent();
        // Slow enough to be killed in the middle.
        let slow = Faulty::start(agent.address, Fault { rate: Some(40 << 20), ..Fault::default() });
        fleet.set_address("web1", slow.address);
        let directory = fleet.path("dest");
        std::fs::create_dir(&directory).unwrap();
        let (source, dest) = (fleet.path("source"), directory.join("file"));
        random_file(&source, 32 * MIB, 1);
        std::fs::write(&dest, "old").unwrap();
        let mut push = fleet.lariat();
        push.args(["push", &text(&source), &remote(&dest)]);
        let mut child = push.stderr(Stdio::null()).spawn().unwrap();
        wait::partial_reaches(&directory, 8 * MIB);
        if kill_agent {
            agent.signal(Signal::KILL);
            agent.wait();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(std::fs::read(&dest).unwrap(), b"old");
        if kill_agent {
            agent = fleet.start("web1");
        }
        slow.set(Fault::default());
        slow.set_target(agent.address);
        let (sent, reused) = pushed(&fleet, &source, &dest);
        assert!(reused >= 7 * MIB && sent + reused == 32 * MIB, "sent {sent}, reused {reused}");
        assert_same(&source, &dest);
        assert_eq!(names(&directory), ["file"], "nothing is left of the first attempt");
    }
}

#[test]
fn a_pull_goes_on_after_it_was_killed() {
    let (fleet, agent) = TestFleet::with_agent();
    let slow = Faulty::start(agent.address, Fault { rate: Some(40 << 20), ..Fault::default() });
    fleet.set_address("web1", slow.address);
    let directory = fleet.path("dest");
    std::fs::create_dir(&directory).unwrap();
    let (source, dest) = (fleet.path("source"), directory.join("file"));
    random_file(&source, 32 * MIB, 1);
    let mut pull = fleet.lariat();
    pull.args(["pull", &remote(&source), &text(&dest)]).stderr(Stdio::null());
    let mut child = pull.spawn().unwrap();
    wait::partial_reaches(&directory, 8 * MIB);
    child.kill().unwrap();
    child.wait().unwrap();
    slow.set(Fault::default());
    let json = fleet.ok(["pull".into(), "--json".into(), remote(&source), text(&dest)]);
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(object["reused"].as_u64().unwrap() >= 7 * MIB, "{object}");
    assert_same(&source, &dest);
    assert_eq!(names(&directory), ["file"]);
}

#[test]
fn errors_name_host_path_and_cause_and_harm_nothing() {
    let (fleet, agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    random_file(&source, 2 * MIB, 1);
    let push =
        |source: &str, dest: &str| fleet.fails(255, ["push", source, &format!("web1:{dest}")]);
    let told = |error: &str, words: &[&str]| {
        assert!(words.iter().all(|word| error.contains(word)), "{error} {words:?}");
    };
    told(&push("/no/such", "/tmp/x"), &["web1", "/no/such", "no such file"]);
    told(&push("/dev/null", "/tmp/x"), &["web1", "/dev/null", "device"]);
    let dest = fleet.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &dest, rustix::fs::Mode::RWXU).unwrap();
    told(&push(&text(&source), &text(&dest)), &["web1", "fifo"]);
    told(&push(&text(&source), "/dev/null"), &["web1", "/dev/null", "device"]);
    told(&push(&text(&source), "/proc/x"), &["web1", "/proc/x"]);
    let through = format!("{}/x", text(&source));
    told(&push(&text(&source), &through), &["web1", "not a directory"]);

    let pull = |from: &str, dest: &str| fleet.fails(255, ["pull", &format!("web1:{from}"), dest]);
    told(&pull("/no/such", "x"), &["web1", "/no/such", "no such file"]);
    told(&pull("/etc/passwd", "/proc/x"), &["/proc/x"]);
    told(&pull("/etc", "-"), &["web1", "/etc", "is a directory"]);
    fleet.fails(255, ["push", "only-one"]);
    fleet.fails(255, ["push", "a", "no-colon"]);

    // The agent still serves the next transfer.
    let dest = fleet.path("dest");
    fleet.ok(["push".into(), text(&source), remote(&dest)]);
    assert_same(&source, &dest);
    let errors = agent.log().join("\n");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn names_of_any_bytes_travel_and_are_made_harmless_when_shown() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let (fleet, _agent) = TestFleet::with_agent();
    let name = OsString::from_vec(b"a\x1b[31m\xff\n'\"$(x)".to_vec());
    let source = fleet.path(&name);
    random_file(&source, 100, 1);
    let mut dest = OsString::from("web1:");
    dest.push(fleet.path("there"));
    dest.push("/");
    fleet.ok([OsString::from("push"), source.clone().into(), dest]);
    assert_same(&source, &fleet.path("there").join(&name));
    let mut missing = source.into_os_string();
    missing.push("x");
    let error = fleet.fails(255, [OsString::from("push"), missing, "web1:x".into()]);
    assert!(!error.contains('\x1b') && error.contains("\\x1b"), "{error}");
}

/// An agent with a small file system of its own, mounted at `directory`.
pub(crate) fn agent_with_small_disk(fleet: &TestFleet, directory: &Path, size: &str) -> Agent {
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let mut command = Command::new("unshare");
    let root = rustix::process::geteuid().is_root();
    command.arg(if root { "-m" } else { "-rm" }).args(["sh", "-c"]);
    command.arg(
        r#"mount -t tmpfs -o "size=$1" none "$2" && exec "$3" --config "$4" --listen 127.0.0.1:0"#,
    );
    command.arg("sh").arg(size).arg(directory).arg(&binaries().lariatd).arg(&config);
    let agent = Agent::spawn(command, config);
    fleet.set_address("web1", agent.address);
    agent
}

#[test]
fn a_full_disk_is_told_and_leaves_room_again() {
    let fleet = TestFleet::new();
    let directory = fleet.path("disk");
    std::fs::create_dir(&directory).unwrap();
    let _agent = agent_with_small_disk(&fleet, &directory, "8m");
    let (large, small) = (fleet.path("large"), fleet.path("small"));
    random_file(&large, 20 * MIB, 1);
    random_file(&small, 6 * MIB, 2);
    let dest = directory.join("file");
    fleet.ok(["push".into(), text(&small), remote(&dest)]);
    let error = fleet.fails(255, ["push".into(), text(&large), remote(&dest)]);
    assert!(error.contains("web1") && error.contains("no space left"), "{error}");
    // The old file is there, and the failed attempt takes no space: the same again is refused in the same
    // way, and what fits still fits.
    let back = fleet.path("back");
    fleet.ok(["pull".into(), remote(&dest), text(&back)]);
    assert_same(&small, &back);
    random_file(&small, MIB, 3);
    fleet.ok(["push".into(), text(&small), remote(&directory.join("other"))]);
    assert_eq!(
        fleet.ok(["run", "web1", "--", &format!("ls -A {}", directory.display())]),
        "file\nother\n"
    );
}

#[test]
fn the_newest_push_to_a_name_wins_and_the_older_is_told() {
    let (fleet, agent) = TestFleet::with_agent();
    let slow = Faulty::start(agent.address, Fault { rate: Some(4 << 20), ..Fault::default() });
    fleet.set_address("web1", slow.address);
    let directory = fleet.path("dest");
    std::fs::create_dir(&directory).unwrap();
    let dest = directory.join("file");
    let (first, second) = (fleet.path("first"), fleet.path("second"));
    random_file(&first, 24 * MIB, 1);
    random_file(&second, 3 * MIB, 2);
    let mut push = fleet.lariat();
    push.args(["push", &text(&first), &remote(&dest)]).stderr(Stdio::piped());
    let child = push.spawn().unwrap();
    wait::partial_reaches(&directory, MIB);
    fleet.set_address("web1", agent.address);
    fleet.ok(["push".into(), text(&second), remote(&dest)]);
    let older = child.wait_with_output().unwrap();
    assert_eq!(older.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&older.stderr).contains("newer"), "{older:?}");
    assert_same(&second, &dest);
    assert_eq!(names(&directory), ["file"]);
}

/// At any moment one of the two files is there, whole; and a push that reported success had its file there.
#[test]
fn of_pushes_to_one_name_at_once_one_is_there_whole() {
    let (fleet, _agent) = TestFleet::with_agent();
    let directory = fleet.path("dest");
    std::fs::create_dir(&directory).unwrap();
    let dest = directory.join("file");
    let sources = ["one", "other"].map(|name| fleet.path(name));
    for (seed, source) in (1..).zip(&sources) {
        random_file(source, 300_000, seed);
    }
    let contents = sources.clone().map(|source| std::fs::read(source).unwrap());
    fleet.ok(["push".into(), text(&sources[0]), remote(&dest)]);
    let (running, over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let running = running;
        let (contents, dest) = (&contents, &dest);
        scope.spawn(move || {
            while over.try_recv() == Err(TryRecvError::Empty) {
                let now = std::fs::read(dest).unwrap();
                assert!(contents.contains(&now), "{} bytes of neither", now.len());
            }
        });
        for _ in 0..25 {
            let pushes = sources.each_ref().map(|source| {
                let mut push = fleet.lariat();
                push.args(["push", &text(source), &remote(dest)]).stderr(Stdio::piped());
                push.spawn().unwrap()
            });
            let ends = pushes.map(|push| push.wait_with_output().unwrap());
            for end in ends.iter().filter(|end| !end.status.success()) {
                assert!(String::from_utf8_lossy(&end.stderr).contains("newer"), "{end:?}");
            }
            let now = std::fs::read(dest).unwrap();
            let done = ends.iter().zip(contents).filter(|(end, _)| end.status.success());
            assert!(done.map(|(_, content)| content).any(|content| *content == now), "{ends:?}");
        }
        drop(running);
    });
    assert_eq!(names(&directory), ["file"]);
}
