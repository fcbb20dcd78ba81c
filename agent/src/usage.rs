//! Errors of the agent's command line, in one line that says what to type.

use std::error::Error;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use lariat_base::escape::escape;
use lariat_base::near::nearest;

/// Verbs of other services, and what to type here.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["start", "run", "serve", "daemon", "agent"],
        "systemctl start lariatd; without a verb lariatd is the agent itself",
    ),
    (&["stop", "restart", "reload", "enable", "disable"], "systemctl, with this verb and lariatd"),
    (&["test", "verify", "validate", "configtest"], "lariatd check"),
    (&["info", "show", "who"], "lariatd status"),
    (&["version"], "lariatd --version"),
];

/// The error for a command line of `words`, which `syntax` describes.
pub(crate) fn one_line(error: &clap::Error, words: &[String], syntax: clap::Command) -> String {
    let line = Line::new(error, words, syntax);
    let (what, hint) = line.said();
    // Some values say themselves what to type.
    let hint = if what.contains("; try: ") { String::new() } else { format!("; try: {hint}") };
    escape(format!("{what}{hint}").as_bytes())
}

struct Line<'a> {
    error: &'a clap::Error,
    /// The words of the command line that are verbs.
    verb: Vec<&'a str>,
    command: clap::Command,
}

impl<'a> Line<'a> {
    fn new(error: &'a clap::Error, words: &'a [String], mut syntax: clap::Command) -> Self {
        syntax.build();
        let (mut command, mut verb) = (&syntax, Vec::new());
        for word in words {
            let Some(below) = command.find_subcommand(word) else { continue };
            command = below;
            verb.push(word.as_str());
        }
        Self { error, verb, command: command.clone() }
    }

    /// What is wrong, and what to type.
    fn said(&self) -> (String, String) {
        let help = [&["lariatd"], self.verb.as_slice(), &["--help"]].concat().join(" ");
        let argument = self.texts(ContextKind::InvalidArg);
        let argument = argument.first().copied().unwrap_or_default();
        let value = self.texts(ContextKind::InvalidValue).concat();
        match self.error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                ("a verb is missing".to_owned(), help)
            }
            ErrorKind::InvalidSubcommand => self.unknown_verb(help),
            ErrorKind::UnknownArgument if !argument.starts_with('-') => {
                (format!("{argument} is one word too many"), help)
            }
            ErrorKind::UnknownArgument => {
                let longs = self.command.get_arguments().filter_map(clap::Arg::get_long);
                let near = match argument {
                    "-c" | "-f" => Some("config"),
                    _ => nearest(argument.trim_start_matches('-'), longs),
                };
                let near = near.map(|near| format!(" (did you mean --{near}?)"));
                (format!("there is no option {argument}{}", near.unwrap_or_default()), help)
            }
            ErrorKind::MissingRequiredArgument => self.missing(),
            ErrorKind::InvalidValue if value.is_empty() => {
                let (option, value) = argument.split_once(' ').unwrap_or((argument, "a value"));
                (format!("{option} needs a value: {}", bare(value)), help)
            }
            ErrorKind::ValueValidation if self.error.source().is_some() => {
                let why = self.error.source().map(ToString::to_string).unwrap_or_default();
                let option = argument.split(' ').next().unwrap_or_default();
                (format!("{}: {why}", bare(option)), help)
            }
            _ => {
                let text = self.error.render().to_string();
                let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
                let text = lines.collect::<Vec<_>>().join(" ");
                (text.trim_start_matches("error: ").to_owned(), help)
            }
        }
    }

    fn unknown_verb(&self, help: String) -> (String, String) {
        let word = self.texts(ContextKind::InvalidSubcommand).concat();
        let mut parent = self.verb.join(" ");
        if !parent.is_empty() {
            parent.push(' ');
        }
        let what = format!("there is no verb {parent}{word}");
        let foreign = FOREIGN.iter().find(|(words, _)| words.contains(&word.as_str()));
        if let Some((_, here)) = foreign.filter(|_| parent.is_empty()) {
            return (what, (*here).to_owned());
        }
        if Path::new(&word).exists() {
            return (what, format!("lariatd --config {word}"));
        }
        let shown = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let near = nearest(&word, shown.map(clap::Command::get_name));
        let near = near.map(|near| format!(" (did you mean {parent}{near}?)"));
        (what + &near.unwrap_or_default(), help)
    }

    fn missing(&self) -> (String, String) {
        let names: Vec<&str> = self.texts(ContextKind::InvalidArg).into_iter().map(bare).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let needed = self.command.get_positionals().map(|word| {
            let names = word.get_value_names().and_then(|names| names.first());
            names.map_or(word.get_id().as_str(), clap::builder::Str::as_str)
        });
        let line = ["lariatd"].into_iter().chain(self.verb.iter().copied()).chain(needed);
        let what = format!("{}: {} {are} missing", self.verb.join(" "), names.join(" and "));
        (what, line.collect::<Vec<_>>().join(" "))
    }

    /// A detail of the error.
    fn texts(&self, kind: ContextKind) -> Vec<&str> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text],
            Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// An argument's name without the brackets of clap.
fn bare(argument: &str) -> &str {
    argument.trim_matches(['<', '>', '.'])
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Args;

    fn said(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        let error = <Args as clap::Parser>::try_parse_from(&words).unwrap_err();
        one_line(&error, &words, Args::command())
    }

    #[test]
    fn wrong_usage_is_one_line_that_says_what_to_type() {
        for (line, expected) in [
            ("lariatd audit", "a verb is missing; try: lariatd audit --help"),
            ("lariatd key add", "key add: REQ is missing; try: lariatd key add REQ"),
            (
                "lariatd policy test",
                "policy test: KEYRING and CASES are missing; try: lariatd policy test KEYRING CASES",
            ),
            (
                "lariatd policy test k",
                "policy test: CASES is missing; try: lariatd policy test KEYRING CASES",
            ),
            ("lariatd policy", "a verb is missing; try: lariatd policy --help"),
            (
                "lariatd --listen here",
                "--listen: \"here\" is not an IP address and a port, such as 0.0.0.0:7433 or [::]:7433; try: lariatd --help",
            ),
            (
                "lariatd --config /etc",
                "--config: /etc is a directory; try: --config /etc/agent.toml",
            ),
            ("lariatd --config", "--config needs a value: FILE; try: lariatd --help"),
            ("lariatd chekc", "there is no verb chekc (did you mean check?); try: lariatd --help"),
            (
                "lariatd audit verfy",
                "there is no verb audit verfy (did you mean audit verify?); try: lariatd audit --help",
            ),
            (
                "lariatd start",
                "there is no verb start; try: systemctl start lariatd; without a verb lariatd is the agent itself",
            ),
            (
                "lariatd --confg x",
                "there is no option --confg (did you mean --config?); try: lariatd --help",
            ),
            ("lariatd -c x", "there is no option -c (did you mean --config?); try: lariatd --help"),
            ("lariatd check x", "x is one word too many; try: lariatd check --help"),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }
}
