//! What the command line accepts, and its errors for what it does not accept.

use std::fs;

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;

#[test]
fn options_stand_anywhere_among_a_transfers_words() {
    let (fleet, _agent) = TestFleet::with_agent();
    fs::write(fleet.path("f1"), "one\n").unwrap();
    let there = format!("web1:{}", fleet.path("there").display());
    let told = fleet.ok(["push", "f1", "--json", &there]);
    assert!(told.contains(r#""ok":true,"files":1"#), "{told}");
    assert!(fleet.ok(["pull", &there, "--json", "--", "back"]).contains(r#""ok":true"#));
    assert_eq!(fs::read(fleet.path("back")).unwrap(), b"one\n");

    let error = fleet.fails(255, ["pull", &there]);
    assert!(error.contains("pull: DEST is missing; try: lariat pull web1:"), "{error}");
    let output = fleet.run(["push", "--help"]);
    assert!(text(&output.stdout).contains("lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>\n"));
}

#[test]
fn stdin_has_no_name_to_have_in_a_directory() {
    let (fleet, _agent) = TestFleet::with_agent();
    let directory = fleet.path("directory");
    fs::create_dir(&directory).unwrap();
    let there = format!("web1:{}", directory.display());
    for (dest, more) in [("", &[][..]), ("", &["--dry-run"]), ("/", &[]), ("/.", &["--dry-run"])] {
        let dest = format!("{there}{dest}");
        let error = fleet.fails(255, [&["push", "-", &dest], more].concat());
        assert!(error.contains("stdin needs a name"), "{error}");
        assert!(error.ends_with("; try: lariat push - HOST:/DIR/NAME\n"), "{error}");
    }
    assert!(fs::read_dir(&directory).unwrap().next().is_none());
    fleet.ok(["push", "-", &format!("{there}/name")]);
    assert_eq!(fs::read(directory.join("name")).unwrap(), b"");
}

#[test]
fn what_can_not_be_meant_is_refused_before_any_host_is_asked() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    fs::write(fleet.path("f1"), "one\n").unwrap();
    fs::create_dir(fleet.path("directory")).unwrap();
    fs::write(fleet.path("list"), "a\n../f1\n").unwrap();
    let long = "x".repeat(100_000);
    let many: Vec<&str> = ["run", "web1", "--", "true"].into_iter().chain([&*long; 11]).collect();
    for (words, why) in [
        (many.as_slice(), "the command is over 1024 KiB long, its environment included; try: "),
        (
            &["push", "directory", "web1:/x", "--files-from", "list"],
            "read list: ../f1 may lead out",
        ),
        (&["push", "f1", "web1:/x", "--exclude", "[a"], "the glob \"[a\" can't be read"),
        (&["push", "f1", "web1:/x", "--exclude", ""], "a glob is empty"),
        (&["pull", "web1:/f1", "x", "--include", "[a"], "the glob \"[a\" can't be read"),
        (&["push", "f1", "web1:/x", "--chown", ":"], "it names no user and no group"),
        (&["push", "f1", "web1:/x", "--chown", ""], "--chown: "),
        (&["pull", "web1:", "."], "web1: names no file or directory; try: web1:PATH, or web1:. "),
        (&["run", "web1", "echo", "hi"], "comes after --; try: lariat run web1 -- echo hi"),
        (&["hosts", "@wbe"], "no host matches @wbe; try: lariat hosts"),
    ] {
        let error = fleet.fails(255, words);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn an_error_names_the_verb_that_it_is_of() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    for (verb, words) in [
        ("run on", &["run", "web1", "--", "true"][..]),
        ("rsh on", &["rsh", "web1", "true"]),
        ("attach on", &["attach", "web1"]),
        ("kill on", &["kill", "web1"]),
    ] {
        let error = fleet.fails(255, words);
        assert!(error.starts_with(&format!("lariat: {verb} web1 ")), "{error}");
    }
}

#[test]
fn a_job_that_is_not_there_is_an_error_and_so_is_one_to_kill_where_all_have_ended() {
    let (fleet, _agent) = TestFleet::with_agent();
    assert_eq!(fleet.ok(["jobs", "web1"]), "");
    let error = fleet.fails(255, ["jobs", "web1", "0000"]);
    assert!(
        error.contains("this key has no job 0000 on this host; try: lariat jobs web1"),
        "{error}"
    );
    let object = fleet.run(["jobs", "web1", "0000", "--json"]);
    assert_eq!(object.status.code(), Some(255));
    assert!(text(&object.stdout).contains("this key has no job 0000"), "{object:?}");
    let error = fleet.fails(255, ["jobs", "all", "0000"]);
    assert!(error.contains("jobs: this key has no job 0000 on any host of all"), "{error}");

    let said = fleet.ok(["run", "web1", "--detach", "--", "true"]);
    let job = said.split_whitespace().next_back().unwrap();
    fleet.ok(["attach", "web1", job]);
    let error = fleet.fails(255, ["kill", "web1"]);
    assert!(error.contains("every detached job of this key on this host has ended"), "{error}");
}
