//! A plan's text: what is in it, and the same as each verb's own command line.
//!
//! A step is read by the verb's own parser, so that a plan's options are the verb's by construction.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Args as _, Command, FromArgMatches};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::commands::{pull, push, run};
use crate::error::CliError;
use crate::target::Targets;

/// The keys that say what a step does.
const VERBS: [&str; 3] = ["push", "pull", "run"];

/// Options of the verbs that a step can't have, and why.
const NOT_FOR_STEPS: [(&[&str], &str); 3] = [
    (
        &["parallel", "batch", "max-fail", "retry-failed", "json", "connect-timeout"],
        "it is for the whole plan: give it to lariat batch",
    ),
    (
        &["gather", "diff"],
        "what a plan's steps write comes line by line, or with out = \"DIR\" into files",
    ),
    (&["tty"], "a plan has no terminal"),
];

/// Stands for the step's hosts where a verb's command line wants some.
const ANY: &str = "all";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    step: Vec<Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>>,
}

/// A step as it was written.
pub(super) struct Step {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// What it does, for people: `push app.tar.gz to /srv/`.
    pub(super) what: String,
    /// Its hosts, if it says so itself.
    pub(super) target: Option<Aim>,
    pub(super) verb: Verb,
}

/// A step's own target.
pub(super) struct Aim {
    /// Where it stands, from 1.
    pub(super) line: usize,
    pub(super) targets: Targets,
}

/// What it does.
pub(super) enum Verb {
    Push(push::Args),
    Pull(pull::Args),
    Run(Box<run::Args>),
}

/// One step while it is read.
struct Draft<'a> {
    file: &'a Path,
    text: &'a str,
    verb: &'static str,
    /// The verb's key.
    at: usize,
    target: Option<Aim>,
    dest: Option<String>,
    words: Vec<String>,
    options: Vec<OsString>,
    /// Where each key is.
    places: Vec<(String, usize)>,
}

/// Reads a plan; a mistake is told with its line and key.
pub(super) fn parse(file: &Path, text: &str) -> Result<Vec<Step>, CliError> {
    let File { step: steps } = lariat_common::toml_file::parse(file, text)?;
    if steps.is_empty() {
        let error = CliError::new("a plan has at least one [[step]]");
        return Err(error.during(file.display()));
    }
    steps.into_iter().map(|step| Step::read(file, text, step)).collect()
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.split(|&byte| byte == b'\n').count()
}

impl Step {
    fn read(
        file: &Path,
        text: &str,
        step: Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>,
    ) -> Result<Self, CliError> {
        let start = step.span().start;
        let at = |at: usize, error: CliError| {
            error.during(format!("{}:{}", file.display(), line(text, at)))
        };
        let keys = step.into_inner();
        let verbs: Vec<_> =
            VERBS.into_iter().filter_map(|verb| Some((verb, keys.get_key_value(verb)?))).collect();
        let [(verb, (key, _))] = verbs.as_slice() else {
            return Err(at(start, CliError::new("a step has one of the keys push, pull and run")));
        };
        let (verb, verb_at) = (*verb, key.span().start);
        let mut draft = Draft {
            file,
            text,
            verb,
            at: verb_at,
            target: None,
            dest: None,
            words: Vec::new(),
            options: Vec::new(),
            places: Vec::new(),
        };
        for (key, value) in keys {
            let place = key.span().start;
            let name = key.into_inner();
            draft.places.push((name.clone(), place));
            let error = draft.take(&name, place, value.into_inner()).err();
            if let Some(error) = error {
                return Err(at(place, error.during(name)));
            }
        }
        draft.finish(start)
    }
}

impl Draft<'_> {
    /// Takes one key.
    fn take(&mut self, name: &str, at: usize, value: Value) -> Result<(), CliError> {
        match name {
            "target" => {
                let targets = text_of(value)?.parse()?;
                self.target = Some(Aim { line: line(self.text, at), targets });
            }
            "dest" if self.verb != "run" => self.dest = Some(text_of(value)?),
            _ if name == self.verb => {
                self.words = texts_of(value)?;
                if self.verb != "run" && self.words.is_empty() {
                    return Err(CliError::new("it names nothing"));
                }
            }
            _ => self.option(name, value)?,
        }
        Ok(())
    }

    fn option(&mut self, name: &str, value: Value) -> Result<(), CliError> {
        let command = self.command();
        // Those that have a letter too may go by it: `X = true`.
        let mut letter = [0; 4];
        let mut called = |arg: &clap::Arg| {
            let short = arg.get_short().map(|short| &*short.encode_utf8(&mut letter) == name);
            arg.get_long()
                .filter(|&long| long == name || short == Some(true))
                .map(ToOwned::to_owned)
        };
        let option = command.get_arguments().find_map(|arg| Some((called(arg)?, arg)));
        let Some((name, option)) = option else {
            return Err(CliError::new(format!("a {} step has no such key", self.verb)));
        };
        let refused = NOT_FOR_STEPS.iter().find(|(names, _)| names.contains(&name.as_str()));
        if let Some((_, why)) = refused {
            return Err(CliError::new(why));
        }
        if !option.get_action().takes_values() {
            match value {
                Value::Boolean(true) => self.options.push(format!("--{name}").into()),
                Value::Boolean(false) => {}
                _ => return Err(CliError::new("it is true or false")),
            }
            return Ok(());
        }
        for text in texts_of(value)? {
            self.options.push(format!("--{name}={text}").into());
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let command = Command::new(self.verb).no_binary_name(true);
        match self.verb {
            "push" => push::Args::augment_args(command),
            "pull" => pull::Args::augment_args(command),
            _ => run::Args::augment_args(command),
        }
    }

    /// Has the verb's own parser read it.
    fn finish(self, start: usize) -> Result<Step, CliError> {
        let place = |at| format!("{}:{}", self.file.display(), line(self.text, at));
        let dest = || {
            let none = CliError::new(format!("a {} step has a dest", self.verb));
            self.dest.clone().ok_or_else(|| none.during(place(self.at)))
        };
        let mut argv = self.options.clone();
        let (positional, what): (Vec<String>, String) = match self.verb {
            "push" => {
                let dest = dest()?;
                let what = format!("push {} to {dest}", self.words.join(" "));
                (self.words.iter().cloned().chain([format!("{ANY}:{dest}")]).collect(), what)
            }
            "pull" => {
                let dest = dest()?;
                let sources = self.words.iter().map(|source| format!("{ANY}:{source}"));
                let what = format!("pull {} to {dest}", self.words.join(" "));
                (sources.chain([dest]).collect(), what)
            }
            _ => {
                argv.push(ANY.into());
                (self.words.clone(), format!("run {}", self.words.join(" ")))
            }
        };
        argv.push("--".into());
        argv.extend(positional.into_iter().map(OsString::from));
        let bad = |error: clap::Error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            // The parser names the option that it does not like.
            let named = |(name, _): &&(String, usize)| first.contains(&format!("'--{name}"));
            let at = self.places.iter().find(named).map_or(self.at, |(_, at)| *at);
            CliError::new(format!("{}: {first}", self.verb)).during(place(at))
        };
        let matches = self.command().try_get_matches_from(argv).map_err(bad)?;
        let verb = match self.verb {
            "push" => push::Args::from_arg_matches(&matches).map(Verb::Push),
            "pull" => pull::Args::from_arg_matches(&matches).map(Verb::Pull),
            _ => run::Args::from_arg_matches(&matches).map(|args| Verb::Run(Box::new(args))),
        };
        let (line, verb) = (line(self.text, start), verb.map_err(bad)?);
        Ok(Step { line, what, target: self.target, verb })
    }
}

