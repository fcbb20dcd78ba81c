//! A key with commands: what it runs is what a pattern says, and nothing else of how it runs is the caller's choice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use lariat_testing::fleet::TestFleet;
use lariat_testing::wait;

use super::{directory, refused};
use crate::audit::of_request;

/// Rules with these commands, each a list of words as in TOML.
fn commands(list: &str) -> String {
    format!("verbs = [\"run\", \"jobs\", \"shell\"]\ncommands = [{list}]\n")
}

#[test]
fn a_command_that_a_pattern_names_runs_and_others_do_not() {
    let list = "[\"/usr/bin/printf\", \"%s-\", \"*\", \"..\"], [\"/usr/bin/id\", \"-u\"], [\"/usr/bin/id\"]";
    let (fleet, _agent) = TestFleet::with_rules(&commands(list));
    assert_eq!(fleet.ok(["run", "web1", "--", "printf", "%s-", "a b", "c"]), "a b-c-");
    assert_eq!(fleet.ok(["run", "web1", "--", "/usr/bin/printf", "%s-", "a"]), "a-");
    let uid = rustix::process::geteuid().as_raw();
    // A program without arguments is one word; it is not given to a shell.
    for words in [&["id", "-u"][..], &["id"], &["/usr/bin/id"]] {
        let output = fleet.ok([&["run", "web1", "--"], words].concat());
        assert!(output.contains(&uid.to_string()), "{output}");
    }
    for words in [
        &["printf", "%s-", "-v"][..],
        &["printf", "%s-", "a", "--help"],
        &["printf", "%s-", "a/b"],
        &["printf", "%s-", ".."],
        &["printf", "%d", "1"],
        &["printf"],
        &["/usr/bin/../bin/id", "-u"],
        &["//usr/bin/id", "-u"],
        &["./id", "-u"],
        &["id", "-u", "x"],
        &["env", "id"],
        &["no-such-program", "-u"],
    ] {
        refused(&fleet, [&["run", "web1", "--"], words].concat());
    }
    let near = refused(&fleet, ["run", "web1", "--", "printf", "%s-", "a/b"]);
    assert!(near.contains("commands: nearest is keyring.toml:10, word 3 differs"), "{near}");
}

#[test]
fn the_record_and_an_error_name_what_was_run_and_no_shell() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let own = directory(&fleet, "own");
    let broken = own.join("broken").into_os_string().into_string().unwrap();
    fs::write(&broken, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let list = format!("[\"/usr/bin/id\"], [\"{broken}\"]");
    fleet.set_rules("web1", &format!("{}stdin = true\n", commands(&list)));
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    fleet.ok(["run", "web1", "--", "id"]);
    fleet.ok(["run", "web1", "--", "/usr/bin/id"]);
    let job = fleet.ok(["run", "web1", "--detach", "--", "id"]);
    fleet.ok(["attach", "web1", job.split_whitespace().last().unwrap()]);
    let error = fleet.fails(127, ["run", "web1", "--", &broken]);
    assert!(error.contains(&format!("start {broken}: ")) && !error.contains("/bin/sh"), "{error}");
    let words = ["id", "/usr/bin/id", "id", &broken];
    let lines = wait::until("four ends", || {
        let lines = of_request(&agent, "run");
        (lines.len() == 2 * words.len()).then_some(lines)
    });
    let argv: BTreeSet<_> = lines.iter().map(|line| line["argv"].to_string()).collect();
    let wanted = words.map(|word| serde_json::json!([word]).to_string());
    assert_eq!(argv, wanted.into_iter().collect());
    refused(&fleet, ["run", "web1", "--", "id;id"]);
    let denied = of_request(&agent, "run").pop().unwrap();
    assert_eq!(denied["argv"], serde_json::json!(["/bin/sh", "-c", "id;id"]));
}

