//! Notes for the next operator, and who else is there.

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use lariat_testing::screen::Screen;

use crate::keys::Operator;

const RULES: [&str; 2] = ["--verbs", "run,shell,status,note"];

/// The texts of the notes of web1, as an operator lists them.
fn texts(fleet: &TestFleet) -> Vec<String> {
    let object = objects(&fleet.ok(["note", "web1", "--json"])).remove(0);
    let notes = object["notes"].as_array().unwrap().iter();
    notes.map(|note| note["text"].as_str().unwrap().to_owned()).collect()
}

/// What a terminal shows of a command of this operator, which then ends with a word.
fn in_a_terminal(operator: &Operator<'_>, words: &[&str]) -> String {
    let mut command = std::process::Command::new("sh");
    let lariat = operator.lariat();
    for (name, value) in lariat.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.current_dir(lariat.get_current_dir().unwrap());
    let line = "\"$0\" \"$@\"; echo do''ne".to_owned();
    command.arg("-c").arg(line).arg(lariat.get_program()).args(words);
    let screen = Screen::start(&mut command);
    screen.sees("done");
    screen.lines().join("\n")
}

#[test]
fn a_note_is_shown_once_to_each_other_operator_on_a_terminal() {
    let (fleet, agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &RULES);
    fleet.ok(["note", "web1", "disk", "3", "is new"]);
    assert_eq!(texts(&fleet), ["disk 3 is new"]);

    // Not in a pipe, and then it is not seen.
    let output = bob.run(&["run", "web1", "--", "echo hi"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("hi\n", ""));
    let shown = in_a_terminal(&bob, &["run", "web1", "--", "echo hi"]);
    assert!(shown.contains("web1 says, note by ") && shown.contains(": disk 3 is new"), "{shown}");
    let shown = in_a_terminal(&bob, &["run", "web1", "--", "echo hi"]);
    assert!(!shown.contains("note by"), "{shown}");
    let own = Operator { home: fleet.home(), ..Operator::added(&fleet, "eve", &RULES) };
    let shown = in_a_terminal(&own, &["run", "web1", "--", "echo hi"]);
    assert!(!shown.contains("note by"), "one's own is no news: {shown}");

    let listed = bob.ok(&["note", "web1"]);
    assert!(listed.starts_with("NOTE  LEFT") && listed.contains("disk 3 is new"), "{listed}");
    assert!(fleet.ok(["status", "web1"]).contains("\nnotes        1 by "));
    let told = bob.refused(&["note", "web1", "--clear=1"]);
    assert!(told.contains("is another key's"), "{told}");
    bob.ok(&["note", "web1", "mine"]);
    bob.ok(&["note", "web1", "--clear"]);
    assert_eq!(texts(&fleet), ["disk 3 is new"]);
    drop(agent);
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    assert_eq!(texts(&fleet), ["disk 3 is new"], "it outlasts the agent");
    let audit = fleet.ok(["audit", "show", "web1", "--json"]);
    assert!(
        audit.contains("\"request\":\"note\"") && audit.contains("\"note\":\"mine\""),
        "{audit}"
    );
    fleet.ok(["note", "web1", "--clear=1"]);
    assert_eq!(texts(&fleet), [""; 0]);
}

#[test]
fn who_is_in_a_shell_learns_who_else_is_there_and_sees_notes_at_once() {
    let (fleet, _agent) = TestFleet::with_agent();
    let bob = Operator::added(&fleet, "bob", &RULES);
    let mut alone = Screen::start(fleet.lariat().args(["shell", "web1"]));
    alone.types("exec sh\r");
    alone.types("echo rea''dy\r");
    alone.sees("ready");
    let shown = alone.lines().join("\n");
    assert!(!shown.contains("also here"), "{shown}");

    fleet.ok(["note", "web1", "left before"]);
    let mut shell = Screen::start(bob.lariat().args(["shell", "web1"]));
    shell.sees("web1 says, also here: ");
    shell.sees("(shell, since ");
    shell.sees(": left before");
    shell.types("exec sh\r");
    shell.types("echo rea''dy\r");
    shell.sees("ready");
    fleet.ok(["note", "web1", "left meanwhile"]);
    shell.sees(": left meanwhile");
    bob.ok(&["note", "web1", "and an answer"]);
    alone.sees(": and an answer");
    shell.types("exit\r");
    alone.types("exit\r");
}

#[test]
fn notes_are_short_lines_and_not_too_many() {
    let (fleet, _agent) = TestFleet::with_agent();
    for bad in ["a\nb", "\x1b[2J", " ", &"x".repeat(501)] {
        let told = fleet.fails(255, ["note", "web1", bad]);
        assert!(told.contains("one line of at most 500 bytes"), "{told}");
    }
    for count in 0..4 {
        fleet.ok(["note", "web1", &format!("note {count}")]);
    }
    let told = fleet.fails(255, ["note", "web1", "one more"]);
    assert!(told.contains("no more than 4 notes a minute"), "{told}");
    let told = fleet.fails(255, ["note", "web1", "--clear=9"]);
    assert!(told.contains("there is no note 9 here"), "{told}");
    let other = Operator::added(&fleet, "other", &["--verbs", "run,status"]);
    let told = other.refused(&["note", "web1", "hi"]);
    assert!(told.contains("not permitted") && told.contains("has no note"), "{told}");
    assert!(other.ok(&["note", "web1"]).contains("note 3"));
}
