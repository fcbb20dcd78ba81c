//! `lariat -h`: the verbs of every day with a line each, and the others by name, on one screen.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::Command;

/// The verbs of every day, in the order in which a new user meets them.
const EVERY_DAY: [&str; 13] = [
    "init", "enroll", "hosts", "ping", "status", "run", "shell", "push", "pull", "batch", "jobs",
    "key", "doctor",
];

/// The width of the page, in columns.
const WIDTH: usize = 80;

/// The page, if these arguments, behind the program's name, ask for it: none at all, or `-h` without a verb.
pub(crate) fn requested(arguments: &[OsString], syntax: &Command) -> Option<String> {
    let names_verb = |argument: &OsString| syntax.find_subcommand(argument).is_some();
    let is_asked_for = arguments.last().is_none_or(|last| last == "-h");
    (is_asked_for && !arguments.iter().any(names_verb)).then(|| page(syntax))
}

fn page(syntax: &Command) -> String {
    let about = |verb: &Command| verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!("{}\n\nUsage: lariat [OPTIONS] COMMAND\n\nEvery day:\n", about(syntax));
    for name in EVERY_DAY {
        let about = syntax.find_subcommand(name).map(about).unwrap_or_default();
        let _ = writeln!(page, "  {name:7} {about}");
    }
    page.push_str("\nMore:");
    let mut column = 5;
    let others = syntax.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name);
    for name in others.filter(|name| !EVERY_DAY.contains(name)) {
        if column + 1 + name.len() > WIDTH {
            page.push_str("\n     ");
            column = 5;
        }
        let _ = write!(page, " {name}");
        column += 1 + name.len();
    }
    page.push_str(
        "\n\nNew here: lariat demo. Options: lariat COMMAND -h. All of it: lariat --help\n",
    );
    page
}
