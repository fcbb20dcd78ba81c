//! `lariat watch`: hosts live, on a full screen and as lines.

use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use lariat_testing::screen::Screen;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::keys::Operator;
use crate::screens::Window;

/// What gives the terminal back.
const LEFT: &str = "\x1b[?25h\x1b[?1049l";

/// The row of a host.
fn row<'a>(lines: &'a [String], host: &str) -> &'a str {
    let begin = format!("{host} ");
    lines.iter().find(|line| line.starts_with(&begin)).map_or("", String::as_str)
}

fn shows(screen: &Screen, host: &str, state: &str) -> Vec<String> {
    screen.until(|lines| row(lines, host).split_whitespace().nth(1) == Some(state))
}

#[test]
fn hosts_go_and_come_back_on_the_screen() {
    let fleet = TestFleet::new();
    let mut agents = ["web1", "web2", "web10"].map(|host| fleet.agent(host));
    let watch = ["watch", "all", "--every", "100ms"];
    let mut screen = Screen::start_sized(fleet.lariat().args(watch), 10, 160);
    for host in ["web1", "web2", "web10"] {
        screen.until(|lines| row(lines, host).contains('%'));
    }
    agents[1].signal(Signal::KILL);
    agents[1].wait();
    let lines = shows(&screen, "web2", "unreachable");
    assert!(lines[0].starts_with("3 hosts: 1 unreachable"), "{lines:#?}");
    assert!(lines[2].starts_with("web2 "), "the worst comes first: {lines:#?}");
    assert!(row(&lines, "web2").contains("connect"), "{lines:#?}");
    agents[1].restart();
    let lines = screen.until(|lines| row(lines, "web2").contains(" ago for "));
    assert!(!lines[0].contains("unreachable") && !screen.is_wrapped(), "{lines:#?}");
    screen.types("/10");
    screen.until(|lines| row(lines, "web10").contains('%') && row(lines, "web1").is_empty());
    screen.types("\x1b");
    screen.until(|lines| lines[0].starts_with("3 hosts:") && !row(lines, "web1").is_empty());
    screen.types("q");
    assert_eq!(screen.child.wait().unwrap().code(), Some(0));
    screen.until(<[String]>::is_empty);
    screen.sees(LEFT);
}

#[test]
fn a_host_has_jobs_and_their_output_is_followed() {
    let (fleet, _agent) = TestFleet::with_agent();
    let go = fleet.path("go");
    // What a job writes must not reach the terminal as it is.
    let job = format!(
        "printf 'begun\\033[2J\\033]0;x\\007\\n'; until [ -e '{}' ]; do sleep 0.05; done; echo over",
        go.display()
    );
    fleet.ok(["run", "--detach", "web1", "--", &job]);
    let watch = ["watch", "web1", "--every", "100ms"];
    let mut screen = Screen::start_sized(fleet.lariat().args(watch), 20, 160);
    screen.until(|lines| row(lines, "web1").contains('%'));
    screen.types("\r");
    let lines = screen.until(|lines| !row(lines, "jobs").is_empty());
    assert!(row(&lines, "jobs").contains("detached: printf 'begun"), "{lines:#?}");
    screen.types("\r");
    screen.until(|lines| lines.iter().any(|line| line == "begun\\x1b[2J\\x1b]0;x\\x07"));
    std::fs::write(&go, "").unwrap();
    screen.until(|lines| lines.iter().any(|line| line == "over"));
    screen.until(|lines| lines.iter().any(|line| line == "[exit 0]"));
    assert!(!screen.shown().contains("\x1b]0;"));
    screen.types("\x1b");
    screen.until(|lines| !row(lines, "lariatd").is_empty() && row(lines, "jobs").is_empty());
    screen.types("\x1b");
    screen.until(|lines| lines[0].starts_with("1 host:"));
    screen.types("\x03");
    assert_eq!(screen.child.wait().unwrap().code(), Some(130));
    screen.sees(LEFT);
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut screen = Screen::start_sized(fleet.lariat().args(["watch", "all"]), 10, 100);
        shows(&screen, "web1", "unreachable");
        kill_process(Pid::from_child(&screen.child), signal).unwrap();
        assert_eq!(screen.child.wait().unwrap().code(), Some(status));
        screen.sees(LEFT);
    }
}

