//! Errors of the command line: clap's, in one line that says what to type.

mod options;
mod verbs;
mod words;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use lariat_base::near::nearest;

use crate::error::CliError;
use crate::help_order::globals_last;
use crate::output::{self, style};
use crate::overview;
use crate::status;

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
    let mut line = Line { error, arguments, verb: Vec::new(), command: &syntax };
    for argument in arguments {
        let Some(below) = line.command.find_subcommand(argument) else { continue };
        line.command = below;
        line.verb.push(below.get_name().to_owned());
    }
    let said = match error.kind() {
        ErrorKind::InvalidSubcommand => line.unknown_verb(),
        ErrorKind::UnknownArgument => line.unknown(),
        ErrorKind::MissingRequiredArgument => line.missing(),
        ErrorKind::InvalidValue => line.invalid(),
        ErrorKind::ValueValidation => line.unreadable(),
        ErrorKind::ArgumentConflict => line.conflict(),
        ErrorKind::TooManyValues => line.too_many(),
        _ => None,
    };
    said.unwrap_or_else(|| line.plain()).hint(line.help())
}

/// The name of an argument of clap's: `--timeout <DUR>` and `--clear[=<N>]` are `--timeout` and `--clear`,
/// `<SOURCE>...` is `SOURCE`, and `[JOB]` is `JOB`.
fn name(argument: &str) -> &str {
    let word = argument.split(' ').next().unwrap_or_default().trim_end_matches("...");
    let word = word.split("[=").next().unwrap_or_default();
    let within = |open, close| word.strip_prefix(open).and_then(|word| word.strip_suffix(close));
    within('<', '>').or_else(|| within('[', ']')).unwrap_or(word)
}

