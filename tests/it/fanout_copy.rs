//! Files to and from many hosts: real binaries, real sockets, many agents.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::objects;
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn errors(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn summary(output: &Output) -> &str {
    errors(output).lines().last().unwrap_or_default()
}

#[test]
fn a_file_and_a_directory_go_to_all_and_come_back_into_directories_of_their_own() {
    let (fleet, _agents) = fleet_of(3);
    let (file, directory) = (fleet.path("file"), fleet.path("site"));
    random_file(&file, 3_000_001, 1);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("index"), "hello").unwrap();
    let there = fleet.path("there");
    let dest = format!("all:{}/{{host}}", there.display());
    let output = fleet.run(["push", text(&file), text(&directory), &dest]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty());
    assert_eq!(errors(&output).lines().count(), 1, "{output:?}");
    assert!(summary(&output).starts_with("3 ok; 6 files, 8.58 MiB: sent 8.58 MiB, reused 0 B, "));
    let content = fs::read(&file).unwrap();
    for host in ["h0001", "h0002", "h0003"] {
        assert_eq!(fs::read(there.join(host).join("file")).unwrap(), content);
        assert_eq!(fs::read(there.join(host).join("site/index")).unwrap(), b"hello");
    }
    assert!(fleet.ok(["last"]).contains(" ago: push on all: "));

    let back = fleet.path("back");
    let output = fleet.run(["pull", "--json", &format!("h*:{}", file.display()), text(&back)]);
    let pulled = objects(&output.stdout);
    assert_eq!((output.status.code(), pulled.len()), (Some(0), 3));
    assert!(pulled.iter().all(|o| o["ok"] == true && o["bytes"] == 3_000_001), "{pulled:?}");
    assert_eq!(fs::read(back.join("h0002/file")).unwrap(), content);
    let named = fleet.path("{host}.bin");
    fleet.ok(["pull", &format!("all,!h0001:{}", file.display()), text(&named)]);
    assert!(fleet.path("h0003.bin").exists() && !fleet.path("h0001.bin").exists());

    // Nothing has changed, so nothing is sent; and a dry run names the hosts that would change.
    let output = fleet.run(["push", "--json", text(&file), &dest.replace("{host}", "{host}/file")]);
    assert!(objects(&output.stdout).iter().all(|o| o["sent"] == 0 && o["reused"] == 3_000_001));
    fs::write(directory.join("new"), "x").unwrap();
    let output = fleet.run(["push", "--dry-run", text(&directory), &format!("{dest}/")]);
    let new = format!("h0002: make {}/h0002/site/new\n", there.display());
    assert!(std::str::from_utf8(&output.stdout).unwrap().contains(&new), "{output:?}");
}

