//! The rules of a key on a command line: from options, and for people to read.

use lariat_base::clock::milliseconds;
use lariat_base::date;
use lariat_base::escape::escape;
use lariat_wire::protocol::key::Rules;
use lariat_wire::protocol::verb::{Verb, Verbs};

use crate::error::CliError;
use crate::shell_word::shell_word;

// What a key may do. Each option brings its own verb and no other.
/// The heading of the rules in the help.
const HEADING: &str = "Rules (without any: everything but changing keys, so root)";

#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct RuleOptions {
    /// What it may do: run,shell,push,pull,jobs,...
    ///
    /// Verbs: run, shell, push, pull, jobs, connect, listen, keys, audit, status, note, upgrade.
    #[arg(help_heading = HEADING, long, value_name = "LIST", value_delimiter = ',')]
    verbs: Vec<Verb>,

    /// Users that it may act as
    ///
    /// With exactly one, that is the default user.
    #[arg(help_heading = HEADING, long, value_name = "LIST", value_delimiter = ',', value_parser = not_empty)]
    users: Vec<String>,

    /// Push only beneath this directory; repeatable
    #[arg(help_heading = HEADING, long, value_name = "DIR", value_parser = root)]
    push_root: Vec<String>,

    /// Pull only beneath this directory; repeatable
    #[arg(help_heading = HEADING, long, value_name = "DIR", value_parser = root)]
    pull_root: Vec<String>,

    /// Run only what matches this; repeatable
    ///
    /// Words as in a shell, '*' in a word, '..' at the end for any more that are no options.
    #[arg(help_heading = HEADING, long, value_name = "PATTERN", value_parser = Pattern::parse)]
    command: Vec<Pattern>,

    /// Connect only there through a host; repeatable
    #[arg(help_heading = HEADING, long = "connect", value_name = "ADDR:PORT", hide_short_help = true)]
    connect: Vec<String>,

    /// Listen only there on a host; repeatable
    #[arg(help_heading = HEADING, long = "listen", value_name = "ADDR:PORT", hide_short_help = true)]
    listen: Vec<String>,

    /// Networks that it may log in from, as CIDR
    #[arg(help_heading = HEADING, long, value_name = "LIST", value_delimiter = ',', value_parser = not_empty, hide_short_help = true)]
    networks: Vec<String>,

    /// End: 30d, 2027-01-31, or an RFC 3339 time
    ///
    /// A day counts to its end in UTC.
    #[arg(help_heading = HEADING, long, value_name = "DUR|DATE", value_parser = parse_end)]
    expires: Option<u64>,

    /// Most concurrent jobs on a host
    #[arg(help_heading = HEADING, long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    max_jobs: Option<u32>,

    /// Most concurrent sessions on a host
    #[arg(help_heading = HEADING, long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..))]
    max_sessions: Option<u32>,
}

/// The words of a command's pattern.
#[derive(Clone, Debug)]
struct Pattern(Vec<String>);

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        match shlex::split(text) {
            None => Err("a quote in it is not closed".to_owned()),
            Some(words) => match words.first() {
                None => Err("it has no word".to_owned()),
                // Alternatives in braces are for hosts to read.
                Some(program) if !program.contains('{') && !is_plain(program) => Err(format!(
                    "{text:?} does not begin with the program's absolute path, such as /usr/bin/{}",
                    program.rsplit('/').next().unwrap_or_default()
                )),
                Some(_) => Ok(Self(words)),
            },
        }
    }
}

/// The path of a directory that a key is held to.
fn root(text: &str) -> Result<String, String> {
    let path = if text.len() > 1 { text.strip_suffix('/').unwrap_or(text) } else { text };
    if is_plain(path) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a directory's absolute path without '.', '..' and '//'"))
}

/// Whether hosts take it for an absolute path. They know what a wildcard may stand for.
fn is_plain(path: &str) -> bool {
    let parts = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    path == "/" || path.strip_prefix('/').is_some_and(parts)
}

/// A member of a list.
fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a name in it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn parse_end(text: &str) -> Result<u64, String> {
    let now = milliseconds(std::time::SystemTime::now()) / 1000;
    match date::parse_end(text, now) {
        Ok(end) if end <= now => Err("that is over already".to_owned()),
        Ok(end) => Ok(end),
        Err(bad) => Err(bad.to_string()),
    }
}

