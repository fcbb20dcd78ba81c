//! Parses a plan into the command lines of its verbs.
//!
//! Each step is parsed by the verb's own parser, so that its options can't differ from the verb's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{ArgAction, Args as _, Command, FromArgMatches};
use lariat_base::near::nearest;
use serde::Deserialize;
use toml::{Spanned, Value};

use super::step_error;
use crate::commands::{pull, push, run};
use crate::error::CliError;
use crate::target::Targets;
use crate::template::Template;

/// The keys that name a step's verb.
const VERBS: [&str; 3] = ["push", "pull", "run"];

/// Keys that imply `run`: sources of its commands.
const STAND_FOR_RUN: [&str; 2] = ["script", "from"];

/// Keys that are not options of the verb.
const OWN_KEYS: [&str; 3] = ["dest", "target", "when"];

/// Options whose value may be a number. For all others, a number is probably a mistake.
const NUMBERS: [&str; 6] = ["chmod", "bwlimit", "timeout", "reconnect", "streams", "max-delete"];

/// Options of the verbs that a step can't have, and why.
const NOT_FOR_STEPS: [(&[&str], &str); 4] = [
    (
        &["parallel", "batch", "max-fail", "retry-failed", "json", "connect-timeout", "dry-run"],
        "it is for the whole plan: give it to lariat batch",
    ),
    (
        &["gather", "diff"],
        "what a plan's steps write comes line by line, or with out = \"DIR\" into files",
    ),
    (&["tty"], "a plan has no terminal"),
    (&["interactive"], "a plan has no stdin"),
];

/// The target in a verb's command line, in place of the step's hosts.
const ANY: &str = "all";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    step: Vec<Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>>,
}

/// A step as written in the plan.
pub(super) struct Step {
    /// The line where it begins, from 1.
    pub(super) line: usize,
    /// A description of it: `push app.tar.gz to /srv/`.
    pub(super) what: String,
    /// Its own target, if it has one.
    pub(super) target: Option<Aim>,
    /// It is skipped unless an earlier step changed something.
    pub(super) when_changed: bool,
    pub(super) verb: Verb,
}

/// A step's own target.
pub(super) struct Aim {
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) targets: Targets,
}

/// A step's verb with its arguments.
pub(super) enum Verb {
    Push(push::Args),
    Pull(pull::Args),
    Run(Box<run::Args>),
}

impl Verb {
    /// How long the connection may stay broken, if the step specifies it.
    pub(super) fn reconnect(&self) -> Option<Duration> {
        let connect = match self {
            Self::Push(args) => &args.connect,
            Self::Pull(args) => &args.connect,
            Self::Run(args) => &args.connect,
        };
        connect.reconnect
    }
}

/// A partly parsed step.
struct Draft<'a> {
    file: &'a Path,
    text: &'a str,
    verb: &'static str,
    /// The position of the verb's key.
    at: usize,
    target: Option<Aim>,
    when_changed: bool,
    dest: Option<String>,
    words: Vec<String>,
    /// Another key says what is run.
    has_source: bool,
    options: Vec<OsString>,
    /// The position of each key.
    places: Vec<(String, usize)>,
}

/// Parses a plan; an error has the line and the key.
pub(super) fn parse(file: &Path, text: &str) -> Result<Vec<Step>, CliError> {
    let File { step: steps } = lariat_base::toml_file::parse(file, text)?;
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
        let mut in_order: Vec<&Spanned<String>> = keys.keys().collect();
        in_order.sort_by_key(|key| key.span().start);
        for key in &in_order {
            let name = key.as_ref();
            if !VERBS.iter().any(|verb| is_key(verb, name.as_str())) {
                let mut present = VERBS.into_iter().filter(|&verb| keys.contains_key(verb));
                let (a, all) = match (present.next(), present.next()) {
                    (Some(verb), None) => (format!("a {verb} step"), keys_of(verb)),
                    _ => ("a step".to_owned(), VERBS.into_iter().flat_map(keys_of).collect()),
                };
                let error = CliError::new(format!("{a} has no such key{}", near(name, all)));
                return Err(at(key.span().start, error.during(name)));
            }
        }
        let at_key = |name: &str| Some(keys.get_key_value(name)?.0.span().start);
        let mut verbs: Vec<_> =
            VERBS.into_iter().filter_map(|verb| Some((verb, at_key(verb)?))).collect();
        verbs.sort_by_key(|(_, place)| *place);
        let (verb, verb_at) = match verbs.as_slice() {
            [one] => *one,
            [] => {
                let place = STAND_FOR_RUN.into_iter().find_map(at_key).ok_or_else(|| {
                    let error = CliError::new("a step has one of the keys push, pull and run");
                    at(start, error)
                })?;
                ("run", place)
            }
            [_, (name, second), ..] => {
                let error = CliError::new("a step has one of the keys push, pull and run");
                return Err(at(*second, error.during(name)));
            }
        };
        let mut draft = Draft {
            file,
            text,
            verb,
            at: verb_at,
            target: None,
            when_changed: false,
            dest: None,
            words: Vec::new(),
            has_source: STAND_FOR_RUN.into_iter().any(|name| keys.contains_key(name)),
            options: Vec::new(),
            places: Vec::new(),
        };
        for (key, value) in keys {
            let place = key.span().start;
            let name = key.into_inner();
            draft.places.push((name.clone(), place));
            let error = draft.take(&name, place, value).err();
            if let Some(error) = error {
                return Err(at(place, error.during(name)));
            }
        }
        draft.finish(start)
    }
}