/// A value as it would stand on a command line.
fn text_of(value: Value) -> Result<String, CliError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err(CliError::new("it is a text")),
    }
}

fn texts_of(value: Value) -> Result<Vec<String>, CliError> {
    match value {
        Value::Array(values) => values.into_iter().map(text_of).collect(),
        value => Ok(vec![text_of(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("p.toml"), text).err().map(|error| error.line()).unwrap_or_default()
    }

    #[test]
    fn steps_are_the_verbs_command_lines() {
        let text = "\
            [[step]]\npush = \"app.tar\"\ndest = \"/srv/\"\nchmod = 640\nexclude = [\"*.tmp\", \"x\"]\n\
            [[step]]\ntarget = \"@web\"\nrun = \"systemctl restart app\"\ntimeout = \"5m\"\n\
            [[step]]\npull = [\"a\", \"b\"]\ndest = \"logs\"\ndelete = false\n";
        let steps = parse(Path::new("p.toml"), text).unwrap();
        let told: Vec<_> = steps.iter().map(|step| (step.line, step.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "push app.tar to /srv/"),
                (6, "run systemctl restart app"),
                (10, "pull a b to logs")
            ]
        );
        assert!(steps[0].target.is_none() && steps[1].target.as_ref().is_some_and(|t| t.line == 7));
    }

    #[test]
    fn options_that_have_a_letter_may_go_by_it() {
        for option in ["hard-links", "xattrs", "H", "X"] {
            let text = format!("[[step]]\npush = \"a\"\ndest = \"b\"\n{option} = true\n");
            let Verb::Push(args) = parse(Path::new("p.toml"), &text).unwrap().remove(0).verb else {
                panic!("it is a push");
            };
            let tree = args.options.tree();
            let hard_links = option.starts_with(['h', 'H']);
            assert_eq!(
                (tree.hard_links, tree.travels.xattrs),
                (hard_links, !hard_links),
                "{option}"
            );
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_file_line_and_key() {
        let step = |lines: &str| error(&format!("# a plan\n[[step]]\n{lines}"));
        insta::assert_snapshot!(step("run = \"a\"\ntimout = 5\n"), @"p.toml:4: timout: a run step has no such key");
        insta::assert_snapshot!(step("run = \"a\"\npush = \"b\"\n"), @"p.toml:2: a step has one of the keys push, pull and run");
        insta::assert_snapshot!(step("push = \"b\"\n"), @"p.toml:3: a push step has a dest");
        insta::assert_snapshot!(step("push = \"b\"\ndest = \"c\"\nparallel = 3\n"), @"p.toml:5: parallel: it is for the whole plan: give it to lariat batch");
        insta::assert_snapshot!(step("run = \"b\"\ngather = true\n"), @r#"p.toml:4: gather: what a plan's steps write comes line by line, or with out = "DIR" into files"#);
        insta::assert_snapshot!(step("run = \"b\"\ni = true\n"), @"p.toml:4: i: a run step has no such key");
        insta::assert_snapshot!(step("run = \"b\"\ntarget = \"a[1\"\n"), @r#"p.toml:4: target: "a[1", position 2: its ']' is missing"#);
        insta::assert_snapshot!(step("run = \"b\"\ntimeout = \"soon\"\n"), @r#"p.toml:4: run: invalid value 'soon' for '--timeout <DUR>': "soon" is not a duration such as 500ms, 1s, 5m, 2h or 30"#);
        insta::assert_snapshot!(step("run = true\n"), @"p.toml:3: run: it is a text");
        assert!(error("steps = 1\n").starts_with("p.toml:1: unknown field `steps`"));
        insta::assert_snapshot!(error(""), @"p.toml: a plan has at least one [[step]]");
    }
}
