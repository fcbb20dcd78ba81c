//! A controller that can't write: its home is read-only, or its stdout is full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use lariat_testing::many_agents::fleet_of;
use lariat_testing::output::text;

#[test]
fn a_home_that_can_t_be_written_holds_no_work_up() {
    let (fleet, _agents) = fleet_of(2);
    fs::write(fleet.path("f"), "f").unwrap();
    fs::set_permissions(fleet.home(), fs::Permissions::from_mode(0o500)).unwrap();
    let there = fleet.path("there").display().to_string();
    for verb in [
        &["run", "all", "--", "true"][..],
        &["run", "h0001", "--", "true"],
        &["push", "f", &format!("all:{there}/{{host}}/f")],
        &["push", "f", &format!("h0001:{there}/f")],
        &["pull", &format!("all:{there}/f"), "back"],
        &["ping", "all"],
        &["jobs", "all"],
        &["hosts"],
        &["clean", &format!("all:{there}")],
    ] {
        let lariat = fleet.lariat();
        // Root may write anywhere while it has that capability.
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(lariat.get_program());
        command.args(verb).env("LARIAT_HOME", fleet.home());
        let output = command.current_dir(fleet.path("")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{verb:?}: {output:?}");
        let (warned, said) =
            ("lariat: warning: --retry-failed will know nothing", text(&output.stderr));
        let recorded =
            ["run", "push", "pull", "clean"].contains(&verb[0]) && verb.concat().contains("all");
        assert_eq!(said.contains(warned), recorded, "{verb:?}: {said}");
    }
    fs::set_permissions(fleet.home(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_full_stdout_is_never_success() {
    let (fleet, _agents) = fleet_of(2);
    fs::write(fleet.path("f"), "f").unwrap();
    let file = fleet.path("f").display().to_string();
    fs::write(fleet.path("p.toml"), "[[step]]\nrun = \"echo x\"\n").unwrap();
    for verb in [
        &["run", "h0001", "--", "echo x"][..],
        &["run", "all", "--", "echo x"],
        &["run", "all", "--gather", "--", "echo x"],
        &["run", "all", "--json", "--", "true"],
        &["run", "h0001", "--detach", "--", "echo x"],
        &["push", "f", "h0001:/tmp/f-of-a-test", "--dry-run"],
        &["push", "f", "all:/tmp/f-of-a-test", "--dry-run", "--json"],
        &["pull", &format!("h0001:{file}"), "-"],
        &["ping", "all"],
        &["ping", "h0001", "--json"],
        &["jobs", "all"],
        &["logs", "h0001", "--follow"],
        &["batch", "p.toml", "all"],
        &["hosts"],
        &["hosts", "--json"],
        &["last"],
        &["completions", "bash"],
        &["logs", "h0001"],
        &["attach", "h0001"],
        &["doctor", "h0001"],
        &["audit", "show", "h0001"],
        &["--version"],
        &["run", "--help"],
    ] {
        let full = fs::File::create("/dev/full").unwrap();
        let output = fleet.lariat().args(verb).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{verb:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("no space left on device"), "{verb:?}: {said}");
        assert!(!said.contains("panicked"), "{verb:?}: {said}");
        if ["logs", "attach"].contains(&verb[0]) {
            let line =
                format!("lariat: {} on h0001: write to stdout: no space left on device\n", verb[0]);
            assert_eq!(said, line);
        }
    }
}

#[test]
fn a_stdout_that_nobody_reads_ends_every_verb_as_sigpipe_would() {
    let (fleet, _agents) = fleet_of(2);
    fs::write(fleet.path("f"), "f").unwrap();
    let file = fleet.path("f").display().to_string();
    fleet.ok(["run", "all", "--detach", "--", "echo x"]);
    for verb in [
        &["run", "h0001", "--", "echo x"][..],
        &["run", "h0001", "--json", "--", "true"],
        &["pull", &format!("h0001:{file}"), "-"],
        &["ping", "h0001"],
        &["jobs", "h0001"],
        &["logs", "h0001"],
        &["logs", "h0001", "-f"],
        &["logs", "h0001", "--json"],
        &["attach", "h0001"],
        &["status", "h0001"],
        &["audit", "show", "h0001"],
        &["audit", "show", "h0001", "--json"],
        &["audit", "verify", "h0001"],
        &["doctor"],
        &["doctor", "h0001", "--json"],
        &["hosts"],
        &["last"],
        &["ca", "show"],
        &["completions", "bash"],
        &["fleet", "export", "-"],
        &["--version"],
        &["run", "--help"],
        &["jobs", "all"],
        &["logs", "all"],
        &["attach", "all"],
        &["audit", "show", "all"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = fleet.lariat().args(verb).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{verb:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(!said.contains("lariat:"), "{verb:?}: {said}");
    }
}