impl Draft<'_> {
    /// Adds one key.
    fn take(&mut self, name: &str, at: usize, value: Spanned<Value>) -> Result<(), CliError> {
        match name {
            "target" => {
                let targets = text_of(value.into_inner())?.parse()?;
                self.target = Some(Aim { line: line(self.text, at), targets });
            }
            "when" => match text_of(value.into_inner())?.as_str() {
                "changed" => self.when_changed = true,
                _ => return Err(CliError::new("its only value is \"changed\"")),
            },
            "dest" if self.verb != "run" => {
                let dest = text_of(value.into_inner())?;
                Template::parse(dest.as_bytes())?;
                self.dest = Some(dest);
            }
            _ if name == self.verb => {
                self.words = texts_of(value.into_inner())?;
                if self.verb == "run" && self.words.is_empty() && !self.has_source {
                    return Err(CliError::new("it names no command"));
                }
                if self.verb != "run" {
                    if self.words.is_empty() {
                        return Err(CliError::new("it names nothing"));
                    }
                    self.words
                        .iter()
                        .try_for_each(|word| Template::parse(word.as_bytes()).map(drop))?;
                }
            }
            _ => self.option(name, value)?,
        }
        Ok(())
    }

    fn option(&mut self, name: &str, value: Spanned<Value>) -> Result<(), CliError> {
        let written = self.text.get(value.span()).unwrap_or_default().to_owned();
        let value = value.into_inner();
        let command = command(self.verb);
        // Options with a short form can be given by it: `X = true`.
        let mut letter = [0; 4];
        let mut called = |arg: &clap::Arg| {
            let short = arg.get_short().map(|short| &*short.encode_utf8(&mut letter) == name);
            arg.get_long()
                .filter(|&long| long == name || short == Some(true))
                .map(ToOwned::to_owned)
        };
        let option = command.get_arguments().find_map(|arg| Some((called(arg)?, arg)));
        let Some((name, option)) = option else {
            let near = near(name, keys_of(self.verb));
            return Err(CliError::new(format!("a {} step has no such key{near}", self.verb)));
        };
        let refused = NOT_FOR_STEPS.iter().find(|(names, _)| names.contains(&name.as_str()));
        if let Some((_, why)) = refused {
            return Err(CliError::new(why));
        }
        if !option.get_action().takes_values() {
            match value {
                Value::Boolean(true) => self.options.push(format!("--{name}").into()),
                Value::Boolean(false) => {}
                other => {
                    let kind = kind(&other);
                    return Err(CliError::new(format!("it is true or false, and not {kind}")));
                }
            }
            return Ok(());
        }
        let texts = match value {
            Value::Integer(number) if NUMBERS.contains(&name.as_str()) => {
                // A mode is octal, written as 640 or as 0o640.
                let octal = written.strip_prefix("0o").filter(|_| name == "chmod");
                vec![octal.map_or_else(|| number.to_string(), ToOwned::to_owned)]
            }
            value if matches!(option.get_action(), ArgAction::Append) => texts_of(value)?,
            value => vec![text_of(value)?],
        };
        for text in texts {
            if matches!(name.as_str(), "cwd" | "out") {
                Template::parse(text.as_bytes())?;
            }
            self.options.push(format!("--{name}={text}").into());
        }
        Ok(())
    }

    /// Parses the step with the verb's own parser.
    fn finish(self, start: usize) -> Result<Step, CliError> {
        let place = |at| format!("{}:{}", self.file.display(), line(self.text, at));
        let dest = || {
            self.dest.clone().ok_or_else(|| step_error::no_dest(self.verb).during(place(self.at)))
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
                let from = self.options.iter().filter_map(|option| {
                    let option = option.to_str()?;
                    let is_it = STAND_FOR_RUN.iter().any(|name| {
                        option.strip_prefix("--").is_some_and(|rest| rest.starts_with(name))
                    });
                    is_it.then(|| option.replacen('=', " ", 1))
                });
                let what = from.chain(self.words.iter().cloned()).collect::<Vec<_>>();
                (self.words.clone(), format!("run {}", what.join(" ")))
            }
        };
        argv.push("--".into());
        argv.extend(positional.into_iter().map(OsString::from));
        let bad = |error: clap::Error| {
            let (key, error) = step_error::worded(&error, self.verb);
            let named = self.places.iter().find(|(name, _)| Some(name) == key.as_ref());
            error.during(place(named.map_or(self.at, |(_, at)| *at)))
        };
        let matches = command(self.verb).try_get_matches_from(argv).map_err(bad)?;
        let verb = match self.verb {
            "push" => push::Args::from_arg_matches(&matches).map(Verb::Push),
            "pull" => pull::Args::from_arg_matches(&matches).map(Verb::Pull),
            _ => run::Args::from_arg_matches(&matches).map(|args| Verb::Run(Box::new(args))),
        };
        let (line, verb) = (line(self.text, start), verb.map_err(bad)?);
        Ok(Step { line, what, target: self.target, when_changed: self.when_changed, verb })
    }
}

