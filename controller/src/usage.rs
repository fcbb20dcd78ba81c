//! Errors of the command line: clap's, in one line that says what to type.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use lariat_base::name::HostName;
use lariat_client::Address;

use crate::error::CliError;
use crate::help_order::globals_last;
use crate::output::{self, style};
use crate::overview;
use crate::shell_word::shell_word;
use crate::status;
use crate::target::Targets;

/// Verbs of other programs, and what to type here.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["cp", "copy", "scp", "sftp", "sync", "rsync"],
        "lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST",
    ),
    (&["put", "send", "upload"], "lariat push FILE HOST:DEST"),
    (&["get", "fetch", "download"], "lariat pull HOST:FILE DEST"),
    (&["exec", "cmd", "command"], "lariat run TARGET -- COMMAND"),
    (
        &["ssh", "login", "connect", "console", "terminal"],
        "lariat shell HOST for a terminal, or lariat run HOST -- COMMAND",
    ),
    (&["tunnel", "proxy", "socks"], "lariat forward HOST -L PORT:ADDR:PORT, or -D PORT"),
    (&["ls", "list", "inventory"], "lariat hosts"),
    (&["ps", "job"], "lariat jobs TARGET"),
    (&["add"], "lariat enroll HOST --ssh [USER@]ADDR"),
    (&["rm", "remove", "delete"], "lariat forget HOST"),
    (&["apply", "plan", "play", "playbook"], "lariat batch PLAN.toml TARGET"),
    (&["keys", "grant"], "lariat key --help"),
    (&["history"], "lariat last"),
    (&["version"], "lariat --version"),
];

/// Handles what clap did not parse by `syntax`: a request for help, or wrong usage, which is reported in one line.
pub(crate) fn report(
    error: &clap::Error,
    arguments: &[OsString],
    syntax: clap::Command,
) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let page = page(error, arguments, &syntax, style::has_colors(rustix::stdio::stdout()));
            match output::bytes(page.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => error.report(false),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let page = page(error, arguments, &syntax, style::has_colors(rustix::stdio::stderr()));
            let _ = io::stderr().write_all(page.as_bytes());
            ExitCode::from(status::FAILURE)
        }
        _ => {
            let arguments = arguments.get(1..).unwrap_or_default();
            output::error(&wrong(error, arguments, syntax).line());
            ExitCode::from(status::FAILURE)
        }
    }
}

/// The page that was asked for.
fn page(
    error: &clap::Error,
    arguments: &[OsString],
    syntax: &clap::Command,
    colors: bool,
) -> String {
    overview::requested(arguments.get(1..).unwrap_or_default(), syntax).unwrap_or_else(|| {
        let text = error.render();
        globals_last(&if colors { text.ansi().to_string() } else { text.to_string() })
    })
}

/// The error for wrong usage; `arguments` are those after the program's name.
fn wrong(error: &clap::Error, arguments: &[OsString], mut syntax: clap::Command) -> CliError {
    syntax.build();
    let mut line = Line { error, arguments, verb: Vec::new(), takes_target: false };
    let mut command = &syntax;
    for argument in arguments {
        let Some(below) = command.find_subcommand(argument) else { continue };
        command = below;
        line.verb.push(command.get_name().to_owned());
    }
    let names = command.get_positionals().next().and_then(clap::Arg::get_value_names);
    line.takes_target = names.unwrap_or_default().iter().any(|name| name == "TARGET");
    let said = match error.kind() {
        ErrorKind::InvalidSubcommand => line.unknown_verb(),
        ErrorKind::UnknownArgument => line.unknown(),
        ErrorKind::MissingRequiredArgument => line.missing(),
        ErrorKind::InvalidValue => line.invalid(),
        ErrorKind::ValueValidation => line.unreadable(),
        ErrorKind::ArgumentConflict => line.conflict(),
        _ => None,
    };
    said.unwrap_or_else(|| line.plain()).hint(line.help())
}

/// The name of an argument of clap's: `--timeout <DUR>` and `--clear[=<N>]` are `--timeout` and `--clear`, and
/// `<SOURCE>...` is `SOURCE`.
fn name(argument: &str) -> &str {
    let word = argument.split(' ').next().unwrap_or_default().trim_end_matches("...");
    let word = word.split("[=").next().unwrap_or_default();
    word.trim_matches(|c| "<>[]".contains(c))
}

