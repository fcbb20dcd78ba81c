//! Target expressions: `web1`, `web[01-20]`, `'web*'`, `@tag`, `all`, with `,` for union, `&` for intersection,
//! and `!` for exclusion.
//!
//! `&` binds tighter than `,`, and terms that start with `!` are excluded last, wherever they stand. A term can
//! begin with a user: `bob@@web`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use lariat_base::name::HostName;

use super::fold::{fold, natural};
use super::is_user;
use super::pattern::{Pattern, Wrong};
use crate::error::CliError;
use crate::inventory::{Inventory, Tag};
use crate::shell_word::shell_word;

/// A parsed target expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// Its position in the text.
    at: Range<usize>,
    /// The term is excluded.
    not: bool,
    user: Option<String>,
    /// The term matches hosts that match all of these.
    atoms: Vec<Atom>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Atom {
    All,
    Tag(Tag),
    Host(HostName),
    Pattern(Pattern),
}

/// The text is not a valid expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}, position {}: {message}", at + 1)]
pub(crate) struct BadTargets {
    text: String,
    at: usize,
    message: String,
}

/// A selected host, with the user to act as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The host, which is in the inventory.
    pub(crate) host: HostName,
    /// The user there, if not the agent's default.
    pub(crate) user: Option<String>,
}

impl Chosen {
    /// The user there, which may also be given as `--user`, but not differently.
    pub(crate) fn user(&self, given: Option<&str>) -> Result<Option<String>, CliError> {
        match (given, self.user.as_deref()) {
            (Some(one), Some(other)) if one != other => {
                let host = &self.host;
                let message = format!("--user {one} and {other}@{host}: which of the two users?");
                Err(CliError::new(message))
            }
            (one, other) => Ok(one.or(other).map(ToOwned::to_owned)),
        }
    }
}

impl Targets {
    /// The one host of a plain name, with its user. Any other expression may match several.
    pub(crate) fn plain(&self) -> Option<Chosen> {
        match self.terms.as_slice() {
            [Term { not: false, user, atoms, .. }] => match atoms.as_slice() {
                [Atom::Host(host)] => Some(Chosen { host: host.clone(), user: user.clone() }),
                _ => None,
            },
            _ => None,
        }
    }

    /// The one host of a plain name, for a verb that is for one, as `why` says.
    pub(crate) fn one(&self, verb: &str, why: &str) -> Result<Chosen, CliError> {
        self.plain().ok_or_else(|| {
            let what = format!("{verb}: {self} names several hosts, and {why}");
            CliError::new(what).hint(format!("lariat hosts {}", self.quoted()))
        })
    }

    /// The selected hosts of the inventory, each once: term by term, each in natural order. A term, a member of
    /// a range, an excluded term or an intersection that matches no host is an error.
    pub(crate) fn select(&self, inventory: &Inventory) -> Result<Vec<Chosen>, CliError> {
        let mut hosts: Vec<Chosen> = Vec::new();
        for term in self.terms.iter().filter(|term| !term.not) {
            for host in self.meant(term, inventory)? {
                match hosts.iter().find(|chosen| chosen.host == *host) {
                    None => hosts.push(Chosen { host: host.clone(), user: term.user.clone() }),
                    Some(chosen) if chosen.user == term.user => {}
                    Some(_) => {
                        let message = format!("{}: {host} is meant with two users", self.text);
                        return Err(CliError::new(message));
                    }
                }
            }
        }
        for term in self.terms.iter().filter(|term| term.not) {
            let away: BTreeSet<&HostName> = self.meant(term, inventory)?.into_iter().collect();
            hosts.retain(|chosen| !away.contains(&chosen.host));
        }
        if hosts.is_empty() {
            let only_not = self.terms.iter().all(|term| term.not);
            let hint = if only_not { format!("all,{}", self.text) } else { "lariat hosts".into() };
            return Err(CliError::new(format!("no host matches {}", self.text)).hint(hint));
        }
        Ok(hosts)
    }

