//! Words the errors of a plan's step in the terms of a plan.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::CliError;

/// The error for a step without a destination.
pub(super) fn no_dest(verb: &str) -> CliError {
    let (place, line) = match verb {
        "pull" => ("where it goes here", "dest = \"DIR\""),
        _ => ("where it goes on the hosts", "dest = \"/srv/\""),
    };
    CliError::new(format!("{verb}: dest is missing, {place}")).hint(line)
}

/// What the verb's own parser says of a step, and the key that it is about, if that is known.
pub(super) fn worded(error: &clap::Error, verb: &str) -> (Option<String>, CliError) {
    let key = texts(error, ContextKind::InvalidArg).first().map(|argument| key(argument));
    let about = |what: String| {
        let name = key.clone().unwrap_or_else(|| verb.to_owned());
        CliError::new(what).during(name)
    };
    let worded = match error.kind() {
        ErrorKind::ValueValidation => error.source().map(|why| about(why.to_string())),
        ErrorKind::InvalidValue => {
            let (value, possible) = (
                texts(error, ContextKind::InvalidValue).join(""),
                texts(error, ContextKind::ValidValue).join(", "),
            );
            (!possible.is_empty()).then(|| about(format!("{value} is none of {possible}")))
        }
        ErrorKind::ArgumentConflict => {
            let others: Vec<_> = texts(error, ContextKind::PriorArg);
            let others: Vec<_> = others.iter().map(|argument| self::key(argument)).collect();
            Some(about(format!("it can't be used with {}", others.join(", "))))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg);
            let lines: Vec<_> = missing.iter().map(|argument| line(argument)).collect();
            let what = format!("{verb}: a key is missing that another one needs");
            return (None, CliError::new(what).hint(lines.join(", ")));
        }
        _ => None,
    };
    let worded = worded.unwrap_or_else(|| {
        let text = error.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join(" ");
        about(text.trim_start_matches("error: ").to_owned())
    });
    (key, worded)
}

/// The values of a detail of the parser's error.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The key of an argument: `timeout` of `--timeout <DUR>`.
fn key(argument: &str) -> String {
    let word = argument.split([' ', '[']).next().unwrap_or_default();
    word.trim_start_matches('-').trim_matches(['<', '>', '.']).to_owned()
}

/// The line of a plan that gives a missing argument.
fn line(argument: &str) -> String {
    let value = argument.split_once(' ').map(|(_, value)| value.trim_matches(['<', '>', '.']));
    let value = value.map_or("true".to_owned(), |value| format!("\"{value}\""));
    format!("{} = {value}", key(argument))
}
