//! Transfers whose connection breaks continue by themselves, unless they can't.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;
use rustix::process::Signal;

const MIB: u64 = 1 << 20;

fn assert_same(one: &Path, other: &Path) {
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap());
}

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn a_push_and_a_pull_survive_cut_after_cut() {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    let (source, there, back) = (fleet.path("source"), fleet.path("there"), fleet.path("back"));
    random_file(&source, 24 * MIB, 1);
    // Each connection is cut after 5 MiB.
    let up = Fault { cut_up: Some(5 * MIB), ..Fault::default() };
    faulty.set(up);
    let to = format!("web1:{}", there.display());
    let output = fleet.run(["push", "--json", source.to_str().unwrap(), &to]);
    let object = json(&output.stdout);
    assert_eq!(object["ok"], true, "{object}");
    assert_same(&source, &there);
    let (sent, reused) = (object["sent"].as_u64().unwrap(), object["reused"].as_u64().unwrap());
    assert!(faulty.accepted() >= 5, "{}", faulty.accepted());
    // What was in flight at a cut is lost with it; what had arrived never is.
    let most = 24 * MIB + faulty.accepted() * 5 * MIB;
    assert!((24 * MIB..most).contains(&sent) && reused == 0, "{object}");

    faulty.set(Fault { cut_down: Some(5 * MIB), ..Fault::default() });
    let output = fleet.run(["pull", "--json", &to, back.to_str().unwrap()]);
    assert_eq!(json(&output.stdout)["ok"], true, "{output:?}");
    assert_same(&source, &back);
}

#[test]
fn a_push_survives_the_agents_restart() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let slow = Fault { rate: Some(30 << 20), ..Fault::default() };
    let faulty = Faulty::start(agent.address, slow);
    fleet.set_address("web1", faulty.address);
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 24 * MIB, 1);
    let to = format!("web1:{}", there.display());
    let mut push = fleet.lariat();
    push.args(["push", "--json", source.to_str().unwrap(), &to]).stdout(Stdio::piped());
    let child = push.stderr(Stdio::null()).spawn().unwrap();
    wait::until("half of it to pass", || (faulty.bytes_up() > 12 * MIB).then_some(()));
    agent.kill_and_restart();
    faulty.set(Fault::default());
    let output = child.wait_with_output().unwrap();
    let object = json(&output.stdout);
    assert_eq!(object["ok"], true, "{object}");
    assert_same(&source, &there);
}

#[test]
fn a_connection_that_stays_broken_ends_in_its_time() {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault { cut_up: Some(3 * MIB), ..Fault::default() });
    fleet.set_address("web1", faulty.address);
    let source = fleet.path("source");
    random_file(&source, 8 * MIB, 1);
    let to = format!("web1:{}", fleet.path("there").display());
    let push = |reconnect: &str| {
        let began = Instant::now();
        let error =
            fleet.fails(255, ["push", "--reconnect", reconnect, source.to_str().unwrap(), &to]);
        (error, began.elapsed())
    };
    let (error, took) = push("0");
    assert!(error.contains("web1") && error.contains("broke"), "{error}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Nothing gets through any more, so the push gives up after a second of trying.
    faulty.set(Fault { cut_up: Some(100), ..Fault::default() });
    let (_, took) = push("1s");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_connection_that_is_lost_for_good_is_told_with_what_it_leaves() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--reconnect", "1s", "--", "echo up; exec sleep 60"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    run.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    agent.signal(Signal::KILL);
    let output = run.wait_with_output().unwrap();
    let lost = "connection lost, and not back within 1 s (connection refused); ";
    let told = String::from_utf8(output.stderr).unwrap();
    let what = format!(
        "lariat: run on web1 ({}): {lost}the command was running, and how it ended is not known; try: lariat attach web1 ",
        agent.address
    );
    assert!(output.status.code() == Some(255) && told.starts_with(&what), "{told}");
    agent.kill_and_restart();

    let (source, there) = (fleet.path("source"), fleet.path("there/source"));
    random_file(&source, 24 * MIB, 1);
    for (more, then) in [
        (&[][..], "run it again: only what is missing is sent\n"),
        (
            &["--inplace"][..],
            "run it again: only what is missing is sent; a file that was there before is a mix of old and new until then\n",
        ),
    ] {
        let _ = std::fs::remove_dir_all(fleet.path("there"));
        std::fs::create_dir(fleet.path("there")).unwrap();
        std::fs::write(&there, "old").unwrap();
        let to = format!("web1:{}", there.display());
        let mut push = fleet.lariat();
        push.args(["push", "--reconnect", "1s", "--bwlimit", "4M", "--streams", "1"]).args(more);
        let push = push.args([source.to_str().unwrap(), &to]).stderr(Stdio::piped()).spawn();
        wait::until("a part of it to arrive", || {
            let files = std::fs::read_dir(fleet.path("there")).unwrap().flatten();
            let sizes = files.map(|file| file.metadata().map_or(0, |file| file.len()));
            (sizes.max() > Some(2 * MIB)).then_some(())
        });
        agent.signal(Signal::KILL);
        let output = push.unwrap().wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.ends_with(&format!("{lost}{then}")), "{told}");
        agent.kill_and_restart();
    }
}

#[test]
fn what_can_t_be_helped_by_trying_again_is_not_tried_again() {
    let (fleet, _agent) = TestFleet::with_agent();
    let source = fleet.path("source");
    random_file(&source, MIB, 1);
    let began = Instant::now();
    fleet.fails(255, ["push", source.to_str().unwrap(), "web1:/proc/no/such"]);
    fleet.set_address("web1", "127.0.0.1:1".parse().unwrap());
    fleet.fails(255, ["push", source.to_str().unwrap(), "web1:/tmp/x"]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_host_that_is_not_there_yet_is_waited_for_where_that_is_asked_for() {
    let (fleet, mut agent) = TestFleet::with_agent();
    std::fs::write(fleet.path("file"), "x").unwrap();
    let there = format!("web1:{}", fleet.path("there").display());
    for verb in
        [&["run", "web1", "--", "echo", "up"][..], &["push", "file", &there], &["ping", "web1"]]
    {
        agent.signal(Signal::TERM);
        agent.wait();
        // Without a word of it, nothing is waited for.
        let (began, refused) = (Instant::now(), fleet.fails(255, verb));
        assert!(refused.contains("connection refused"), "{refused}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let mut waiting = fleet.lariat();
        let (verb, more) = verb.split_first().unwrap();
        waiting.args([verb, "--reconnect", "1m"]).args(more).stdout(Stdio::piped());
        let waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
        agent.restart();
        let output = waiting.wait_with_output().unwrap();
        assert!(output.status.success(), "{verb}: {output:?}");
    }
    agent.signal(Signal::TERM);
    agent.wait();
    let began = Instant::now();
    fleet.fails(255, ["run", "web1", "--reconnect", "1s", "--", "true"]);
    assert!(began.elapsed() >= Duration::from_secs(1));
}
