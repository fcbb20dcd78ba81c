//! Commands whose connection breaks, whose agent dies, or both: exact output, and run once.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;
use lariat_testing::rng::Rng;
use lariat_testing::wait;
use rustix::process::{Pid, Signal};

fn behind_a_bad_network() -> (TestFleet, Agent, Faulty) {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    (fleet, agent, faulty)
}

fn spawn(fleet: &TestFleet, args: &[&str]) -> Child {
    let mut run = fleet.lariat();
    run.args(["run", "web1"]).args(args).stdin(Stdio::piped());
    run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads a stream on a thread of its own.
fn reading(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A command that writes both streams, and one line into a file for each time it is started.
fn chatter(once: &std::path::Path, lines: u32) -> String {
    format!(
        "echo once >> {}; i=0; while [ $i -lt {lines} ]; do \
         echo \"out $i $$ some more to make the line longer\"; echo \"err $i\" >&2; i=$((i+1)); \
         done; exit 7",
        once.display()
    )
}

fn check_chatter(out: &[u8], err: &[u8], lines: u32) {
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert_eq!(out.lines().count(), usize::try_from(lines).unwrap());
    assert_eq!(err.lines().count(), usize::try_from(lines).unwrap(), "{err}");
    let pid = out.split(' ').nth(2).unwrap_or_default().to_owned();
    for (number, (out, err)) in out.lines().zip(err.lines()).enumerate() {
        assert_eq!(out, format!("out {number} {pid} some more to make the line longer"));
        assert_eq!(err, format!("err {number}"));
    }
}

#[test]
fn a_hundred_cuts_lose_double_and_swap_nothing() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let (once, gate) = (fleet.path("once"), fleet.path("gate"));
    // It writes until all cuts are made.
    let line = format!(
        "echo once >> {0}; i=0; while ! [ -e {1} ]; do echo \"out $i\"; echo \"err $i\" >&2; \
         i=$((i+1)); done; exit 7",
        once.display(),
        gate.display()
    );
    let mut child = spawn(&fleet, &["--", &line]);
    let out = reading(child.stdout.take().unwrap());
    let err = reading(child.stderr.take().unwrap());
    let mut rng = Rng::new();
    for _ in 0..100 {
        // A connection's first 4 KiB are its handshake: some cuts hit it.
        let passed = faulty.after(rng.below(150_000));
        passed.recv_timeout(wait::PATIENCE).unwrap();
        faulty.cut();
    }
    std::fs::write(&gate, "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(faulty.accepted() > 50, "{}", faulty.accepted());
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    for (name, bytes) in [("out", &out), ("err", &err)] {
        let text = String::from_utf8_lossy(bytes);
        for (number, line) in text.lines().enumerate() {
            assert_eq!(line, format!("{name} {number}"));
        }
    }
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().count();
    assert!(lines(&out) > 100 && lines(&out) == lines(&err));
    assert_eq!(std::fs::read_to_string(once).unwrap(), "once\n");
}

/// Each connection is cut after a number of bytes, so that every part of the dialogue is cut at some time.
#[test]
fn a_cut_at_any_byte_of_either_way_changes_nothing() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let run = |name: &str, fault: Fault| {
        let once = fleet.path(name);
        faulty.set(fault);
        let line = format!("echo once >> {}; echo out; echo err >&2; cat; exit 7", once.display());
        let mut child = spawn(&fleet, &["-i", "--", &line]);
        let accepted = faulty.accepted();
        child.stdin.take().unwrap().write_all(b"input").unwrap();
        // The connections after the first one or two are not cut.
        wait::until("a second connection", || {
            let ended = child.try_wait().unwrap().is_some();
            (ended || faulty.accepted() > accepted + 1).then_some(())
        });
        faulty.set(Fault::default());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*text), (Some(7), "err\n"), "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out\ninput", "{name}");
        assert_eq!(std::fs::read_to_string(once).unwrap(), "once\n", "{name}");
    };
    // Until the login is sent nothing has been requested, and such a failure is reported.
    let (up, down) = handshake(&fleet, &faulty);
    for more in (0..900).step_by(45) {
        let cut_up = Some(up + more);
        run(&format!("up-{more}"), Fault { cut_up, ..Fault::default() });
    }
    for more in (0..400).step_by(20) {
        let cut_down = Some(down + more);
        run(&format!("down-{more}"), Fault { cut_down, ..Fault::default() });
    }
}

