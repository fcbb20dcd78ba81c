//! What the command line takes, and what it says of what it does not take.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::fs;

use lariat_tests::fleet::TestFleet;
use lariat_tests::said::text;

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
    assert!(error.contains("were not provided: <DEST>; try: lariat pull [OPTIONS] "), "{error}");
    let output = fleet.run(["push", "--help"]);
    assert!(text(&output.stdout).contains("lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>\n"));
}

#[test]
fn stdin_has_no_name_to_have_in_a_folder() {
    let (fleet, _agent) = TestFleet::with_agent();
    let folder = fleet.path("folder");
    fs::create_dir(&folder).unwrap();
    let there = format!("web1:{}", folder.display());
    for (dest, more) in [("", &[][..]), ("", &["--dry-run"]), ("/", &[]), ("/.", &["--dry-run"])] {
        let dest = format!("{there}{dest}");
        let error = fleet.fails(255, [&["push", "-", &dest], more].concat());
        assert!(error.contains("stdin needs a name"), "{error}");
        assert!(error.ends_with("; try: lariat push - HOST:/FOLDER/NAME\n"), "{error}");
    }
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    fleet.ok(["push", "-", &format!("{there}/name")]);
    assert_eq!(fs::read(folder.join("name")).unwrap(), b"");
}
