//! A verb over many hosts: real binaries, real sockets, many agents.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::{objects, sorted, text};
use lariat_testing::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Exit status, sorted lines of stdout, and the summary without its time.
fn told(output: &Output) -> (Option<i32>, Vec<&str>, &str) {
    let summary = text(&output.stderr).lines().last().unwrap_or_default();
    (output.status.code(), sorted(&output.stdout), summary.split(';').next().unwrap())
}

/// Starts the command with its three streams as pipes.
fn spawn(fleet: &TestFleet, args: &[&str]) -> Child {
    let mut command = fleet.lariat();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn lines_have_their_host_before_them_and_the_rest_is_told_at_the_end() {
    let (fleet, _agents) = fleet_of(4);
    let output = fleet.run(["run", "h[0001-0003]", "--", "echo a; printf b; echo c >&2"]);
    let lines = vec!["h0001: a", "h0001: b", "h0002: a", "h0002: b", "h0003: a", "h0003: b"];
    assert_eq!(told(&output), (Some(0), lines, "3 ok"));
    for host in ["h0001", "h0002", "h0003"] {
        assert!(text(&output.stderr).contains(&format!("{host}: c\n")));
    }

    let output = fleet.run(["run", "all", "--cwd", "/nonexistent", "--", "true"]);
    let (status, _, summary) = told(&output);
    assert_eq!((status, summary), (Some(255), "4 failed (h[0001-0004])"));
    assert!(text(&output.stderr).contains("): enter directory /nonexistent"), "{output:?}");

    let rows: Vec<Value> = fleet
        .ok(["last", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["end"] == "failed"));
    assert!(fleet.ok(["last"]).contains(" ago: run on all: true\n"));
}

#[test]
fn one_plain_host_is_as_it_was_and_leaves_no_ledger() {
    let (fleet, _agents) = fleet_of(1);
    let output = fleet.run(["run", "h0001", "--", "printf 'a\\nb'; exit 7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "a\nb"));
    assert_eq!(text(&output.stderr), "");
    assert!(!fleet.home().join("last.jsonl").exists());
    // Any expression means several hosts, even if it matches one.
    let output = fleet.run(["run", "h000[1]", "--", "echo a; exit 7"]);
    assert_eq!(told(&output), (Some(1), vec!["h0001: a"], "1 failed (h0001)"));
    assert!(text(&output.stderr).starts_with("h0001: exit 7\n"));
    let out = fleet.path("out");
    let args = ["run", "h0001", "--out", out.to_str().unwrap(), "--", "echo b; exit 5"];
    assert_eq!(fleet.run(args).status.code(), Some(5));
    assert_eq!(std::fs::read(out.join("h0001")).unwrap(), b"b\n");
}

#[test]
fn those_that_failed_are_tried_again_and_no_others() {
    let (fleet, _agents) = fleet_of(3);
    let log = fleet.path("log");
    let each = |more: &[&str]| {
        let common = ["run", "all", "--parallel", "1", "--json"];
        // The hosts run one after another: the second finds two lines.
        let command = format!("echo x >> {0}; test $(wc -l < {0}) -ne 2", log.display());
        fleet.run(common.iter().copied().chain(more.iter().copied()).chain(["--", &command]))
    };
    let output = each(&[]);
    let ok: Vec<bool> = objects(&output.stdout).iter().map(|o| o["ok"] == true).collect();
    assert_eq!((output.status.code(), ok), (Some(1), vec![true, false, true]));
    let output = each(&["--retry-failed"]);
    let objects = objects(&output.stdout);
    assert_eq!((output.status.code(), objects.len()), (Some(0), 1));
    assert_eq!((&objects[0]["host"], &objects[0]["exit"]), (&"h0002".into(), &0.into()));
    let output = each(&["--retry-failed"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""));
}

#[test]
fn a_controller_that_was_killed_has_said_whom_it_had_begun() {
    let (fleet, _agents) = fleet_of(4);
    let log = fleet.path("log");
    let second = format!(
        "echo x >> {0}; test $(wc -l < {0}) -eq 2 || exit 0; echo up; exec sleep 30",
        log.display()
    );
    let args = ["run", "all", "--parallel", "1", "--reconnect", "100ms", "--", &second];
    let mut child = spawn(&fleet, &args);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "h0002: up\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let ends: Vec<Value> = objects(fleet.ok(["last", "--json"]).as_bytes())
        .into_iter()
        .map(|mut row| row["end"].take())
        .collect();
    assert_eq!(ends, ["ok", "unfinished", "not-started", "not-started"]);
    let summary = "1 ok, 2 not started (h[0003-0004]), 1 unfinished (h0002)\n";
    assert!(fleet.ok(["last"]).contains(summary));
    let output = fleet.run(["run", "all", "--retry-failed", "--", "true"]);
    assert_eq!(told(&output), (Some(0), vec![], "3 ok"));
    let errors = text(&output.stderr);
    let said = "h0002: begun before, and how that ended is not known; tried again\n";
    assert!(errors.starts_with(said), "{errors}");
}

#[test]
fn equal_output_is_told_once_and_differences_too() {
    let (fleet, _agents) = fleet_of(4);
    let script = fleet.path("script");
    std::fs::write(&script, "#!/bin/sh\necho a\necho $1\n").unwrap();
    let script = script.to_str().unwrap();
    let output = fleet.run(["run", "all", "--gather", "--script", script, "--", "b"]);
    let rule = "---------------";
    let expected = format!("{rule}\nh[0001-0004] (4)\n{rule}\na\nb\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), expected.as_str()));
    let log = fleet.path("log");
    let odd =
        format!("echo x >> {0}; test $(wc -l < {0}) -eq 2 && echo odd || echo even", log.display());
    let output = fleet.run(["run", "all", "--parallel", "1", "--diff", "--", &odd]);
    let lines = text(&output.stdout);
    assert!(
        lines.starts_with(&format!("{rule}\nh[0001,0003-0004] (3)\n{rule}\neven\n")),
        "{lines}"
    );
    assert!(lines.ends_with("-even\n+odd\n"), "{lines}");
}

#[test]
fn where_nothing_ran_there_is_no_output_to_compare_or_to_keep() {
    let (fleet, _agents) = fleet_of(2);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // With equal counts, the first host's output is the one that others differ from.
    fleet.set_address("h0001", closed);
    let output = fleet.run(["run", "all", "--diff", "--", "echo a"]);
    let expected = "---------------\nh0002\n---------------\na\n";
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), expected));
    let out = fleet.path("out");
    for target in ["all", "h0001"] {
        fleet.run(["run", target, "--out", out.to_str().unwrap(), "--", "true"]);
        assert!(!out.join("h0001").exists());
    }
    assert_eq!(std::fs::read(out.join("h0002")).unwrap(), b"");
}

#[test]
fn there_is_an_object_also_for_a_host_that_was_not_begun() {
    let (fleet, _agents) = fleet_of(3);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (1..=3).for_each(|number| fleet.set_address(&format!("h000{number}"), closed));
    let (file, plan) = (fleet.path("file"), fleet.path("plan.toml"));
    std::fs::write(&file, "x").unwrap();
    std::fs::write(&plan, "[[step]]\nrun = \"true\"\n").unwrap();
    let (file, plan) = (file.to_str().unwrap(), plan.to_str().unwrap());
    let stop = ["--json", "--batch", "2", "--max-fail", "0"];
    for verb in [
        &["run", "all"][..],
        &["run", "all", "--detach"],
        &["ping", "all"],
        &["push", file, "all:"],
        &["pull", "all:/etc/hostname", "here"],
        &["batch", plan, "all"],
        &["jobs", "all"],
        &["logs", "all"],
    ] {
        let command = if verb[0] == "run" { &["--", "true"][..] } else { &[] };
        let output = fleet.run([verb, &stop, command].concat());
        let objects = objects(&output.stdout);
        assert_eq!((output.status.code(), objects.len()), (Some(255), 3), "{output:?}");
        assert_eq!(
            (&objects[2]["host"], &objects[2]["error"]),
            (&"h0003".into(), &"not started".into())
        );
        assert_ne!(objects[2]["ok"], true);
        let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&objects[2]), keys(&objects[1]), "{output:?}");
    }
}

