//! An outage and its end are shown on a terminal; another connection is tried if one is silent; a job that
//! was given up is found again.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::screen::Screen;
use lariat_testing::wait;

const LOST: &str = "web1: connection lost, reconnecting (";
const BACK: &str = "web1: reconnected after ";

/// Shown within 2.5 s, and its end within 1 s, plus what a busy machine adds.
const SHOWN: Duration = Duration::from_millis(3500);
const SEEN_AGAIN: Duration = Duration::from_secs(2);

fn behind_a_bad_network() -> (TestFleet, Agent, Faulty) {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    (fleet, agent, faulty)
}

fn screen(fleet: &TestFleet, args: &[&str]) -> Screen {
    Screen::start(fleet.lariat().args(args))
}

/// The network swallows everything, and then works again.
fn black_hole(faulty: &Faulty, screen: &Screen) {
    faulty.set(Fault { stall: true, ..Fault::default() });
    let took = screen.sees(LOST);
    assert!((Duration::from_millis(900)..SHOWN).contains(&took), "{took:?}");
    screen.sees(" s of 30 s)");
    screen.sees(LOST);
    faulty.set(Fault::default());
    let took = screen.sees(BACK);
    assert!(took < SEEN_AGAIN, "{took:?}");
}

/// The connection breaks, and no other can be made for a while.
fn broken(faulty: &Faulty, agent: &Agent, screen: &Screen) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    faulty.set_target(closed);
    faulty.cut();
    let took = screen.sees(LOST);
    assert!((Duration::from_millis(1500)..SHOWN).contains(&took), "{took:?}");
    faulty.set_target(agent.address);
    let took = screen.sees(BACK);
    assert!(took < SEEN_AGAIN, "{took:?}");
}

#[test]
fn a_command_shows_it_and_goes_on() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let gate = fleet.path("gate");
    let line =
        format!("printf half; while ! [ -e {} ]; do sleep 0.1; done; echo whole", gate.display());
    let mut screen = screen(&fleet, &["run", "web1", "--", &line]);
    screen.sees("half");
    black_hole(&faulty, &screen);
    broken(&faulty, &agent, &screen);
    fs::write(gate, "").unwrap();
    screen.sees("whole");
    assert_eq!(screen.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_shell_shows_it_in_its_top_line_and_goes_on() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    // A session with a terminal, in which something is typed.
    let mut screen = screen(&fleet, &["shell", "web1", "--reconnect", "30s"]);
    screen.types("PS1=; echo rea''dy\r");
    screen.sees("ready\r\n");
    black_hole(&faulty, &screen);
    broken(&faulty, &agent, &screen);
    screen.types("exit 3\r");
    assert_eq!(screen.child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_push_and_a_pull_stand_still_and_say_so() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let (source, there) = (fleet.path("source"), fleet.path("there"));
    random_file(&source, 24 << 20, 1);
    let remote = |path: &std::path::Path| format!("web1:{}", path.display());
    let push = ["push", source.to_str().unwrap(), &remote(&there), "--bwlimit", "4M"];
    let back = fleet.path("back");
    let pull = ["pull", &remote(&source), back.to_str().unwrap(), "--bwlimit", "4M"];
    for (args, arrives) in [(push, &there), (pull, &back)] {
        let mut screen = screen(&fleet, &args);
        screen.sees("/24.0 MiB");
        broken(&faulty, &agent, &screen);
        faulty.set(Fault { stall: true, ..Fault::default() });
        screen.sees(LOST);
        screen.sees("stalled");
        faulty.set(Fault::default());
        screen.sees(BACK);
        assert_eq!(screen.child.wait().unwrap().code(), Some(0));
        assert!(fs::read(&source).unwrap() == fs::read(arrives).unwrap());
    }
}

#[test]
fn many_hosts_show_which_of_them_is_away() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let _other = fleet.agent("web2");
    let gate = fleet.path("gate");
    let line = format!("while ! [ -e {} ]; do sleep 0.1; done; echo done", gate.display());
    let mut screen = screen(&fleet, &["run", "all", "--", &line]);
    screen.sees("0/2 hosts");
    broken(&faulty, &agent, &screen);
    fs::write(gate, "").unwrap();
    screen.sees("2 ok");
    assert_eq!(screen.child.wait().unwrap().code(), Some(0));
}