    /// The hosts that a term matches, at least one.
    fn meant<'a>(
        &self,
        term: &Term,
        inventory: &'a Inventory,
    ) -> Result<Vec<&'a HostName>, CliError> {
        for atom in &term.atoms {
            Self::check(atom, inventory)?;
        }
        let by_all =
            |name: &HostName, tags: &[Tag]| term.atoms.iter().all(|atom| atom.means(name, tags));
        let all = inventory.iter().filter(|(name, host)| by_all(name, &host.tags));
        let mut hosts: Vec<&HostName> = all.map(|(name, _)| name).collect();
        if hosts.is_empty() {
            return Err(no_host_matches(&self.text[term.at.clone()], ""));
        }
        hosts.sort_by(|a, b| natural(a.as_str(), b.as_str()));
        Ok(hosts)
    }

    /// Fails if an atom matches no host.
    fn check(atom: &Atom, inventory: &Inventory) -> Result<(), CliError> {
        let hosts = || inventory.iter();
        match atom {
            Atom::All => Ok(()),
            Atom::Host(host) => inventory.host(host).map(drop),
            Atom::Tag(tag) => {
                if hosts().any(|(_, host)| host.tags.contains(tag)) {
                    return Ok(());
                }
                let near = inventory.near(tag).map(|tag| format!(" (did you mean @{tag}?)"));
                Err(no_host_matches(&format!("@{tag}"), &near.unwrap_or_default()))
            }
            Atom::Pattern(pattern) => {
                if !hosts().any(|(name, _)| pattern.matches(name.as_str())) {
                    return Err(no_host_matches(&pattern.to_string(), ""));
                }
                let missing = pattern.missing(hosts().map(|(name, _)| name.as_str()));
                let Some(missing) = missing else {
                    let what = format!("{pattern} names more hosts than this fleet has");
                    return Err(CliError::new(what).hint("lariat hosts"));
                };
                if missing.is_empty() {
                    return Ok(());
                }
                let missing = fold(missing.iter().map(String::as_str));
                Err(CliError::new(format!("no host {missing} in this fleet")).hint("lariat hosts"))
            }
        }
    }

    /// The expression, quoted for a shell.
    pub(crate) fn quoted(&self) -> String {
        shell_word(&self.text)
    }

    /// The names in it, if it consists only of names and ranges.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let names = |term: &Term| match term.atoms.as_slice() {
            [Atom::Host(host)] if !term.not => Some(vec![host.to_string()]),
            [Atom::Pattern(pattern)] if !term.not => pattern.names(),
            _ => None,
        };
        Some(self.terms.iter().map(names).collect::<Option<Vec<_>>>()?.concat())
    }
}

impl Atom {
    fn means(&self, name: &HostName, tags: &[Tag]) -> bool {
        match self {
            Self::All => true,
            Self::Tag(tag) => tags.contains(tag),
            Self::Host(host) => host == name,
            Self::Pattern(pattern) => pattern.matches(name.as_str()),
        }
    }
}

fn no_host_matches(what: &str, near: &str) -> CliError {
    CliError::new(format!("no host matches {what}{near}")).hint("lariat hosts")
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Targets {
    type Err = BadTargets;

    fn from_str(text: &str) -> Result<Self, BadTargets> {
        let terms = split(text, ',').map(|(at, part)| term(part, at)).collect::<Result<_, _>>();
        match terms {
            Ok(terms) => Ok(Self { text: text.to_owned(), terms }),
            Err(Wrong { at, message }) => Err(BadTargets { text: text.to_owned(), at, message }),
        }
    }
}

/// Splits at `by` outside brackets; returns where each part begins.
fn split(text: &str, by: char) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    let parts = text.split(move |letter| {
        inside = (inside || letter == '[') && letter != ']';
        letter == by && !inside
    });
    let mut at = 0;
    parts.map(move |part| {
        let start = at;
        at += part.len() + by.len_utf8();
        (start, part)
    })
}