#[test]
fn without_a_terminal_changes_are_lines() {
    let fleet = TestFleet::new();
    let mut agent = fleet.agent("web1");
    let mut command = fleet.lariat();
    command.args(["watch", "all", "--every", "100ms"]).stdin(Stdio::null());
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |is_such: &dyn Fn(&str) -> bool| {
        lines.find_map(|line| line.ok().filter(|line| is_such(line))).unwrap()
    };
    let up = until(&|_| true);
    assert!(up.starts_with("20") && up.split(' ').nth(1) == Some("web1"), "{up}");
    agent.signal(Signal::KILL);
    agent.wait();
    until(&|line| line.contains(" web1 unreachable: "));
    agent.restart();
    until(&|line| line.contains(" web1 ") && !line.contains("unreachable"));
    kill_process(Pid::from_child(&watch), Signal::INT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

#[test]
fn a_script_looks_as_often_as_it_likes() {
    let fleet = TestFleet::new();
    let _agents = ["web1", "web2"].map(|host| fleet.agent(host));
    let count = ["--every", "100ms", "--count", "3"];
    let watch =
        |target: &str, more: &[&str]| fleet.run([&["watch", target][..], &count, more].concat());
    let output = watch("all", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The load may have changed meanwhile.
    assert!(text(&output.stdout).lines().count() >= 2, "{output:?}");
    assert_eq!(text(&output.stderr).lines().count(), 1, "the totals: {output:?}");
    assert!(watch("all", &["-q"]).stderr.is_empty());

    fleet.enroll("down", "127.0.0.1:1");
    let output = watch("all", &["--json"]);
    assert_eq!(output.status.code(), Some(255));
    let looks = objects(&output.stdout);
    assert_eq!(looks.len(), 9, "{looks:?}");
    let down = &looks[0];
    assert_eq!((&down["host"], &down["state"]), (&"down".into(), &"unreachable".into()));
    assert_eq!((&down["kind"], &down["load"]), (&"unreachable".into(), &Value::Null));
    assert_eq!((&down["changed"], &looks[1]["changed"]), (&true.into(), &false.into()));
    let up = &looks[3];
    assert_eq!((&up["host"], &up["ok"]), (&"web1".into(), &true.into()));
    assert!(up["memory"]["total"].as_u64() > Some(0) && up["time"].as_u64() > Some(0), "{up}");
    // It is one session, which looks three times.
    let own = |look: &Value| {
        let mut sessions = look["sessions"].as_array().unwrap().iter();
        sessions.find(|session| session["doing"] == "status").unwrap()["session"].clone()
    };
    assert!(own(&looks[3]) == own(&looks[4]) && own(&looks[4]) == own(&looks[5]), "{looks:?}");
    assert_eq!(watch("web1", &[]).status.code(), Some(0));
    assert_eq!(watch("down", &[]).status.code(), Some(255));
}

#[test]
fn what_is_wrong_is_told_at_once() {
    let (fleet, _agent) = TestFleet::with_agent();
    for (args, part) in [
        (&["watch", "nobody"][..], "no host nobody"),
        (&["watch", "bob@web1"], "no user's"),
        (&["watch", "all", "--every", "1ms"], "100ms is the shortest"),
        (&["watch", "all", "--count", "0"], "0 is not in 1"),
    ] {
        let told = fleet.fails(255, args);
        assert!(told.contains(part), "{part}: {told}");
    }
    let other = Operator::added(&fleet, "other", &["--verbs", "run"]);
    let output = other.run(&["watch", "all", "--count", "1", "--json"]);
    let told = objects(&output.stdout).remove(0);
    assert_eq!((&told["state"], &told["kind"]), (&"refused".into(), &"refused".into()));
    assert!(told["error"].as_str().unwrap().contains("has no status"), "{told}");
}

#[test]
fn the_screen_follows_its_terminal_and_gives_it_back() {
    let (fleet, _agent) = TestFleet::with_agent();
    let lariat = fleet.lariat().get_program().to_str().unwrap().to_owned();
    let script = format!("echo above; {lariat} watch all; echo \"below $?\"; stty -a; sleep 600");
    let Some(window) = Window::open(&fleet, 100, &script) else {
        let _ = writeln!(std::io::stderr(), "not checked: there is no tmux here");
        return;
    };
    let is_there = |lines: &[String]| row(lines, "web1").contains('%') && lines.len() == 24;
    let lines = window.until(is_there);
    assert!(lines[0].starts_with("1 host: ") && lines[0].ends_with("every 2 s"), "{lines:#?}");
    for columns in [40, 120, 20, 100] {
        window.resize(columns);
        window.until(|lines| {
            let widest = lines.iter().map(|line| line.chars().count()).max();
            lines.len() == 24
                && widest <= Some(columns.into())
                && lines[1].contains("TROUBLE") == (columns >= 100)
                && lines[0].starts_with("1 host: ")
        });
    }
    assert!(window.tmux().args(["send-keys", "q"]).status().unwrap().success());
    let lines = window.until(|lines| lines.iter().any(|line| line.contains("opost")));
    assert_eq!((lines[0].as_str(), lines[1].as_str()), ("above", "below 0"));
    let modes = lines.join(" ");
    assert!(modes.contains(" icanon") && modes.contains(" echo "), "{modes}");
}