impl RuleOptions {
    /// The rules.
    pub(crate) fn rules(&self) -> Result<Rules, CliError> {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let rules = Rules {
            networks: list(&self.networks),
            not_after: self.expires,
            max_sessions: self.max_sessions,
            max_jobs: self.max_jobs,
            ..Rules::default()
        };
        let commands: Vec<_> = self.command.iter().map(|Pattern(words)| words.clone()).collect();
        let brought = [
            (Verb::Push, !self.push_root.is_empty()),
            (Verb::Pull, !self.pull_root.is_empty()),
            (Verb::Run, !commands.is_empty()),
            (Verb::Connect, !self.connect.is_empty()),
            (Verb::Listen, !self.listen.is_empty()),
        ];
        let brought = brought.into_iter().filter(|(_, is_given)| *is_given).map(|(verb, _)| verb);
        let verbs: Verbs = brought.chain(self.verbs.iter().copied()).collect();
        if verbs == Verbs::default() {
            return match self.narrowing() {
                None => Ok(Rules::all_but_keys()),
                Some(option) => Err(CliError::new(format!("{option} alone permits nothing"))
                    .hint("--verbs run,jobs")),
            };
        }
        Ok(Rules {
            verbs,
            users: list(&self.users),
            push: list(&self.push_root),
            pull: list(&self.pull_root),
            commands: (!commands.is_empty()).then_some(commands),
            connect: list(&self.connect),
            listen: list(&self.listen),
            ..rules
        })
    }

    /// An option that was given, and that only narrows what others permit.
    fn narrowing(&self) -> Option<&'static str> {
        let given = [
            ("--users", !self.users.is_empty()),
            ("--networks", !self.networks.is_empty()),
            ("--expires", self.expires.is_some()),
            ("--max-jobs", self.max_jobs.is_some()),
            ("--max-sessions", self.max_sessions.is_some()),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }
}

/// The options that give a key these rules; in words where there is no such option.
pub(crate) fn as_options(rules: &Rules) -> String {
    let Rules { networks, push, pull, commands, connect, listen, users, .. } = rules;
    if rules.not_before.is_some() || rules.stdin || rules.park.is_some() {
        return describe(rules);
    }
    let verbs: Vec<_> = rules.verbs.iter().map(Verb::as_str).collect();
    let mut options = vec![("--verbs", verbs.join(","))];
    options.extend(users.as_ref().map(|users| ("--users", users.join(","))));
    options.extend(networks.as_ref().map(|networks| ("--networks", networks.join(","))));
    let lists = [
        ("--push-root", push),
        ("--pull-root", pull),
        ("--connect", connect),
        ("--listen", listen),
    ];
    for (option, list) in lists {
        options.extend(list.iter().flatten().map(|value| (option, value.clone())));
    }
    let pattern = |words: &Vec<String>| {
        words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    };
    options.extend(commands.iter().flatten().map(|words| ("--command", pattern(words))));
    options.extend(rules.not_after.map(|end| ("--expires", shown(end))));
    options.extend(rules.max_jobs.map(|most| ("--max-jobs", most.to_string())));
    options.extend(rules.max_sessions.map(|most| ("--max-sessions", most.to_string())));
    let words = options.iter().map(|(option, value)| format!("{option} {}", shell_word(value)));
    escape(words.collect::<Vec<_>>().join(" ").as_bytes())
}

/// Rules in one line, made harmless.
pub(crate) fn describe(rules: &Rules) -> String {
    let join = |words: &[String]| words.join(",");
    let mut parts = match &rules.park {
        Some(host) => vec![format!("parks connections of {host}")],
        None => vec![verbs(rules.verbs)],
    };
    let lists = [
        ("as", &rules.users),
        ("from", &rules.networks),
        ("writes below", &rules.push),
        ("reads below", &rules.pull),
        ("connects to", &rules.connect),
        ("listens at", &rules.listen),
    ];
    let lists = lists.into_iter().filter_map(|(what, list)| Some((what, list.as_ref()?)));
    parts.extend(lists.map(|(what, list)| match list.as_slice() {
        [] => format!("{what} nothing"),
        list => format!("{what} {}", join(list)),
    }));
    for words in rules.commands.iter().flatten() {
        let words: Vec<_> = words.iter().map(|word| shell_word(word)).collect();
        parts.push(format!("runs {}", words.join(" ")));
    }
    let dates = [("from", rules.not_before), ("until", rules.not_after)];
    let dates = dates.into_iter().filter_map(|(what, at)| Some((what, at?)));
    parts.extend(dates.map(|(what, at)| format!("{what} {}", shown(at))));
    let limits = [("sessions", rules.max_sessions), ("jobs", rules.max_jobs)];
    let limits = limits.into_iter().filter_map(|(what, most)| Some((what, most?)));
    parts.extend(limits.map(|(what, most)| format!("{most} {what} at most")));
    escape(parts.join("; ").as_bytes())
}