#[test]
fn nothing_of_how_a_command_runs_is_the_callers_choice() {
    let (fleet, _agent) = TestFleet::with_rules(&commands("[\"/usr/bin/id\", \"-u\"]"));
    fs::write(fleet.path("script"), "id\n").unwrap();
    for options in [
        &["--", "id -u"][..],
        &["--", "id;ls"],
        &["--", "$(id)"],
        &["--", "id=x"],
        &["--script", "script"],
        &["--cwd", "/tmp", "--", "id", "-u"],
        &["--env", "PATH=/tmp", "--", "id", "-u"],
        &["--env", "LD_PRELOAD=/tmp/x.so", "--", "id", "-u"],
        &["-i", "--", "id", "-u"],
    ] {
        refused(&fleet, [&["run", "web1"], options].concat());
    }
    let error = String::from_utf8(fleet.run(["run", "-t", "web1", "--", "id", "-u"]).stderr);
    assert!(error.unwrap().contains("not permitted"));
    let error = String::from_utf8(fleet.run(["shell", "web1"]).stderr).unwrap();
    assert!(error.contains("not permitted") || error.contains("terminal"), "{error}");
    let error = String::from_utf8(fleet.run(["rsh", "web1", "id -u"]).stderr).unwrap();
    assert!(error.contains("not permitted"), "{error}");
    // Other verbs are not in the list.
    refused(&fleet, ["pull", "web1:/etc/passwd", "got"]);
    refused(&fleet, ["push", "script", "web1:/tmp/x"]);
}

#[test]
fn input_needs_a_rule_of_its_own() {
    let (fleet, _agent) =
        TestFleet::with_rules(&format!("{}stdin = true\n", commands("[\"/usr/bin/wc\", \"-c\"]")));
    let mut run = fleet.lariat();
    fs::write(fleet.path("input"), "12345").unwrap();
    run.args(["run", "web1", "-i", "--", "wc", "-c"]);
    run.stdin(fs::File::open(fleet.path("input")).unwrap());
    let output = run.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "5");
}

/// A directory of PATH that others may write to could hold a program of theirs under any name.
#[test]
fn a_program_is_the_one_that_root_put_there() {
    if !rustix::process::geteuid().is_root() {
        // Only directories of root count.
        return;
    }
    let (fleet, agent) = TestFleet::with_rules(&commands("[\"/usr/bin/id\", \"-u\"]"));
    drop(agent);
    let [open, own] = ["open", "own"].map(|name| directory(&fleet, name));
    for (directory, mode) in [(&open, 0o777), (&own, 0o755)] {
        fs::write(directory.join("id"), "#!/bin/sh\necho forged\n").unwrap();
        fs::set_permissions(directory.join("id"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    let config = fleet.bundle("web1").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    let with_path = |path: &str| {
        fs::write(&config, format!("{text}\n[exec]\npath = \"{path}\"\n")).unwrap();
        let agent = fleet.start("web1");
        fleet.set_address("web1", agent.address);
        agent
    };
    let agent = with_path(&format!("{}:.:/usr/bin", open.display()));
    // What was matched is what runs: nothing looks the name up again.
    assert_eq!(fleet.ok(["run", "web1", "--", "id", "-u"]), "0\n");
    drop(agent);
    let _agent = with_path(&format!("{}:/usr/bin", own.display()));
    let error = refused(&fleet, ["run", "web1", "--", "id", "-u"]);
    assert!(error.contains(&format!("has no {}/id", own.display())), "{error}");
}

#[test]
fn jobs_of_others_are_as_if_they_were_not_there() {
    let (fleet, _agent) = TestFleet::with_rules(&commands("[\"/usr/bin/sleep\", \"*\"]"));
    let line = fleet.ok(["run", "web1", "--detach", "--", "sleep", "1000"]);
    let job = line.split_whitespace().last().unwrap().to_owned();
    assert!(fleet.ok(["jobs", "web1"]).contains("sleep"));
    fleet.ok(["kill", "web1", &job, "-s", "KILL"]);
    let error = fleet.fails(255, ["kill", "web1", &"0".repeat(32)]);
    assert!(error.contains("no job"), "{error}");
}