/// A wrong command line.
struct Line<'a> {
    error: &'a clap::Error,
    arguments: &'a [OsString],
    /// The verb among the arguments, with that below it; empty if there is none.
    verb: Vec<String>,
    /// The verb's first word is a target.
    takes_target: bool,
}

impl Line<'_> {
    /// A detail of the error.
    fn text(&self, kind: ContextKind) -> Option<&str> {
        match self.error.get(kind)? {
            ContextValue::String(text) => Some(text),
            ContextValue::Strings(texts) => texts.first().map(String::as_str),
            _ => None,
        }
    }

    /// All values of a detail.
    fn texts(&self, kind: ContextKind) -> Vec<&str> {
        match self.error.get(kind) {
            Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
            Some(ContextValue::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    fn verb(&self) -> String {
        self.verb.join(" ")
    }

    /// The command that explains the verb.
    fn help(&self) -> String {
        let words = [&["lariat".to_owned()], self.verb.as_slice(), &["--help".to_owned()]];
        words.concat().join(" ")
    }

    /// The usage line that clap shows with the error, else [`Self::help`].
    fn usage(&self) -> String {
        let rendered = self.error.render().to_string();
        let usage = rendered.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
        usage.map_or_else(|| self.help(), ToOwned::to_owned)
    }

    /// `, did you mean --json?`
    fn near(&self, kind: ContextKind) -> String {
        self.text(kind).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
    }

    fn unknown_verb(&self) -> Option<CliError> {
        let word = self.text(ContextKind::InvalidSubcommand)?;
        let foreign = FOREIGN.iter().find(|(words, _)| words.contains(&word));
        if let Some((_, here)) = foreign {
            return Some(CliError::new(format!("there is no verb {word}")).hint(here));
        }
        let near = self.near(ContextKind::SuggestedSubcommand);
        Some(CliError::new(format!("there is no verb {word}{near}")))
    }

    fn unknown(&self) -> Option<CliError> {
        let word = self.text(ContextKind::InvalidArg)?;
        if !word.starts_with('-') {
            return Some(self.extra(word));
        }
        let why = match word.as_bytes() {
            [b'-', b'p', ..] => {
                ": the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once"
            }
            [b'-', b'o', ..] => {
                ": lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh"
            }
            [b'-', b't', ..] => ": a terminal is for run and shell",
            [b'-', b'n', ..] => ": a dry run is for push, pull and batch",
            [b'-', b'u', ..] => ": this verb does nothing as a user of the host",
            _ => "",
        };
        let near = self.near(ContextKind::SuggestedArg);
        Some(CliError::new(format!("there is no option {word}{near}{why}")))
    }

    /// The error for a word too many.
    fn extra(&self, word: &str) -> CliError {
        let verb = self.verb();
        let has_dashes = self.arguments.iter().any(|argument| argument == "--");
        if verb == "run" && !has_dashes {
            let error = CliError::new("the command of run comes after --");
            return self.with_dashes(word).into_iter().fold(error, CliError::hint);
        }
        if verb == "enroll" && word.parse::<HostName>().is_err() && word.parse::<Address>().is_ok()
        {
            let host = self.before(word).unwrap_or("HOST");
            let error =
                CliError::new(format!("enroll takes a host's name, and {word} is another word"));
            return error.hint(format!("lariat enroll {host} --address {word}"));
        }
        if self.takes_target {
            let first = self.before(word).unwrap_or("web1");
            let what = format!("{verb} takes one TARGET, and {word} is another word");
            return CliError::new(what).next(format!(
                "hosts are separated by commas: {first},{word}; a pattern is quoted, or the shell replaces it by the \
                 names of files: 'web*'"
            ));
        }
        CliError::new(format!("{word} is one word too many")).hint(self.usage())
    }

    /// The argument before this one.
    fn before(&self, word: &str) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| argument == word)?;
        self.arguments.get(at.checked_sub(1)?)?.to_str()
    }

    /// The command line of a `run` whose `--` was omitted, with it.
    fn with_dashes(&self, word: &str) -> Option<String> {
        let at = self.arguments.iter().position(|argument| argument.to_str() == Some(word))?;
        let (before, command) = self.arguments.split_at(at);
        let quoted = |words: &[OsString]| {
            words.iter().map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>()
        };
        let words =
            [vec!["lariat".to_owned()], quoted(before), vec!["--".to_owned()], quoted(command)];
        Some(words.concat().join(" "))
    }

    fn missing(&self) -> Option<CliError> {
        let names: Vec<&str> = self.texts(ContextKind::InvalidArg).into_iter().map(name).collect();
        let verb = self.verb();
        let error = CliError::new(format!("{verb}: {} is missing", names.join(" and ")));
        if names == ["COMMAND"] && verb == "run" {
            let words = self.arguments.iter().filter_map(|word| word.to_str());
            let target = words.filter_map(|word| word.parse::<Targets>().ok()).next_back();
            let quoted = target.as_ref().map_or("TARGET".to_owned(), Targets::quoted);
            let run = format!("lariat run {quoted} -- COMMAND");
            return Some(error.hint(match target.and_then(|target| target.plain()) {
                Some(_) => format!("{run}, or for a terminal: lariat shell {quoted}"),
                None => run,
            }));
        }
        (!names.is_empty()).then(|| error.hint(self.usage()))
    }

    /// A word that is none of those that are possible, or no word at all.
    fn invalid(&self) -> Option<CliError> {
        let option = name(self.text(ContextKind::InvalidArg)?);
        let possible = self.texts(ContextKind::ValidValue).join(", ");
        let value = self.text(ContextKind::InvalidValue).unwrap_or_default();
        if value.is_empty() {
            let what = self.text(ContextKind::InvalidArg)?;
            let what = what.split_once(' ').map_or(possible.as_str(), |(_, value)| name(value));
            return Some(CliError::new(format!("{option} needs a value: {what}")));
        }
        Some(CliError::new(format!("{option}: {value} is none of {possible}")))
    }

    /// A value that its parser refused.
    fn unreadable(&self) -> Option<CliError> {
        let argument = name(self.text(ContextKind::InvalidArg)?);
        let why = self.error.source()?;
        let value = self.text(ContextKind::InvalidValue).unwrap_or_default();
        Some(CliError::new(if why.is::<ParseIntError>() {
            format!("{argument}: {value} is not a whole number")
        } else {
            format!("{argument}: {why}")
        }))
    }

    fn conflict(&self) -> Option<CliError> {
        let one = name(self.text(ContextKind::InvalidArg)?);
        let others: Vec<&str> = self.texts(ContextKind::PriorArg).into_iter().map(name).collect();
        match others.as_slice() {
            [] => None,
            [other] if *other == one => Some(CliError::new(format!("{one} is given twice"))),
            others => {
                let what = format!("{one} can't be used with {}", others.join(", "));
                Some(CliError::new(what))
            }
        }
    }

    /// clap's own message, in one line.
    fn plain(&self) -> CliError {
        let rendered = self.error.render().to_string();
        let lines = rendered.lines().map(str::trim).take_while(|line| !line.is_empty());
        let message = lines.collect::<Vec<_>>().join(" ");
        CliError::new(message.trim_start_matches("error: "))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    fn said(line: &[&str]) -> String {
        let line = [&["lariat"], line].concat();
        let error = Cli::try_parse_from(&line).err().unwrap();
        let arguments: Vec<_> = line[1..].iter().map(OsString::from).collect();
        wrong(&error, &arguments, Cli::command()).line()
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_what_to_type() {
        insta::assert_snapshot!(said(&["forget"]), @"forget: HOST is missing; try: lariat forget <HOST>");
        insta::assert_snapshot!(said(&["enrol", "web1"]), @"there is no verb enrol (did you mean enroll?); try: lariat --help");
        insta::assert_snapshot!(said(&["cp", "f", "web1:"]), @"there is no verb cp; try: lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST");
        insta::assert_snapshot!(said(&["key", "crete"]), @"there is no verb crete (did you mean revoke?); try: lariat key --help");
        insta::assert_snapshot!(said(&["forget", "Web1"]), @r#"HOST: "Web1" is not a host name, which has no capitals: did you mean web1?; try: lariat forget --help"#);
        insta::assert_snapshot!(said(&["run", "--timeout", "0", "web1", "--", "true"]), @"--timeout: a time limit can't be 0; try: lariat run --help");
        insta::assert_snapshot!(said(&["ping", "--connect-timeout", "0s", "web1"]), @"--connect-timeout: a time limit can't be 0; try: lariat ping --help");
        insta::assert_snapshot!(said(&["ping", "--parallel", "0", "web1"]), @"--parallel: 0 is not in 1..=4294967295; try: lariat ping --help");
        insta::assert_snapshot!(said(&["ping", "--parallel", "x", "web1"]), @"--parallel: x is not a whole number; try: lariat ping --help");
        insta::assert_snapshot!(said(&["note", "web1", "--clear=x"]), @"--clear: x is not a whole number; try: lariat note --help");
        insta::assert_snapshot!(said(&["note", "web1", "text", "--clear"]), @"TEXT can't be used with --clear; try: lariat note --help");
        insta::assert_snapshot!(said(&["ping", "--color", "red", "web1"]), @"--color: red is none of auto, always, never; try: lariat ping --help");
        insta::assert_snapshot!(said(&["ping", "--color"]), @"--color needs a value: WHEN; try: lariat ping --help");
        insta::assert_snapshot!(said(&["run", "web1", "--user"]), @"--user needs a value: NAME; try: lariat run --help");
        insta::assert_snapshot!(said(&["key", "add", "r", "web1", "--id", "x"]), @"--id: an id is 32 hexadecimal digits; try: lariat key add --help");
        insta::assert_snapshot!(said(&["run", "web1", "echo", "a b", "it's"]), @r#"the command of run comes after --; try: lariat run web1 -- echo 'a b' 'it'\''s'"#);
        insta::assert_snapshot!(said(&["run", "web*", "--json", "ls"]), @"the command of run comes after --; try: lariat run 'web*' --json -- ls");
        insta::assert_snapshot!(said(&["run", "web1.log", "web2.log", "--", "ls"]), @"run takes one TARGET, and web2.log is another word; hosts are separated by commas: web1.log,web2.log; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["ping", "web1", "web2"]), @"ping takes one TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["enroll", "web1", "10.0.0.1"]), @"enroll takes a host's name, and 10.0.0.1 is another word; try: lariat enroll web1 --address 10.0.0.1");
        insta::assert_snapshot!(said(&["forget", "web1", "web2"]), @"web2 is one word too many; try: lariat forget [OPTIONS] <HOST>");
        insta::assert_snapshot!(said(&["run", "web[1-2]"]), @"run: COMMAND is missing; try: lariat run 'web[1-2]' -- COMMAND");
        insta::assert_snapshot!(said(&["push"]), @"push: SOURCE is missing; try: lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>");
        insta::assert_snapshot!(said(&["pull", "a", "--jso", "b"]), @"there is no option --jso (did you mean --json?); try: lariat pull --help");
        insta::assert_snapshot!(said(&["run", "web1", "--json", "--out", "d", "--", "ls"]), @"--json can't be used with --out; try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "web1", "--cwd", "/", "--cwd", "/", "--", "ls"]), @"--cwd is given twice; try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "-p", "22", "web1", "--", "ls"]), @"there is no option -p: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat run --help");
        insta::assert_snapshot!(said(&["push", "-oPort=22", "f", "web1:"]), @"there is no option -o: lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh; try: lariat push --help");
        insta::assert_snapshot!(said(&["push", "-t", "f", "web1:"]), @"there is no option -t: a terminal is for run and shell; try: lariat push --help");
        insta::assert_snapshot!(said(&["ping", "-n", "web1"]), @"there is no option -n: a dry run is for push, pull and batch; try: lariat ping --help");
        insta::assert_snapshot!(said(&["hosts", "--jso"]), @"there is no option --jso (did you mean --json?); try: lariat hosts --help");
        insta::assert_snapshot!(said(&["push", "f", "web1:", "--max-delete", "1"]), @"push: --delete is missing; try: lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>");
    }
}