fn term(text: &str, at: usize) -> Result<Term, Wrong> {
    let place = at..at + text.len();
    let (not, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
    let mut at = at + usize::from(not);
    // A leading `@` begins a tag; a user precedes any other `@`.
    let user = rest.split_once('@').filter(|(user, _)| !user.is_empty() && !user.contains('&'));
    let (user, rest) = user.map_or((None, rest), |(user, rest)| (Some(user), rest));
    if let Some(user) = user {
        if not {
            return Err(Wrong::new(at, "what is taken away has no user"));
        }
        if !is_user(user) {
            return Err(Wrong::new(at, format!("{user:?} is not a user's name")));
        }
        at += user.len() + 1;
    }
    let atoms = split(rest, '&').map(|(offset, part)| atom(part, at + offset));
    let atoms = atoms.collect::<Result<_, _>>()?;
    Ok(Term { at: place, not, user: user.map(ToOwned::to_owned), atoms })
}

fn atom(text: &str, at: usize) -> Result<Atom, Wrong> {
    let wrong = |message: String| Wrong::new(at, message);
    if text.is_empty() {
        Err(wrong("a host, a pattern, @TAG or all is missing".to_owned()))
    } else if let Some((first, second)) = text.split_once(char::is_whitespace) {
        Err(wrong(format!("hosts are separated by commas: {first},{}", second.trim_start())))
    } else if text == "all" {
        Ok(Atom::All)
    } else if let Some(tag) = text.strip_prefix('@') {
        tag.parse().map(Atom::Tag).map_err(|bad: crate::inventory::BadTag| wrong(bad.to_string()))
    } else if text.contains('!') {
        Err(wrong("a '!' can only begin a term".to_owned()))
    } else if text.contains('@') {
        Err(wrong("a user can only begin a term".to_owned()))
    } else if Pattern::is_one(text) {
        let pattern = Pattern::parse(text).map_err(|e| Wrong { at: at + e.at, ..e })?;
        Ok(Atom::Pattern(pattern))
    } else {
        text.parse()
            .map(Atom::Host)
            .map_err(|bad: lariat_base::name::BadHostName| wrong(bad.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn inventory() -> Inventory {
        let host = |(name, tags): (&str, &str)| {
            format!(
                "[hosts.{name}]\naddress = \"10.0.0.1\"\ntags = [{tags}]\n\
                 enrolment = \"{}\"\nspki = \"{}\"\n",
                "01".repeat(16),
                "02".repeat(32)
            )
        };
        let hosts = [
            ("web1", "\"web\", \"berlin\""),
            ("web2", "\"web\""),
            ("web10", "\"web\", \"berlin\""),
            ("db1", "\"db\", \"berlin\""),
            ("db2", "\"db\""),
        ];
        let text: String = hosts.map(host).concat();
        lariat_base::toml_file::parse(Path::new("hosts.toml"), &text).unwrap()
    }

    fn hosts(text: &str) -> Result<String, String> {
        let targets: Targets = text.parse().map_err(|bad: BadTargets| bad.to_string())?;
        let hosts = targets.select(&inventory()).map_err(|error| error.line())?;
        let shown = hosts.iter().map(|Chosen { host, user }| match user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_string(),
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_hint_can_be_typed_into_a_shell() {
        let quoted = |text: &str| text.parse::<Targets>().map(|targets| targets.quoted());
        assert_eq!(quoted("web-1.example,@db"), Ok("web-1.example,@db".to_owned()));
        assert_eq!(quoted("web[1-2],!web*"), Ok("'web[1-2],!web*'".to_owned()));
    }

    #[test]
    fn union_intersection_and_exclusion() {
        for (text, expected) in [
            ("web1", "web1"),
            ("all", "db1 db2 web1 web2 web10"),
            ("web[1-2,10]", "web1 web2 web10"),
            ("web[1-2]*,web[10]", "web1 web2 web10"),
            ("web*", "web1 web2 web10"),
            ("@berlin", "db1 web1 web10"),
            ("@berlin&@web", "web1 web10"),
            ("db2,web1", "db2 web1"),
            ("db2,db*,db2", "db2 db1"),
            ("all,!web[1-2,10]", "db1 db2"),
            ("!web[1-2,10],all", "db1 db2"),
            ("!@web&@berlin,web*,db1", "web2 db1"),
            ("db1,!web1", "db1"),
            ("web[1,2],db?", "web1 web2 db1 db2"),
            ("bob@web1,ann@@db", "bob@web1 ann@db1 ann@db2"),
            ("bob@all&web1", "bob@web1"),
        ] {
            assert_eq!(hosts(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_matches_nothing_is_an_error_and_a_near_miss_is_named() {
        for (text, error) in [
            ("mail*", "no host matches mail*; try: lariat hosts"),
            ("@none", "no host matches @none; try: lariat hosts"),
            ("@wbe", "no host matches @wbe (did you mean @web?); try: lariat hosts"),
            ("@web&@bd", "no host matches @bd (did you mean @db?); try: lariat hosts"),
            ("@web,@nope", "no host matches @nope; try: lariat hosts"),
            ("@web,zz*", "no host matches zz*; try: lariat hosts"),
            ("db1,@web&db*", "no host matches @web&db*; try: lariat hosts"),
            ("all,!@none", "no host matches @none; try: lariat hosts"),
            ("all,!web*&db*", "no host matches !web*&db*; try: lariat hosts"),
            ("all,!zz?", "no host matches zz?; try: lariat hosts"),
            ("all,!web[1-4]", "no host web[3-4] in this fleet; try: lariat hosts"),
            ("web[1-2],web[50-52]", "no host matches web[50-52]; try: lariat hosts"),
            ("web[1-5]", "no host web[3-5] in this fleet; try: lariat hosts"),
            ("@web&web[1-4]", "no host web[3-4] in this fleet; try: lariat hosts"),
            ("*[1-3]", "no host *3 in this fleet; try: lariat hosts"),
            ("w*[1-3],@web", "no host w*3 in this fleet; try: lariat hosts"),
            (
                "web[1-999999999]",
                "web[1-999999999] names more hosts than this fleet has; try: lariat hosts",
            ),
            ("all,!all", "no host matches all,!all; try: lariat hosts"),
            ("@web&@db", "no host matches @web&@db; try: lariat hosts"),
            ("!web1", "no host matches !web1; try: all,!web1"),
            ("all,!wbe1", "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
            ("wbe1,db1", "no host wbe1 in this fleet (did you mean web1?); try: lariat hosts"),
            ("web1,bob@web1", "web1,bob@web1: web1 is meant with two users"),
        ] {
            assert_eq!(hosts(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn errors_have_a_position() {
        let missing = "a host, a pattern, @TAG or all is missing";
        for (text, error) in [
            ("", format!(r#""", position 1: {missing}"#)),
            ("web1,", format!(r#""web1,", position 6: {missing}"#)),
            ("web1,,db1", format!(r#""web1,,db1", position 6: {missing}"#)),
            ("@web&", format!(r#""@web&", position 6: {missing}"#)),
            ("bob@", format!(r#""bob@", position 5: {missing}"#)),
            ("all,web[1-", r#""all,web[1-", position 8: its ']' is missing"#.into()),
            (
                "db1,web[1,x]",
                r#""db1,web[1,x]", position 11: "x" is not a number or a range such as 01-20"#
                    .into(),
            ),
            ("a b@web1", r#""a b@web1", position 1: "a b" is not a user's name"#.into()),
            (
                "web1 web2",
                r#""web1 web2", position 1: hosts are separated by commas: web1,web2"#.into(),
            ),
            ("!bob@web1", r#""!bob@web1", position 2: what is taken away has no user"#.into()),
            ("all&bob@web1", r#""all&bob@web1", position 5: a user can only begin a term"#.into()),
            ("all&!web1", r#""all&!web1", position 5: a '!' can only begin a term"#.into()),
        ] {
            assert_eq!(hosts(text).unwrap_err(), error, "{text}");
        }
        assert!(hosts("Web1").unwrap_err().contains("is not a host name"));
        assert!(hosts("@we b").unwrap_err().contains("separated by commas: @we,b"));
        assert!(hosts("@we/b").unwrap_err().contains("is not a tag"));
    }

    #[test]
    fn only_a_plain_name_is_one_host() {
        let plain = |text: &str| text.parse::<Targets>().unwrap().plain();
        let web1 = |user: Option<&str>| {
            Some(Chosen { host: "web1".parse().unwrap(), user: user.map(ToOwned::to_owned) })
        };
        assert_eq!(plain("web1"), web1(None));
        assert_eq!(plain("bob@web1"), web1(Some("bob")));
        for several in ["web[1]", "web1,web1", "web1&all", "@web", "all", "web?", "!web1"] {
            assert_eq!(plain(several), None, "{several}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed(text in ".{0,40}") {
            let _ = text.parse::<Targets>();
        }

        #[test]
        fn any_text_of_special_characters_is_parsed(text in "[a-b0-2,&!@*?\\[\\]./-]{0,30}") {
            if let Ok(targets) = text.parse::<Targets>() {
                let _ = targets.select(&inventory());
            }
        }
    }
}