#[test]
fn attach_and_logs_show_it() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let gate = fleet.path("gate");
    let line = format!("echo begun; while ! [ -e {} ]; do sleep 0.1; done; exit 5", gate.display());
    fleet.ok(["run", "web1", "--detach", "--", &line]);
    let mut attach = screen(&fleet, &["attach", "web1"]);
    attach.sees("begun");
    black_hole(&faulty, &attach);
    let mut logs = screen(&fleet, &["logs", "web1", "-f"]);
    logs.sees("begun");
    broken(&faulty, &agent, &logs);
    fs::write(gate, "").unwrap();
    assert_eq!(attach.child.wait().unwrap().code(), Some(5));
    assert_eq!(logs.child.wait().unwrap().code(), Some(0));
}

#[test]
fn where_nobody_looks_nothing_is_said_but_with_v() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for verbose in [false, true] {
        let mut run = fleet.lariat();
        run.args(["run", "web1"]).args(verbose.then_some("-v"));
        run.args(["--", "echo begun; sleep 0.2; echo ended"]);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut begun = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut begun).unwrap();
        faulty.set_target(closed);
        faulty.cut();
        std::thread::park_timeout(Duration::from_millis(2600));
        faulty.set_target(agent.address);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "ended\n"));
        let said = text(&output.stderr);
        assert_eq!((said.contains(LOST), said.contains(BACK)), (verbose, verbose), "{said}");
    }
}

/// The first connection is dead for good and is never closed, as when this machine's address has changed.
#[test]
fn another_connection_is_tried_where_the_first_is_silent() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let other = Faulty::start(agent.address, Fault::default());
    let gate = fleet.path("gate");
    let line = format!("echo begun; while ! [ -e {} ]; do sleep 0.1; done; exit 5", gate.display());
    let mut run = fleet.lariat();
    let mut child = run.args(["run", "web1", "--", &line]).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    // Open connections are stalled, and later ones are not.
    faulty.forsake();
    let began = Instant::now();
    wait::until("another connection", || (faulty.accepted() >= 2).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    fs::write(gate, "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    drop(other);
}

#[test]
fn what_was_given_up_is_named_and_attach_finds_its_end_and_the_rest_of_its_output() {
    let (fleet, agent, faulty) = behind_a_bad_network();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = fleet.path("gate");
    // One that has ended by itself, and one that is ended after its grace time.
    for (end, status) in [("exit 7", 7), ("sleep 1000", 143)] {
        let line = format!(
            "echo begun; while ! [ -e {} ]; do sleep 0.05; done; echo rest; echo err >&2; {end}",
            gate.display()
        );
        let mut run = fleet.lariat();
        run.args(["run", "web1", "--reconnect", "1s", "--", &line]);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        // What is read here is acknowledged a moment later.
        std::thread::park_timeout(Duration::from_millis(300));
        faulty.set_target(closed);
        faulty.cut();
        fs::write(&gate, "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(255));
        let error = text(&output.stderr).trim_end();
        let (_, job) = error.rsplit_once("try: lariat attach web1 ").unwrap();
        faulty.set_target(agent.address);
        wait::until("it to end", || {
            let listed = fleet.ok(["jobs", "web1", job, "--json"]);
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
            (listed["state"] != "running").then_some(())
        });
        let output = fleet.run(["attach", "web1", job]);
        let said = (text(&output.stdout), text(&output.stderr));
        let why = match end {
            "exit 7" => "",
            _ => {
                "lariat: attach on web1: the command was ended on the host: no client reconnected within its grace time\n"
            }
        };
        let said = (said.0, said.1.strip_suffix(why).unwrap());
        assert_eq!((output.status.code(), said), (Some(status), ("rest\n", "err\n")), "{error}");
        // It was fetched, and is forgotten.
        assert!(fleet.fails(255, ["attach", "web1", job]).contains("has no job"), "{job}");
        fs::remove_file(&gate).unwrap();
    }
}

/// The host applies a command's time limit, and a silent host delays no one beyond it.
#[test]
fn a_silent_host_does_not_outlast_a_time_limit() {
    let (fleet, _agent, faulty) = behind_a_bad_network();
    let mut run = fleet.lariat();
    run.args(["run", "web1", "--timeout", "3s", "--", "echo begun; sleep 1000"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let began = Instant::now();
    faulty.set(Fault { stall: true, ..Fault::default() });
    let output = child.wait_with_output().unwrap();
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let error = text(&output.stderr);
    assert!(
        error.contains("timed out after 3 s; ")
            && error.contains("it may still run there")
            && error.contains("attach"),
        "{error}"
    );
    assert!((Duration::from_millis(2500)..Duration::from_secs(9)).contains(&took), "{took:?}");
}