/// A wrong command line.
struct Line<'a> {
    error: &'a clap::Error,
    arguments: &'a [OsString],
    /// The verb among the arguments, with that below it; empty if there is none.
    verb: Vec<String>,
    /// What clap knows of the verb.
    command: &'a clap::Command,
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
        let verb = self.verb.iter().map(String::as_str).filter(|word| *word != "help");
        let words: Vec<&str> = ["lariat"].into_iter().chain(verb).chain(["--help"]).collect();
        words.join(" ")
    }

    fn unknown_verb(&self) -> Option<CliError> {
        let word = self.text(ContextKind::InvalidSubcommand)?;
        let shown = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let parent = self.verb.iter().map(String::as_str).filter(|verb| *verb != "help");
        let parent = parent.collect::<Vec<_>>().join(" ");
        Some(verbs::unknown(&parent, word, shown.map(clap::Command::get_name)))
    }

    fn unknown(&self) -> Option<CliError> {
        let word = self.text(ContextKind::InvalidArg)?;
        if !word.starts_with('-') {
            return Some(self.extra(word));
        }
        let is_number = word.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if let Some(option) =
            self.before(word).filter(|before| is_number && before.starts_with('-'))
        {
            return Some(CliError::new(format!("{option} can't be negative, as {word}")));
        }
        let what = format!("there is no option {word}");
        if let Some(here) = options::elsewhere(&self.verb(), word, self.after(word)) {
            return Some(CliError::new(format!("{what}: {here}")));
        }
        let near = self.near(word).map(|near| format!(" (did you mean --{near}?)"));
        Some(CliError::new(what + &near.unwrap_or_default()))
    }

    /// The long option that an unknown one was meant to be.
    fn near(&self, word: &str) -> Option<&str> {
        let longs = || {
            let shown = self.command.get_arguments().filter(|argument| !argument.is_hide_set());
            shown.filter_map(clap::Arg::get_long)
        };
        if let Some(long) = word.strip_prefix("--") {
            return nearest(long, longs());
        }
        // A long one after a single dash, which clap takes for several short ones.
        let is_typed = |long: &&str| {
            let is_it = |typed: &str| typed.strip_prefix('-') == Some(*long);
            self.arguments.iter().filter_map(|argument| argument.to_str()).any(is_it)
        };
        longs().find(is_typed)
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
        let error = CliError::new(format!("{option}: {value} is none of {possible}"));
        Some(match option {
            "--progress" => error.next("a terminal shows progress anyway"),
            _ => error,
        })
    }

    /// A value that its parser refused.
    fn unreadable(&self) -> Option<CliError> {
        let argument = name(self.text(ContextKind::InvalidArg)?);
        let why = self.error.source()?;
        let value = self.text(ContextKind::InvalidValue).unwrap_or_default();
        if why.is::<ParseIntError>() {
            return Some(CliError::new(format!("{argument}: {value} is not a whole number")));
        }
        let error = CliError::new(format!("{argument}: {why}"));
        Some(self.for_job(argument, value).into_iter().fold(error, CliError::next))
    }

    fn conflict(&self) -> Option<CliError> {
        // A verb below this one, which has another word already.
        if let Some(word) = self.text(ContextKind::InvalidSubcommand) {
            return Some(self.extra(word));
        }
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

    /// A value of an option that has none.
    fn too_many(&self) -> Option<CliError> {
        let option = name(self.text(ContextKind::InvalidArg)?);
        let value = self.text(ContextKind::InvalidValue)?;
        Some(CliError::new(format!("{option} has no value, and {value} is one")))
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
        insta::assert_snapshot!(said(&["forget"]), @"forget: HOST is missing; try: lariat forget HOST");
        insta::assert_snapshot!(said(&["enrol", "web1"]), @"there is no verb enrol (did you mean enroll?); try: lariat --help");
        insta::assert_snapshot!(said(&["cp", "f", "web1:"]), @"there is no verb cp; try: lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST");
        insta::assert_snapshot!(said(&["key", "crete"]), @"there is no verb key crete; try: lariat key --help");
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
        insta::assert_snapshot!(said(&["key", "add", "r", "web1", "--id", "x"]), @"--id: ID:SUM is 32 and 16 hexadecimal digits, as key request prints them; try: lariat key add --help");
        insta::assert_snapshot!(said(&["run", "web1", "echo", "a b", "it's"]), @r#"the command of run comes after --; try: lariat run web1 -- echo 'a b' 'it'\''s'"#);
        insta::assert_snapshot!(said(&["run", "web*", "--json", "ls"]), @"the command of run comes after --; try: lariat run 'web*' --json -- ls");
        insta::assert_snapshot!(said(&["run", "web1.log", "web2.log", "--", "ls"]), @"run takes one TARGET, and web2.log is another word; hosts are separated by commas: web1.log,web2.log; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["ping", "web1", "web2"]), @"ping takes one TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["enroll", "web1", "10.0.0.1"]), @"enroll takes a host's name, and 10.0.0.1 is another word; try: lariat enroll web1 --address 10.0.0.1");
        insta::assert_snapshot!(said(&["forget", "web1", "web2"]), @"forget takes one HOST, and web2 is another word; try: lariat forget --help");
        insta::assert_snapshot!(said(&["run", "web[1-2]"]), @"run: COMMAND is missing; try: lariat run 'web[1-2]' -- COMMAND");
        insta::assert_snapshot!(said(&["push"]), @"push: SOURCE and TARGET:DEST are missing; try: lariat push SOURCE TARGET:DEST");
        insta::assert_snapshot!(said(&["pull", "a", "--jso", "b"]), @"there is no option --jso (did you mean --json?); try: lariat pull --help");
        insta::assert_snapshot!(said(&["run", "web1", "--json", "--out", "d", "--", "ls"]), @"--json can't be used with --out; try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "web1", "--cwd", "/", "--cwd", "/", "--", "ls"]), @"--cwd is given twice; try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "-p", "22", "web1", "--", "ls"]), @"there is no option -p: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat run --help");
        insta::assert_snapshot!(said(&["push", "-oPort=22", "f", "web1:"]), @"there is no option -o: lariat needs no options of ssh; lariat rsh takes them where a program starts it for ssh; try: lariat push --help");
        insta::assert_snapshot!(said(&["push", "-t", "f", "web1:"]), @"there is no option -t: times are copied anyway; a terminal is for run and shell; try: lariat push --help");
        insta::assert_snapshot!(said(&["ping", "-n", "web1"]), @"there is no option -n: a dry run is for push, pull and batch; try: lariat ping --help");
        insta::assert_snapshot!(said(&["hosts", "--jso"]), @"there is no option --jso (did you mean --json?); try: lariat hosts --help");
        insta::assert_snapshot!(said(&["push", "f", "web1:", "--max-delete", "1"]), @"push: --delete is missing; try: lariat push f web1: --max-delete 1 --delete");
    }

    #[test]
    fn raw_words_of_clap_are_not_shown() {
        insta::assert_snapshot!(said(&["hosts", "web1", "web2"]), @"hosts takes one TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["key", "revoke", "bob", "web1", "web2"]), @"key revoke takes LABEL|ID and TARGET, and web2 is another word; hosts are separated by commas: web1,web2; a pattern is quoted, or the shell replaces it by the names of files: 'web*'");
        insta::assert_snapshot!(said(&["init", "x"]), @"init takes no word, and x is one; try: lariat init --help");
        insta::assert_snapshot!(said(&["run"]), @"run: TARGET and COMMAND are missing; try: lariat run TARGET -- COMMAND");
        insta::assert_snapshot!(said(&["run", "--", "ls", "-l"]), @"run: TARGET is missing; try: lariat run TARGET -- ls -l");
        insta::assert_snapshot!(said(&["run", "--timeout", "5s", "web1"]), @"run: COMMAND is missing; try: lariat run web1 -- COMMAND, or for a terminal: lariat shell web1");
        insta::assert_snapshot!(said(&["key", "revoke"]), @"key revoke: LABEL|ID and TARGET are missing; try: lariat key revoke LABEL TARGET");
        insta::assert_snapshot!(said(&["push", "d/", "web1:", "-0"]), @"push: --files-from is missing; try: lariat push d/ web1: -0 --files-from FILE");
        insta::assert_snapshot!(said(&["forward", "web1"]), @"forward: -L, -R or -D is missing, which say what is forwarded; try: lariat forward web1 -L 8080:127.0.0.1:80");
        insta::assert_snapshot!(said(&["enroll", "web9", "--address"]), @"--address needs a value: ADDR[:PORT]; try: lariat enroll --help");
        insta::assert_snapshot!(said(&["enroll", "web9", "--ssh"]), @"--ssh needs a value: [USER@]ADDR[:PORT]; try: lariat enroll --help");
        insta::assert_snapshot!(said(&["run", "web1", "--timeout", "-1", "--", "true"]), @"--timeout can't be negative, as -1; try: lariat run --help");
        insta::assert_snapshot!(said(&["ping", "all", "--json=x"]), @"--json has no value, and x is one; try: lariat ping --help");
        insta::assert_snapshot!(said(&["help", "rnu"]), @"there is no verb rnu (did you mean run?); try: lariat --help");
    }

    #[test]
    fn verbs_and_options_of_other_programs_are_known() {
        insta::assert_snapshot!(said(&["unenroll", "web1"]), @"there is no verb unenroll; try: lariat forget HOST");
        insta::assert_snapshot!(said(&["update", "all"]), @"there is no verb update; try: lariat upgrade TARGET for a new agent, or lariat push for files");
        insta::assert_snapshot!(said(&["key", "crate", "x"]), @"there is no verb key crate; try: lariat key --help");
        insta::assert_snapshot!(said(&["key", "create", "x"]), @"there is no verb key create; try: lariat key new LABEL");
        insta::assert_snapshot!(said(&["audit", "shwo", "web1"]), @"there is no verb audit shwo (did you mean audit show?); try: lariat audit --help");
        insta::assert_snapshot!(said(&["push", "-avz", "d", "web1:"]), @"there is no option -a: modes, times and links are copied anyway; --owner, -H, -X and -A add the rest; try: lariat push --help");
        insta::assert_snapshot!(said(&["push", "-P", "22", "f", "web1:"]), @"there is no option -P: the inventory has each host's port (lariat hosts), and --parallel N says how many hosts at once; try: lariat push --help");
        insta::assert_snapshot!(said(&["push", "--partial", "f", "web1:"]), @"there is no option --partial: what was cut resumes by itself, and a terminal shows the progress; try: lariat push --help");
        insta::assert_snapshot!(said(&["push", "--progress", "f", "web1:"]), @"--progress: f is none of auto, always, never; a terminal shows progress anyway");
        insta::assert_snapshot!(said(&["run", "-w", "web1", "uptime"]), @"there is no option -w: the hosts are TARGET, the first word: web1,web2; try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "-i", "key", "web1", "--", "ls"]), @"run takes one TARGET, and web1 is another word; -i sends stdin to the command; a key is chosen by --key LABEL");
        insta::assert_snapshot!(said(&["shell", "-i", "key", "web1"]), @"there is no option -i: a key is chosen by --key LABEL; lariat key list has them; try: lariat shell --help");
        insta::assert_snapshot!(said(&["shell", "bob@web1", "--", "ls", "-l"]), @"shell takes one HOST, and ls is another word; for a command, try: lariat run bob@web1 -- ls -l");
        insta::assert_snapshot!(said(&["logs", "-n", "5", "web1"]), @"there is no option -n: --tail N shows the last lines; try: lariat logs --help");
        insta::assert_snapshot!(said(&["run", "web1", "-json", "--", "ls"]), @"there is no option -j (did you mean --json?); try: lariat run --help");
        insta::assert_snapshot!(said(&["run", "web1", "--stats", "--", "ls"]), @"there is no option --stats; try: lariat run --help");
    }
}
