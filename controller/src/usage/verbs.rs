//! Verbs of other programs, and verbs with a typing error.

use lariat_base::near::nearest;

use crate::error::CliError;

/// What is typed, below which verb, and what to type here.
type Foreign = (&'static str, &'static [&'static str], &'static str);

const FOREIGN: &[Foreign] = &[
    (
        "",
        &["cp", "copy", "scp", "sftp", "sync", "rsync"],
        "lariat push FILE HOST:DEST, or lariat pull HOST:FILE DEST",
    ),
    ("", &["put", "send", "upload"], "lariat push FILE HOST:DEST"),
    ("", &["get", "fetch", "download"], "lariat pull HOST:FILE DEST"),
    ("", &["exec", "cmd", "command", "do"], "lariat run TARGET -- COMMAND"),
    (
        "",
        &["ssh", "login", "connect", "console", "terminal", "sh", "bash"],
        "lariat shell HOST for a terminal, or lariat run HOST -- COMMAND",
    ),
    ("", &["tunnel", "proxy", "socks"], "lariat forward HOST -L PORT:ADDR:PORT, or -D PORT"),
    ("", &["ls", "list", "host", "inventory"], "lariat hosts"),
    ("", &["ps", "job"], "lariat jobs TARGET"),
    ("", &["log", "tail"], "lariat logs TARGET"),
    ("", &["stop", "cancel"], "lariat kill TARGET JOB"),
    ("", &["add", "register", "join", "install"], "lariat enroll HOST --ssh [USER@]ADDR"),
    (
        "",
        &["rm", "remove", "delete", "unenroll", "unenrol", "unregister", "leave", "uninstall"],
        "lariat forget HOST",
    ),
    ("", &["update"], "lariat upgrade TARGET for a new agent, or lariat push for files"),
    ("", &["apply", "plan", "play", "playbook", "deploy"], "lariat batch PLAN.toml TARGET"),
    ("", &["keys", "grant"], "lariat key --help"),
    ("", &["revoke"], "lariat key revoke LABEL TARGET"),
    ("", &["rotate"], "lariat key rotate TARGET"),
    ("", &["history"], "lariat last"),
    ("", &["check", "diagnose"], "lariat doctor"),
    ("", &["top", "monitor"], "lariat watch TARGET"),
    ("", &["version"], "lariat --version"),
    ("key", &["create", "generate", "gen", "make"], "lariat key new LABEL"),
    ("key", &["ls", "show"], "lariat key list"),
    ("key", &["grant", "authorize"], "lariat key add REQ TARGET"),
    ("key", &["rm", "remove", "delete", "del"], "lariat key revoke LABEL TARGET"),
    ("key", &["edit", "change", "permit"], "lariat key allow LABEL TARGET RULES"),
    ("audit", &["list", "ls", "log", "logs"], "lariat audit show TARGET"),
    ("audit", &["check"], "lariat audit verify TARGET"),
    ("audit", &["copy", "get", "fetch"], "lariat audit pull TARGET DIR"),
    ("fleet", &["save"], "lariat fleet export FILE"),
    ("fleet", &["load", "merge"], "lariat fleet import FILE"),
];

/// The error for a word that is no verb below `parent`, where these verbs are known.
pub(super) fn unknown<'a>(
    parent: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> CliError {
    let of = if parent.is_empty() { String::new() } else { format!("{parent} ") };
    let what = format!("there is no verb {of}{word}");
    let is_it = |(below, words, _): &&Foreign| *below == parent && words.contains(&word);
    if let Some((_, _, here)) = FOREIGN.iter().find(is_it) {
        return CliError::new(what).hint(here);
    }
    let near = nearest(word, known).map(|near| format!(" (did you mean {of}{near}?)"));
    CliError::new(what + &near.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_verb_of_other_programs_is_one_here() {
        for (below, words, _) in FOREIGN {
            for word in *words {
                let words = below.split_whitespace().chain([*word]);
                let line = std::iter::once("lariat").chain(words);
                let error = Cli::try_parse_from(line).err().unwrap();
                let kind = error.kind();
                assert_eq!(kind, clap::error::ErrorKind::InvalidSubcommand, "{below} {word}");
            }
        }
    }

    #[test]
    fn a_typing_error_in_a_verb_is_that_verb() {
        let syntax = Cli::command();
        let verbs = || {
            let shown = syntax.get_subcommands().filter(|verb| !verb.is_hide_set());
            shown.map(clap::Command::get_name)
        };
        for (typed, meant) in [
            ("statsu", "status"),
            ("shel", "shell"),
            ("rnu", "run"),
            ("pust", "push"),
            ("pul", "pull"),
            ("forgte", "forget"),
            ("batc", "batch"),
            ("atach", "attach"),
            ("upgarde", "upgrade"),
            ("enrol", "enroll"),
            ("jbos", "jobs"),
            ("comp", "completions"),
        ] {
            let said = unknown("", typed, verbs()).line();
            assert!(said.ends_with(&format!("(did you mean {meant}?)")), "{said}");
        }
        // Each verb, with two letters in the other order, with one left out, and with one too many.
        for verb in verbs().filter(|verb| verb.len() > 3) {
            for at in 0..verb.len() - 1 {
                let mut swapped = verb.as_bytes().to_vec();
                swapped.swap(at, at + 1);
                let swapped = String::from_utf8(swapped).unwrap();
                let without = format!("{}{}", &verb[..at], &verb[at + 1..]);
                for typed in [swapped, without, format!("{}x{}", &verb[..at], &verb[at..])] {
                    let near = nearest(&typed, verbs());
                    assert!(near.is_some(), "{typed}");
                    let known =
                        |near: &str| FOREIGN.iter().any(|(_, words, _)| words.contains(&near));
                    assert!(
                        near == Some(verb) || known(&typed) || typed.len() < 5,
                        "{typed}: {near:?}"
                    );
                }
            }
        }
    }
}