#[test]
fn stdin_goes_to_all() {
    let (fleet, _agents) = fleet_of(3);
    let dest = format!("all:{}/{{host}}", fleet.path("there").display());
    let input = vec![7; 1_000_000];
    let mut child = fleet.lariat();
    let mut child = child.args(["push", "-", &dest]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    assert!(child.wait().unwrap().success());
    for host in ["h0001", "h0002", "h0003"] {
        assert_eq!(fs::read(fleet.path("there").join(host)).unwrap(), input);
    }
}

#[test]
fn a_mistake_here_is_told_before_any_host_is_touched() {
    let (fleet, _agents) = fleet_of(2);
    let missing = fleet.fails(255, ["push", "missing", "all:/tmp/x"]);
    assert!(missing.contains("push missing: here: open missing: no such file"), "{missing}");
    fleet.fails(255, ["pull", "all:/etc/hostname", "-"]);
    fleet.fails(255, ["push", "/etc/hostname", "--user", "eve", "bob@h*:/tmp/x"]);
    assert!(!fleet.home().join("last.jsonl").exists());
}

#[test]
fn a_source_that_is_missing_keeps_no_other_from_being_sent() {
    let (fleet, _agents) = fleet_of(2);
    let file = fleet.path("file");
    fs::write(&file, "x").unwrap();
    let dest = format!("all:{}/{{host}}/", fleet.path("there").display());
    let output = fleet.run(["push", "missing", text(&file), &dest]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let told: Vec<_> = errors(&output).lines().collect();
    assert_eq!(told.len(), 2, "it is told once: {told:?}");
    assert!(told[0].contains("push missing: here: open missing: no such file"), "{told:?}");
    assert!(told[1].starts_with("2 failed (h[0001-0002]); 2 files, 2 B: "), "{told:?}");
    for host in ["h0001", "h0002"] {
        assert_eq!(fs::read(fleet.path("there").join(host).join("file")).unwrap(), b"x");
    }
    let output = fleet.run(["push", "--json", "missing", text(&file), &dest]);
    let each = objects(&output.stdout);
    assert_eq!((output.status.code(), each.len()), (Some(255), 2));
    assert!(each.iter().all(|o| o["files"] == 1 && o["ok"] == false), "{each:?}");
    let error = each[1]["error"].as_str().unwrap();
    assert!(
        error.starts_with("push missing to h0002: here: open missing: no such file"),
        "{error}"
    );
    // If nothing can be sent, no host is contacted.
    let output = fleet.run(["push", "--json", "missing", &dest]);
    let each = objects(&output.stdout);
    assert_eq!((output.status.code(), each.len()), (Some(255), 2));
    assert!(each.iter().all(|o| o["files"] == 0 && o["error"].is_string()), "{each:?}");
}

#[test]
fn those_that_failed_are_tried_again() {
    let (fleet, _agents) = fleet_of(3);
    let (file, there) = (fleet.path("file"), fleet.path("there"));
    random_file(&file, 100_000, 1);
    fs::create_dir_all(there.join("h0002/file")).unwrap();
    fs::write(there.join("h0002/file/in the way"), "").unwrap();
    let dest = format!("all:{}/{{host}}/file", there.display());
    let push = |more: &[&str]| {
        let args = ["push", text(&file), &dest, "--parallel", "1"];
        fleet.run(args.iter().chain(more))
    };
    // A file sent to a directory goes into it, so only a directory of its own name is in the way.
    fs::create_dir_all(there.join("h0002/file/file")).unwrap();
    let output = push(&["--max-fail", "0"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(summary(&output).starts_with("1 ok, 1 not started (h0003), 1 failed (h0002); 1 file"));
    assert!(errors(&output).contains("to h0002: "), "{output:?}");
    fs::remove_dir_all(there.join("h0002")).unwrap();
    let output = push(&["--retry-failed"]);
    assert!(summary(&output).starts_with("2 ok; 2 files"), "{output:?}");
    assert_eq!(push(&["--retry-failed"]).status.code(), Some(0));
}

/// As on hosts that share a file system.
#[test]
fn one_destination_for_several_hosts_is_there_whole() {
    let (fleet, _agents) = fleet_of(4);
    let (file, dest) = (fleet.path("file"), fleet.path("there"));
    for (round, size) in [0, 10, 300_000, 3_000_000].into_iter().cycle().take(12).enumerate() {
        random_file(&file, size, round as u64);
        fleet.ok(["push", text(&file), &format!("all:{}", dest.display())]);
        assert!(fs::read(&dest).unwrap() == fs::read(&file).unwrap());
    }
    assert_eq!(fs::read_dir(fleet.path("")).unwrap().count(), 2);
}

/// Of forty hosts, some are dead, some never answer, and some cut every connection. The others finish as soon
/// as they would alone, each bad one is reported with its own cause, and those that cut finish in the end.
#[test]
fn bad_hosts_cost_the_others_nothing() {
    let (fleet, agents) = fleet_of(40);
    let file = fleet.path("file");
    random_file(&file, 1_500_000, 1);
    let silent: Vec<_> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let cut = Fault { cut_up: Some(100 * 1024), ..Fault::default() };
    let cuts: Vec<_> =
        (10..15).map(|host| Faulty::start(agents.hosts[host].1, cut.clone())).collect();
    for bad in 0..5 {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fleet.set_address(&agents.hosts[bad].0, closed);
        fleet.set_address(&agents.hosts[5 + bad].0, silent[bad].local_addr().unwrap());
        fleet.set_address(&agents.hosts[10 + bad].0, cuts[bad].address);
    }
    let there = fleet.path("there");
    let dest = |target: &str| format!("{target}:{}/{{host}}", there.display());
    let good = "all,!h[0001-0015]";
    let began = Instant::now();
    fleet.ok(["push", text(&file), &dest(good)]);
    let alone = began.elapsed();
    let limits = ["--connect-timeout", "2s", "--reconnect", "1s"];
    let dest = dest("all");
    let output = fleet.run(["push", "--json", text(&file), &dest].iter().chain(&limits));
    assert_eq!(output.status.code(), Some(255));
    assert!(
        summary(&output).starts_with("25 ok, 15 unreachable (h[0001-0015]); 25 files"),
        "{output:?}"
    );
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let all: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let cause =
        |object: &Value| object["error"].as_str().map(ToOwned::to_owned).unwrap_or_default();
    let mut counts = [0; 3];
    for object in all.iter().filter(|object| object["ok"] == false) {
        let error = cause(object);
        assert!(error.contains(object["host"].as_str().unwrap()), "{error}");
        // Hosts without progress are given up at the time limit.
        assert!(object["seconds"].as_f64().unwrap() < 10.0, "{object}");
        counts[0] += usize::from(error.contains("connection refused"));
        counts[1] += usize::from(error.contains("no answer within 2 s"));
        counts[2] += usize::from(error.contains("broke 5 times in a row after less than 512 KiB"));
    }
    assert_eq!(counts, [5, 5, 5], "{output:?}");
    // None of the others took longer than all of them did alone, by far, or at least not as long as a time limit.
    let slowest = all.iter().filter(|object| object["ok"] == true);
    let slowest = slowest.filter_map(|object| object["seconds"].as_f64()).fold(0.0, f64::max);
    let bound = (alone * 3).max(Duration::from_millis(1900)).as_secs_f64();
    assert!(slowest < bound, "{slowest} s, alone {alone:?}");
    // What has arrived is kept: run again, the transfers continue and finish.
    for (host, _) in &agents.hosts[10..15] {
        fleet.ok(["push", text(&file), &format!("{host}:{}/{{host}}", there.display())]);
    }
}