#[test]
fn each_host_can_have_files_of_its_own() {
    let (fleet, _agents) = fleet_of(2);
    let out = fleet.path("logs");
    let directory = out.to_str().unwrap();
    fleet.ok(["run", "all", "--out", directory, "--", "echo out; echo err >&2"]);
    for host in ["h0001", "h0002"] {
        assert_eq!(std::fs::read(out.join(host)).unwrap(), b"out\n");
        assert_eq!(std::fs::read(out.join(format!("{host}.err"))).unwrap(), b"err\n");
    }
    let by_name = format!("{directory}/{{host}}/log");
    fleet.ok(["run", "all", "--out", &directory.replace("logs", "other"), "--", "true"]);
    assert!(!fleet.path("other").join("h0001.err").exists());
    // A file is in the way of the directory.
    let output = fleet.run(["run", "all", "--out", &by_name, "--", "true"]);
    assert_eq!(told(&output), (Some(255), vec![], "2 failed (h[0001-0002])"));
    assert!(text(&output.stderr).contains("run on h0001: write "), "{output:?}");
}

#[test]
fn stdin_goes_to_all_of_them_and_to_those_that_begin_later() {
    let (fleet, _agents) = fleet_of(3);
    let input: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    for parallel in ["64", "1"] {
        let args = ["run", "all", "-i", "--parallel", parallel, "--json", "--", "b3sum || md5sum"];
        let mut child = spawn(&fleet, &args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let objects = objects(&output.stdout);
        assert_eq!(objects.len(), 3, "{output:?}");
        assert!(objects.iter().all(|o| o["ok"] == true && o["stdout"] == objects[0]["stdout"]));
    }
    // A command that closes its stdin, and one that ends, delay no other.
    let mut child = spawn(&fleet, &["run", "all", "-i", "--", "exec <&-; wc -c /dev/null"]);
    let _ = child.stdin.take().unwrap().write_all(&input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_file_of_commands_runs_on_each_of_them_in_order() {
    let (fleet, _agents) = fleet_of(2);
    let file = fleet.path("commands");
    std::fs::write(&file, "echo one\n# no\n\nexit 4\necho three\n").unwrap();
    let output = fleet.run(["run", "all", "--from", file.to_str().unwrap()]);
    let lines = vec!["h0001: one", "h0001: three", "h0002: one", "h0002: three"];
    assert_eq!(told(&output), (Some(1), lines, "2 failed (h[0001-0002])"));
    assert!(text(&output.stderr).contains("h0001: exit 4: exit 4\n"));
}

#[test]
fn no_more_begin_once_too_many_have_failed() {
    let (fleet, _agents) = fleet_of(4);
    let args = ["run", "all", "--parallel", "1", "--max-fail", "1", "--", "false"];
    let output = fleet.run(args);
    let summary = "2 not started (h[0003-0004]), 2 failed (h[0001-0002])";
    assert_eq!(told(&output), (Some(1), vec![], summary));
    let output = fleet.run(["run", "all", "--batch", "50%", "--max-fail", "0", "--", "false"]);
    assert_eq!(told(&output).2, summary);
    let output = fleet.run(["run", "all", "--timeout", "100ms", "--", "sleep 60"]);
    assert_eq!(told(&output).0, Some(1));
    assert!(text(&output.stderr).contains("h0002: timed out after 0.1 s\n"), "{output:?}");
}

#[test]
fn what_can_t_be_reached_is_told_with_its_own_cause_and_costs_the_others_nothing() {
    let (fleet, agents) = fleet_of(6);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fleet.set_address("h0002", silent.local_addr().unwrap());
    fleet.set_address("h0003", closed);
    // Another host of the fleet answers there.
    fleet.set_address("h0004", agents.hosts[4].1);
    for verb in [&["ping"][..], &["run"]] {
        let args = [verb, &["all", "--connect-timeout", "500ms"]].concat();
        let command = if verb == ["run"] { &["--", "echo hi"][..] } else { &[] };
        let output = fleet.run([&args[..], command].concat());
        let (status, lines, summary) = told(&output);
        assert_eq!((status, lines.len()), (Some(255), 3), "{output:?}");
        assert_eq!(summary, "3 ok, 2 unreachable (h[0002-0003]), 1 refused (h0004)");
        for (host, cause) in [
            ("h0002", "no answer within 0.5 s in the TLS handshake"),
            ("h0003", "connect: connection refused"),
            ("h0004", "another host answers there: its certificate is for h0005"),
        ] {
            let told = text(&output.stderr).lines();
            let said =
                told.filter(|line| line.contains(&format!(" {host} (")) && line.contains(cause));
            assert_eq!(said.count(), 1, "{host}: {output:?}");
        }
    }
    assert!(fleet.ok(["last"]).contains("h0003: unreachable, run on h0003"));
    // A time limit on the command also limits the wait for its host.
    let limited = fleet.run(["run", "h0002,h0005", "--timeout", "1s", "--", "true"]);
    assert_eq!(
        (limited.status.code(), told(&limited).2),
        (Some(255), "1 ok, 1 unreachable (h0002)")
    );
    let one = fleet.fails(255, ["run", "h0002", "--timeout", "1s", "--", "true"]);
    for said in [text(&limited.stderr), &one] {
        assert!(said.contains("no answer within 1 s in the TLS handshake"), "{said}");
    }
}

#[test]
fn a_reader_that_went_away_ends_all() {
    let (fleet, _agents) = fleet_of(3);
    let pids = fleet.path("pids");
    let command = format!("echo $$ >> {}; exec yes", pids.display());
    let mut child = spawn(&fleet, &["run", "all", "--reconnect", "2m", "--", &command]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 4]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(141), None));
    // Each that ran was ended, and none of these counts as not started.
    let pids = std::fs::read_to_string(pids).unwrap();
    let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
    until("the commands' end", || pids.lines().all(gone).then_some(()));
    let ends = objects(&fleet.ok(["last", "--json"]));
    let failed = ends.iter().filter(|row| row["end"] == "failed").count();
    assert!(failed >= pids.lines().count(), "{output:?}");
    assert!(!text(&output.stderr).contains("ended by signal"), "{output:?}");
}

#[test]
fn ctrl_c_goes_to_all_that_run_and_nothing_more_begins() {
    let (fleet, _agents) = fleet_of(4);
    let command = "trap 'echo bye; exit 9' INT; echo up; while :; do sleep 0.05; done";
    let mut child = spawn(&fleet, &["run", "all", "--parallel", "2", "--", command]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert!(lines.next().unwrap().unwrap().ends_with(": up"));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|line| line.ends_with(": bye")), "{rest:?}");
    let output = child.wait_with_output().unwrap();
    let summary = "2 not started (h[0003-0004]), 2 failed (h[0001-0002])";
    assert_eq!(told(&output), (Some(130), vec![], summary));
}

#[test]
fn a_second_ctrl_c_leaves_what_does_not_end() {
    let (fleet, _agents) = fleet_of(2);
    let command = "trap 'echo no' INT; echo up; while :; do sleep 0.05; done";
    let mut child = spawn(&fleet, &["run", "all", "--reconnect", "1s", "--", command]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = Pid::from_child(&child);
    for word in [": up", ": no"] {
        (0..2).for_each(|_| assert!(lines.next().unwrap().unwrap().ends_with(word)));
        kill_process(pid, Signal::INT).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("run on h0002: left; what still runs there is ended in 1 s"),
        "{errors}"
    );
}
