//! Transfers over a link that cuts every connection after a few bytes: what has arrived stays, so they finish
//! in the end.

use std::path::Path;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::{random_file, text};
use lariat_testing::fleet::TestFleet;

/// Bytes that pass before a connection is cut, in either direction.
const SHORT: u64 = 150_000;

fn behind_a_short_link() -> (TestFleet, Agent, Faulty) {
    let (fleet, agent) = TestFleet::with_agent();
    let fault = Fault { cut_up: Some(SHORT), cut_down: Some(SHORT), ..Fault::default() };
    let faulty = Faulty::start(agent.address, fault);
    fleet.set_address("web1", faulty.address);
    (fleet, agent, faulty)
}

/// Pushes and pulls what is at `source`, and returns how many connections and bytes on the wire each took.
fn there_and_back(source: &str, make: impl Fn(&Path)) -> [(u64, u64); 2] {
    let (fleet, _agent, faulty) = behind_a_short_link();
    let (source, there, back) = (fleet.path(source), fleet.path("there"), fleet.path("back"));
    make(&source);
    let remote = format!("web1:{}", there.display());
    // A trailing slash stands for a directory's contents.
    let end = if source.is_dir() { "/" } else { "" };
    let (from, back_from) = (text(&source) + end, remote.clone() + end);
    [("push", from, remote), ("pull", back_from, text(&back))].map(|(verb, from, to)| {
        let before = (faulty.accepted(), faulty.bytes_up() + faulty.bytes_down());
        fleet.ok([verb, "--reconnect", "5s", &from, &to]);
        let copy = if verb == "push" { &there } else { &back };
        assert_same(&source, copy);
        let passed = faulty.bytes_up() + faulty.bytes_down();
        (faulty.accepted() - before.0, passed - before.1)
    })
}

fn assert_same(one: &Path, other: &Path) {
    if one.is_file() {
        assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap());
        return;
    }
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(one), names(other));
    names(one).iter().for_each(|name| assert_same(&one.join(name), &other.join(name)));
}

#[test]
fn small_files_of_a_directory_get_there() {
    const FILES: u64 = 100;
    let passed = there_and_back("directory", |directory| {
        std::fs::create_dir(directory).unwrap();
        (0..FILES).for_each(|file| random_file(&directory.join(file.to_string()), 20_000, file));
    });
    for (connections, bytes) in passed {
        assert!(connections > 10 && bytes < 3 * FILES * 20_000, "{passed:?}");
    }
}

/// What the old file does not have arrives as literals, in the middle of which the connection is cut.
#[test]
fn an_update_gets_there() {
    const SIZE: u64 = 1_500_000;
    let (fleet, _agent, faulty) = behind_a_short_link();
    let (source, there) = (fleet.path("file"), fleet.path("there"));
    random_file(&source, SIZE, 1);
    random_file(&there, SIZE, 2);
    let remote = format!("web1:{}", there.display());
    fleet.ok(["push", "--reconnect", "5s", &text(&source), &remote]);
    assert_same(&source, &there);
    let passed = faulty.bytes_up() + faulty.bytes_down();
    assert!(faulty.accepted() > 10 && passed < 2 * SIZE, "{passed}");
}

#[test]
fn files_alone_get_there_whatever_their_size() {
    const SIZE: u64 = 1_500_000;
    for [(connections, bytes), ..] in [
        there_and_back("file", |file| random_file(file, SIZE, 1)),
        there_and_back("directory", |directory| {
            std::fs::create_dir(directory).unwrap();
            random_file(&directory.join("large"), SIZE - 400_000, 1);
            random_file(&directory.join("one chunk"), 400_000, 2);
        }),
    ] {
        assert!(connections > 10 && bytes < 2 * SIZE, "{connections} {bytes}");
    }
}