fn command(verb: &'static str) -> Command {
    let command = Command::new(verb).no_binary_name(true);
    match verb {
        "push" => push::Args::augment_args(command),
        "pull" => pull::Args::augment_args(command),
        _ => run::Args::augment_args(command),
    }
}

/// All keys that a step of this verb may have, by their long names.
fn keys_of(verb: &'static str) -> Vec<String> {
    let options = command(verb);
    let options = options.get_arguments().filter_map(|arg| arg.get_long().map(ToOwned::to_owned));
    let own = OWN_KEYS.iter().filter(|&&key| key != "dest" || verb != "run");
    options.chain(own.map(ToString::to_string)).chain([verb.to_owned()]).collect()
}

fn is_key(verb: &'static str, name: &str) -> bool {
    let mut letter = [0; 4];
    let mut is_letter = |arg: &clap::Arg| {
        arg.get_short().is_some_and(|short| &*short.encode_utf8(&mut letter) == name)
    };
    keys_of(verb).iter().any(|key| key == name) || command(verb).get_arguments().any(&mut is_letter)
}

/// The known key that is closest to a misspelled one.
fn near(name: &str, keys: impl IntoIterator<Item = String>) -> String {
    let keys: Vec<String> = keys.into_iter().collect();
    let nearest = nearest(name, keys.iter().map(String::as_str));
    nearest.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default()
}