/// Bytes in each direction until the login is sent: those of a whole ping, less its own few. A signature's
/// length varies by some bytes.
fn handshake(fleet: &TestFleet, faulty: &Faulty) -> (u64, u64) {
    let (up, down) = (faulty.bytes_up(), faulty.bytes_down());
    fleet.ok(["ping", "web1"]);
    let settled = || {
        let now = (faulty.bytes_up() - up, faulty.bytes_down() - down);
        std::thread::park_timeout(Duration::from_millis(50));
        ((faulty.bytes_up() - up, faulty.bytes_down() - down) == now).then_some(now)
    };
    let (up, down) = wait::until("the ping to be over", settled);
    (up - 60, down - 170)
}

#[test]
fn stdin_survives_cut_after_cut() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let mut child = spawn(&fleet, &["-i", "--", "cat; exit 3"]);
    let sent: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let out = reading(child.stdout.take().unwrap());
    let mut rng = Rng::new();
    for _ in 0..15 {
        let passed = faulty.after(50_000 + rng.below(900_000));
        passed.recv_timeout(wait::PATIENCE).unwrap();
        faulty.cut();
    }
    assert_eq!(child.wait().unwrap().code(), Some(3));
    writer.join().unwrap();
    assert!(out.join().unwrap() == sent, "what came back is not what was sent");
}

#[test]
fn the_agent_killed_and_started_again_goes_on() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let once = fleet.path("once");
    let lines = 60_000;
    let mut child = spawn(&fleet, &["--", &chatter(&once, lines)]);
    let mut stdout = child.stdout.take().unwrap();
    let err = reading(child.stderr.take().unwrap());
    let mut first = vec![0; 100_000];
    stdout.read_exact(&mut first).unwrap();
    let out = reading(stdout);
    for _ in 0..3 {
        agent.kill_and_restart();
    }
    assert_eq!(child.wait().unwrap().code(), Some(7));
    first.extend(out.join().unwrap());
    check_chatter(&first, &err.join().unwrap(), lines);
    assert_eq!(std::fs::read_to_string(once).unwrap(), "once\n");
}

#[test]
fn a_command_that_kills_its_agent_runs_once() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let once = fleet.path("once");
    let pid = agent.pid().as_raw_nonzero();
    let line = format!("echo b >> {}; kill -9 {pid}; echo done; exit 5", once.display());
    let child = spawn(&fleet, &["--", &line]);
    agent.restart();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(5), b"done\n".to_vec()));
    assert_eq!(std::fs::read_to_string(once).unwrap(), "b\n");
}

#[test]
fn an_agent_that_stops_in_order_and_comes_back_goes_on() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let gate = fleet.path("gate");
    let line =
        format!("echo one; while ! [ -e {} ]; do sleep 0.05; done; echo two", gate.display());
    let mut child = spawn(&fleet, &["--", &line]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 4]).unwrap();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
    std::fs::write(gate, "").unwrap();
    agent.restart();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("two\n", Some(0)));
}

#[test]
fn who_never_comes_back_leaves_nothing_behind() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let line = "echo $$; exec sleep 1000";
    let mut child = spawn(&fleet, &["--reconnect", "1s", "--", line]);
    let mut stdout = child.stdout.take().unwrap();
    let mut pid = Vec::new();
    while !pid.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        pid.push(byte[0]);
    }
    let pid: i32 = String::from_utf8(pid).unwrap().trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait::until("the grace time to be over", || {
        rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err().then_some(())
    });

    // The reverse: the network never comes back, and the controller gives up in time.
    let mut child = spawn(&fleet, &["--reconnect", "1s", "--", "echo x; sleep 1000"]);
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    faulty.set(Fault { cut_up: Some(0), ..Fault::default() });
    faulty.cut();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("web1") && error.contains("the command was running"), "{error}");
}

#[test]
fn ctrl_c_reaches_the_command_after_a_cut_and_through_a_full_stdin() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let mut child = spawn(&fleet, &["-i", "--", "echo ready; sleep 1000"]);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || while stdin.write_all(&[0; 4096]).is_ok() {});
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 6]).unwrap();
    wait::until("stdin to be full", || {
        let before = faulty.bytes_up();
        std::thread::park_timeout(Duration::from_millis(100));
        (before > 256 * 1024 && faulty.bytes_up() == before).then_some(())
    });
    let accepted = faulty.accepted();
    faulty.cut();
    wait::until("it to come back", || (faulty.accepted() > accepted).then_some(()));
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