/// A moment, as people are shown it.
pub(crate) fn shown(seconds: u64) -> String {
    date::format(seconds).unwrap_or_else(|| "the end of time".to_owned())
}

fn verbs(verbs: Verbs) -> String {
    let named = |verbs: Verbs| verbs.iter().map(Verb::as_str).collect::<Vec<_>>().join(",");
    if verbs == Verbs::all() {
        "everything".to_owned()
    } else if verbs == Rules::all_but_keys().verbs {
        "everything but keys".to_owned()
    } else if verbs == Verbs::default() {
        "nothing".to_owned()
    } else {
        named(verbs)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        rules: RuleOptions,
    }

    fn rules(words: &[&str]) -> Result<Rules, String> {
        let words = std::iter::once(&"x").chain(words);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        cli.rules.rules().map_err(|error| error.line())
    }

    #[test]
    fn rules_are_told_as_the_options_that_give_them() {
        for words in [
            &["--verbs", "run,jobs", "--users", "www,app", "--expires", "2999-01-31T23:59:59Z"][..],
            &[
                "--command",
                "/usr/bin/printf '%s x' * ..",
                "--max-jobs",
                "2",
                "--networks",
                "::1/128",
            ],
            &[
                "--push-root",
                "/srv/a b",
                "--pull-root",
                "/x",
                "--connect",
                "127.0.0.1:80",
                "--listen",
                "127.0.0.1:8080",
            ],
        ] {
            let wanted = rules(words).unwrap();
            let again = shlex::split(&as_options(&wanted)).unwrap();
            let again: Vec<&str> = again.iter().map(String::as_str).collect();
            assert_eq!(rules(&again).unwrap(), wanted, "{again:?}");
        }
        let other = Rules { stdin: true, ..rules(&["--verbs", "run"]).unwrap() };
        insta::assert_snapshot!(as_options(&other), @"run");
    }

    #[test]
    fn each_rule_brings_its_own_verb_and_no_other() {
        let verbs = |words: &[&str]| describe(&rules(words).unwrap());
        insta::assert_snapshot!(verbs(&[]), @"everything but keys");
        insta::assert_snapshot!(verbs(&["--verbs", "run", "--expires", "2999-01-31", "--max-jobs", "2"]), @"run; until 2999-01-31T23:59:59Z; 2 jobs at most");
        insta::assert_snapshot!(verbs(&["--command", "/usr/bin/printf '%s' * .."]), @"run; runs /usr/bin/printf %s '*' ..");
        insta::assert_snapshot!(verbs(&["--push-root", "/srv", "--push-root", "/opt"]), @"push; writes below /srv,/opt");
        insta::assert_snapshot!(verbs(&["--pull-root", "/srv", "--verbs", "jobs,run"]), @"run,pull,jobs; reads below /srv");
        insta::assert_snapshot!(verbs(&["--connect", "127.0.0.1:80", "--networks", "10.0.0.0/8,::1"]), @"connect; from 10.0.0.0/8,::1; connects to 127.0.0.1:80");
        insta::assert_snapshot!(verbs(&["--verbs", "run", "--users", "www,app"]), @"run; as www,app");
        insta::assert_snapshot!(rules(&["--users", "www"]).unwrap_err(), @"--users alone permits nothing; try: --verbs run,jobs");
        for [option, value] in [
            ["--networks", "::1/128"],
            ["--expires", "30d"],
            ["--max-jobs", "2"],
            ["--max-sessions", "2"],
        ] {
            let told = format!("{option} alone permits nothing; try: --verbs run,jobs");
            assert_eq!(rules(&[option, value]).unwrap_err(), told);
        }
        for bad in [
            ["--command", "a 'b"],
            ["--command", ""],
            ["--command", "ls *"],
            ["--command", "*"],
            ["--command", "/usr/bin/../ls"],
            ["--push-root", "srv"],
            ["--pull-root", "/srv/.."],
            ["--users", ""],
            ["--users", "www,,app"],
            ["--networks", ""],
            ["--verbs", "sudo"],
            ["--expires", "2020-01-01"],
            ["--expires", "soon"],
        ] {
            assert!(rules(&bad).is_err(), "{bad:?}");
        }
        for good in [
            ["--command", "{/bin/ls,/usr/bin/ls} *"],
            ["--command", "/opt/*/bin/tool"],
            ["--push-root", "/"],
            ["--pull-root", "/srv/"],
        ] {
            assert!(rules(&good).is_ok(), "{good:?}");
        }
    }
}