/// A value as an argument of a command line.
fn text_of(value: Value) -> Result<String, CliError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(CliError::new(format!("it is a text in quotes, and not {}", kind(&other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
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
    use lariat_wire::protocol::transfer::ModeChange;

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
    fn a_script_implies_run_and_a_mode_is_octal() {
        let text = "\
            [[step]]\nscript = \"deploy.sh\"\nwhen = \"changed\"\n\
            [[step]]\nscript = \"deploy.sh\"\nrun = [\"v1\", \"v2\"]\n\
            [[step]]\nfrom = \"lines\"\n\
            [[step]]\npush = \"a\"\ndest = \"b\"\nchmod = 0o640\n\
            [[step]]\npush = \"a\"\ndest = \"b\"\nchmod = 640\n\
            [[step]]\npush = \"a\"\ndest = \"b\"\nchmod = \"0640\"\n";
        let steps = parse(Path::new("p.toml"), text).unwrap();
        let told: Vec<_> = steps.iter().map(|step| step.what.as_str()).collect();
        assert_eq!(
            told[..3],
            ["run --script deploy.sh", "run --script deploy.sh v1 v2", "run --from lines"]
        );
        assert!(steps[0].when_changed && !steps[1].when_changed);
        for step in &steps[3..] {
            let Verb::Push(args) = &step.verb else { panic!("it is a push") };
            assert_eq!(args.options.overrides().mode, Some(ModeChange::exactly(0o640)));
        }
    }

    #[test]
    fn options_can_be_given_by_their_letter() {
        for option in ["hard-links", "xattrs", "H", "X"] {
            let text = format!("[[step]]\npush = \"a\"\ndest = \"b\"\n{option} = true\n");
            let Verb::Push(args) = parse(Path::new("p.toml"), &text).unwrap().remove(0).verb else {
                panic!("it is a push");
            };
            let tree = args.options.tree();
            let hard_links = option.starts_with(['h', 'H']);
            assert_eq!(
                (tree.hard_links, tree.preserve.xattrs),
                (hard_links, !hard_links),
                "{option}"
            );
        }
    }

    #[test]
    fn errors_have_file_line_and_key() {
        let step = |lines: &str| error(&format!("# a plan\n[[step]]\n{lines}"));
        insta::assert_snapshot!(step("run = \"a\"\ntimout = 5\n"), @"p.toml:4: timout: a run step has no such key (did you mean timeout?)");
        insta::assert_snapshot!(step("run = \"a\"\npush = \"b\"\n"), @"p.toml:4: push: a step has one of the keys push, pull and run");
        insta::assert_snapshot!(step("push = \"b\"\n"), @r#"p.toml:3: push: dest is missing, where it goes on the hosts; try: dest = "/srv/""#);
        insta::assert_snapshot!(step("push = \"b\"\ndest = \"c\"\nparallel = 3\n"), @"p.toml:5: parallel: it is for the whole plan: give it to lariat batch");
        insta::assert_snapshot!(step("run = \"b\"\ngather = true\n"), @r#"p.toml:4: gather: what a plan's steps write comes line by line, or with out = "DIR" into files"#);
        insta::assert_snapshot!(step("run = \"b\"\ni = true\n"), @"p.toml:4: i: a plan has no stdin");
        insta::assert_snapshot!(step("run = \"b\"\ntarget = \"a[1\"\n"), @r#"p.toml:4: target: "a[1", position 2: its ']' is missing"#);
        insta::assert_snapshot!(step("run = \"b\"\ntimeout = \"soon\"\n"), @r#"p.toml:4: timeout: "soon" is not a duration such as 500ms, 1s, 5m, 2h or 30d, or 30 for seconds"#);
        insta::assert_snapshot!(step("run = true\n"), @"p.toml:3: run: it is a text in quotes, and not true or false");
        insta::assert_snapshot!(step("rnu = \"x\"\n"), @"p.toml:3: rnu: a step has no such key (did you mean run?)");
        insta::assert_snapshot!(step("run = []\n"), @"p.toml:3: run: it names no command");
        insta::assert_snapshot!(step("push = \"a\"\ndest = \"b\"\nmax-delete = 1\n"), @"p.toml:3: push: a key is missing that another one needs; try: delete = true");
        insta::assert_snapshot!(step("run = 3\n"), @"p.toml:3: run: it is a text in quotes, and not a number");
        insta::assert_snapshot!(step("run = \"a\"\ncwd = 3\n"), @"p.toml:4: cwd: it is a text in quotes, and not a number");
        insta::assert_snapshot!(step("run = \"a\"\ntarget = 1\n"), @"p.toml:4: target: it is a text in quotes, and not a number");
        insta::assert_snapshot!(step("run = [\"a\", 1]\n"), @"p.toml:3: run: it is a text in quotes, and not a number");
        insta::assert_snapshot!(step("run = \"a\"\ntty = 1\n"), @"p.toml:4: tty: a plan has no terminal");
        insta::assert_snapshot!(step("run = \"a\"\ndetach = \"yes\"\n"), @"p.toml:4: detach: it is true or false, and not a text");
        insta::assert_snapshot!(step("run = \"a\"\nuser = [\"x\", \"y\"]\n"), @"p.toml:4: user: it is a text in quotes, and not a list");
        insta::assert_snapshot!(step("run = \"a\"\nwhen = \"chnaged\"\n"), @r#"p.toml:4: when: its only value is "changed""#);
        insta::assert_snapshot!(step("push = \"a\"\ndest = \"/x/{hsot}\"\n"), @"p.toml:4: dest: /x/{hsot}: unknown placeholder {hsot}; {host} is the host's name, {{hsot}} means the text {hsot}");
        insta::assert_snapshot!(step("push = \"a-{hsot}\"\ndest = \"/x\"\n"), @"p.toml:3: push: a-{hsot}: unknown placeholder {hsot}; {host} is the host's name, {{hsot}} means the text {hsot}");
        insta::assert_snapshot!(step("target = \"web1\"\n"), @"p.toml:2: a step has one of the keys push, pull and run");
        assert!(
            error("steps = 1\n").starts_with("p.toml:1: unknown key steps (did you mean step?)")
        );
        insta::assert_snapshot!(step("pull = \"b\"\n"), @r#"p.toml:3: pull: dest is missing, where it goes here; try: dest = "DIR""#);
        insta::assert_snapshot!(step("script = \"a\"\nfrom = \"b\"\n"), @"p.toml:4: from: it can't be used with script");
        insta::assert_snapshot!(error("[step]\nrun = \"a\"\n"), @"p.toml:1: there may be several of these tables, so each is written [[step]]");
        insta::assert_snapshot!(error(""), @"p.toml: a plan has at least one [[step]]");
    }
}
