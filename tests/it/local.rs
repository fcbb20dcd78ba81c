//! `lariat --local`: the agent on the host itself, over its socket, without a fleet or a key.

use std::process::{Command, Output, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::binaries::binaries;
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;

/// A fleet and its agent, which permits these verbs on its socket.
fn listening(verbs: &str) -> (TestFleet, Agent) {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let rest = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("local = [{verbs}]\n{rest}")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    (fleet, agent)
}

/// `lariat --local` in an environment without a fleet.
fn local<const N: usize>(fleet: &TestFleet, args: [&str; N]) -> Output {
    local_command(fleet).args(args).output().unwrap()
}

fn local_command(fleet: &TestFleet) -> Command {
    let mut command = Command::new(&binaries().lariat);
    command.env_clear().env("LARIAT_AGENT_CONFIG", fleet.bundle("web1").join("agent.toml"));
    command.env("PATH", "/usr/bin:/bin").current_dir(fleet.path("")).stdin(Stdio::null());
    command.arg("--local");
    command
}

/// The one line of a command that must fail with lariat's own exit code.
fn refused<const N: usize>(fleet: &TestFleet, args: [&str; N]) -> String {
    let output = local(fleet, args);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    text(&output.stderr).to_owned()
}

#[test]
fn commands_run_and_files_move_without_a_fleet_or_a_key() {
    let (fleet, _agent) = listening("\"run\", \"push\", \"pull\", \"jobs\"");
    let ran = local(&fleet, ["run", "web1", "--", "echo out; echo err >&2; exit 7"]);
    let said = (ran.status.code(), text(&ran.stdout), text(&ran.stderr));
    assert_eq!(said, (Some(7), "out\n", "err\n"));

    let [source, there, back] = ["source", "there", "back"].map(|name| fleet.path(name));
    random_file(&source, (1 << 20) + 7, 1);
    let there = there.to_str().unwrap();
    let pushed = local(&fleet, ["push", "source", &format!("web1:{there}")]);
    assert!(pushed.status.success(), "{pushed:?}");
    let pulled = local(&fleet, ["pull", &format!("web1:{there}"), "back"]);
    assert!(pulled.status.success(), "{pulled:?}");
    assert!(std::fs::read(source).unwrap() == std::fs::read(back).unwrap());

    let pinged = local(&fleet, ["ping", "web1"]);
    assert!(pinged.status.success(), "{pinged:?}");
}

#[test]
fn another_host_s_name_is_refused_before_anything_is_done() {
    let (fleet, _agent) = listening("\"run\", \"push\", \"jobs\", \"note\", \"status\"");
    std::fs::write(fleet.path("file"), "x").unwrap();
    let touched = fleet.path("touched").display().to_string();
    let (touch, there) = (format!("touch {touched}"), format!("db7:{touched}"));
    let config = fleet.bundle("web1").join("agent.toml");
    let why = format!(
        "--local: this host is web1, by {}, and not db7; name web1, or leave out --local",
        config.display()
    );
    for args in [
        &["run", "db7", "--", &touch][..],
        &["run", "root@db7", "--", &touch],
        &["rsh", "db7", &touch],
        &["push", "file", &there],
        &["note", "db7", "a word"],
        &["status", "db7"],
        &["ping", "db7"],
        &["jobs", "db7"],
        &["kill", "db7"],
        &["doctor", "db7"],
    ] {
        let output = local_command(&fleet).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{args:?}: {output:?}");
        let told = [output.stdout, output.stderr].concat();
        assert!(text(&told).contains(&why), "{args:?}: {}", text(&told));
    }
    let json = local(&fleet, ["run", "db7", "--json", "--", &touch]);
    let object: serde_json::Value = serde_json::from_str(text(&json.stdout)).unwrap();
    assert_eq!((&object["host"], &object["kind"]), (&"db7".into(), &"failed".into()));
    assert!(!fleet.path("touched").exists());
    assert!(text(&local(&fleet, ["note", "web1"]).stdout).is_empty());
}

#[test]
fn only_the_verbs_of_the_configuration_are_permitted() {
    let (fleet, _agent) = listening("\"run\"");
    std::fs::write(fleet.path("file"), "x").unwrap();
    let there = format!("web1:{}", fleet.path("there").display());
    let error = refused(&fleet, ["push", "file", &there]);
    assert!(error.contains("not permitted"), "{error}");
    assert!(!fleet.path("there").exists());
}

#[test]
fn jobs_of_the_socket_and_of_the_fleet_do_not_see_each_other() {
    let (fleet, _agent) = listening("\"run\", \"jobs\"");
    let started = local(&fleet, ["run", "--detach", "web1", "--", "sleep 60"]);
    let job = text(&started.stdout).split_whitespace().last().unwrap().to_owned();
    let listed = local(&fleet, ["jobs", "web1"]);
    assert!(text(&listed.stdout).contains(&job[..12]), "{listed:?}");
    let error = fleet.fails(255, ["kill", "web1", &job]);
    assert!(error.contains("this key has no job"), "{error}");
    let killed = local(&fleet, ["kill", "web1", &job]);
    assert!(killed.status.success(), "{killed:?}");
}

#[test]
fn a_session_that_is_over_is_no_broken_connection() {
    let (fleet, agent) = listening("\"run\"");
    for (words, ends) in [
        (&["can", "local:0", "web1"][..], Some(0)),
        (&["can", "local:0", "web1", "--push", "/x"], Some(1)),
        (&["can", "other", "web1"], Some(255)),
        (&["run", "web1", "--", "true"], Some(0)),
        (&["push", "x", "web1:/x"], Some(255)),
    ] {
        std::fs::write(fleet.path("x"), "x").unwrap();
        let mut command = local_command(&fleet);
        assert_eq!(command.args(words).output().unwrap().status.code(), ends, "{words:?}");
        let ended = agent.wait_for("}: ended");
        assert!(ended.ends_with("}: ended"), "{words:?}: {ended}");
    }
}

#[test]
fn an_agent_that_was_not_told_to_does_not_listen() {
    let (fleet, _agent) = TestFleet::with_agent();
    let error = refused(&fleet, ["run", "web1", "--", "true"]);
    assert!(error.contains("with local = [...] in its agent.toml?"), "{error}");
}

#[test]
fn it_is_for_one_host_and_for_verbs_that_go_to_one() {
    let (fleet, _agent) = TestFleet::with_agent();
    let error = refused(&fleet, ["run", "web*", "--", "true"]);
    assert!(error.contains("--local is for one host"), "{error}");
    let error = refused(&fleet, ["hosts"]);
    assert!(error.contains("--local is for verbs"), "{error}");
}
