//! Words too many, and words that are missing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ContextKind;
use lariat_base::name::HostName;
use lariat_client::Address;

use super::{Line, name};
use crate::error::CliError;
use crate::home::Home;
use crate::inventory::Inventory;
use crate::shell_word::{quoted, shell_word};
use crate::target::Targets;

/// What stands for ports that a host forwards.
const FORWARDED: &str = "-L 8080:127.0.0.1:80";

impl Line<'_> {
    /// The error for a word too many.
    pub(super) fn extra(&self, word: &str) -> CliError {
        let verb = self.verb();
        let before = self.before(word);
        let too_many =
            |what: &str| CliError::new(format!("{verb} {what}, and {word} is another word"));
        let has_dashes = self.arguments.iter().any(|argument| argument == "--");
        if verb == "run" && !has_dashes {
            if let Some(unknown) = self.target().and_then(|target| self.unknown_hosts(&target)) {
                return unknown;
            }
            let error = CliError::new("the command of run comes after --");
            return self.with_dashes(word).into_iter().fold(error, CliError::hint);
        }
        if verb == "run" && self.arguments.iter().any(|argument| argument == "-i") {
            return too_many("takes one TARGET")
                .next("-i sends stdin to the command; a key is chosen by --key LABEL");
        }
        if verb == "shell" {
            let host = self.target().map_or("HOST".to_owned(), |target| target.quoted());
            let words = self.from(word).map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            return too_many("takes one HOST")
                .next(format!("for a command, try: lariat run {host} -- {words}"));
        }
        if verb == "enroll" && word.parse::<HostName>().is_err() && word.parse::<Address>().is_ok()
        {
            let host = before.unwrap_or("HOST");
            return too_many("takes a host's name")
                .hint(format!("lariat enroll {host} --address {word}"));
        }
        if verb.is_empty() {
            return CliError::new(format!("{word} is one word too many"));
        }
        let needed: Vec<&str> = self.positionals().collect();
        let error = match needed.as_slice() {
            [] => return CliError::new(format!("{verb} takes no word, and {word} is one")),
            [one] => too_many(&format!("takes one {one}")),
            _ => too_many(&format!("takes {}", needed.join(" and "))),
        };
        if needed.last() != Some(&"TARGET") {
            return error;
        }
        let first = before.unwrap_or("web1");
        error.next(format!(
            "hosts are separated by commas: {first},{word}; a pattern is quoted, or the shell replaces it by the \
             names of files: 'web*'"
        ))
    }

    /// The error for words that are missing.
    pub(super) fn missing(&self) -> Option<CliError> {
        let verb = self.verb();
        let mut missing = self.texts(ContextKind::InvalidArg);
        // The last word of these is the destination, which is none of clap's.
        match (verb.as_str(), missing.as_slice()) {
            ("push", ["<SOURCE>..."]) => missing.push("TARGET:DEST"),
            ("pull", ["<TARGET:SOURCE>..."]) => missing.push("DEST"),
            _ => {}
        }
        let all: Vec<&str> = missing.iter().map(|argument| name(argument)).collect();
        let are = if let [_] = all.as_slice() { "is" } else { "are" };
        let error = CliError::new(format!("{verb}: {} {are} missing", all.join(" and ")));
        match all.as_slice() {
            [] => None,
            ["COMMAND"] if verb == "run" => {
                let target = self.target();
                let unknown = target.as_ref().and_then(|target| self.unknown_hosts(target));
                Some(unknown.unwrap_or_else(|| error.hint(command_or_shell(target.as_ref()))))
            }
            _ if verb == "rsh" => {
                Some(CliError::new("rsh: HOST is missing").hint("lariat rsh HOST COMMAND"))
            }
            names if names.contains(&"-L") && verb == "forward" => {
                let host = self.target().map_or("HOST".to_owned(), |target| target.quoted());
                let what = "forward: -L, -R or -D is missing, which say what is forwarded";
                Some(CliError::new(what).hint(format!("lariat forward {host} {FORWARDED}")))
            }
            _ => Some(error.hint(self.completed(&missing))),
        }
    }

    /// The command line with what is missing in it.
    fn completed(&self, missing: &[&str]) -> String {
        let (commands, others): (Vec<&str>, Vec<&str>) =
            missing.iter().partition(|argument| name(argument) == "COMMAND");
        let dashes = self.arguments.iter().position(|argument| argument == "--");
        let (before, command) = self.arguments.split_at(dashes.unwrap_or(self.arguments.len()));
        let mut words = vec!["lariat".to_owned()];
        words.extend(before.iter().map(|word| quoted(word)));
        words.extend(others.iter().flat_map(|argument| argument.split(' ')).map(placeholder));
        words.extend(command.iter().map(|word| quoted(word)));
        if !commands.is_empty() {
            words.extend(["--".to_owned(), "COMMAND".to_owned()]);
        }
        words.join(" ")
    }

    /// The names of the verb's words, without that of a command.
    fn positionals(&self) -> impl Iterator<Item = &str> {
        let words = self.command.get_positionals().filter(|word| !word.is_last_set());
        words.filter_map(|word| word.get_value_names()?.first()).map(clap::builder::Str::as_str)
    }

    /// The first word before `--` that may be a target.
    fn target(&self) -> Option<Targets> {
        let mut words = Vec::new();
        let mut is_value = false;
        for argument in self.arguments.iter().map_while(|argument| argument.to_str()) {
            if argument == "--" {
                break;
            }
            if !is_value && !argument.starts_with('-') {
                words.push(argument);
            }
            is_value = !is_value && self.takes_value(argument);
        }
        words.into_iter().skip(self.verb.len()).find_map(|word| word.parse().ok())
    }

    /// Whether an argument is an option whose value is the next one.
    fn takes_value(&self, argument: &str) -> bool {
        let is_it = |own: &clap::Arg| match argument.strip_prefix("--") {
            Some(long) => own.get_long() == Some(long),
            None => argument.starts_with('-') && own.get_short() == argument.chars().next_back(),
        };
        self.command.get_arguments().any(|own| own.get_action().takes_values() && is_it(own))
    }

    /// The error for a target that this fleet does not have; `None` if it has it, or that can't be known.
    fn unknown_hosts(&self, target: &Targets) -> Option<CliError> {
        target.select(&self.inventory()?).err()
    }

    /// The hosts of the fleet, if they can be read.
    fn inventory(&self) -> Option<Inventory> {
        if self.arguments.iter().any(|argument| argument == "--local") {
            return None;
        }
        let value =
            |argument: &OsString| argument.to_str()?.strip_prefix("--home=").map(PathBuf::from);
        let after = self.after("--home").map(PathBuf::from);
        let given = after.or_else(|| self.arguments.iter().find_map(value));
        Inventory::load(&Home::find(given.as_deref()).ok()?).ok()
    }

    /// What to do about a word in the place of a job's id, which may be a second host.
    pub(super) fn for_job(&self, argument: &str, value: &str) -> Option<String> {
        if argument != "JOB" {
            return None;
        }
        let jobs = || {
            let target = self.target().map_or("TARGET".to_owned(), |target| target.quoted());
            format!("try: lariat jobs {target}")
        };
        Some(self.second_host(value).unwrap_or_else(jobs))
    }

    fn second_host(&self, value: &str) -> Option<String> {
        let host = value.parse().ok()?;
        let first =
            self.target().filter(|_| self.inventory().is_some_and(|all| all.contains(&host)))?;
        Some(format!("hosts are separated by commas: {}", shell_word(&format!("{first},{host}"))))
    }

    /// The argument before this one.
    pub(super) fn before(&self, word: &str) -> Option<&str> {
        let at = self.position(word)?;
        self.arguments.get(at.checked_sub(1)?)?.to_str()
    }

    /// The argument after this one.
    pub(super) fn after(&self, word: &str) -> Option<&str> {
        self.arguments.get(self.position(word)? + 1)?.to_str()
    }

    /// This argument and those after it, without `--`.
    fn from(&self, word: &str) -> impl Iterator<Item = &OsString> {
        let at = self.position(word).unwrap_or(self.arguments.len());
        self.arguments[at..].iter().filter(|argument| *argument != "--")
    }

    fn position(&self, word: &str) -> Option<usize> {
        self.arguments.iter().position(|argument| argument == word)
    }

    /// The command line of a `run` whose `--` was omitted, with it.
    fn with_dashes(&self, word: &str) -> Option<String> {
        let (before, command) = self.arguments.split_at(self.position(word)?);
        let all = |words: &[OsString]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>();
        let words = [vec!["lariat".to_owned()], all(before), vec!["--".to_owned()], all(command)];
        Some(words.concat().join(" "))
    }
}

/// What to type for a `run` without a command.
fn command_or_shell(target: Option<&Targets>) -> String {
    let word = target.map_or("TARGET".to_owned(), Targets::quoted);
    let run = format!("lariat run {word} -- COMMAND");
    match target.and_then(Targets::plain) {
        Some(_) => format!("{run}, or for a terminal: lariat shell {word}"),
        None => run,
    }
}

/// What stands for a missing argument: `<SOURCE>...` is `SOURCE`, and `<LABEL|ID>` is `LABEL`.
fn placeholder(argument: &str) -> String {
    let name = name(argument);
    name.split_once('|').map_or(name, |(first, _)| first).to_owned()
}
