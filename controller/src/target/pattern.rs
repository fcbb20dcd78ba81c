//! A pattern of host names: `web[01-20]`, `db*`, `rack[1-4,7]-n?`. No inventory.

use std::collections::HashSet;
use std::fmt;

/// Most names that a pattern is spelled out into.
const MAX_NAMES: u64 = 100_000;

/// Most digits of a number in a range, so that every one fits.
pub(super) const MAX_DIGITS: usize = 18;

/// What names are matched against, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    parts: Vec<Part>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// These letters.
    Text(String),
    /// `?`: any one letter.
    One,
    /// `*`: any letters, or none.
    Any,
    /// `[1-3,7]`: one of these numbers.
    Numbers(Vec<Numbers>),
}

/// `01-20/2`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    first: u64,
    last: u64,
    step: u64,
    /// Digits that each has at least, because the first one is written with leading zeros.
    width: usize,
}

/// What is wrong with a part of an expression, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl Pattern {
    /// Whether a text is a pattern and no plain name.
    pub(super) fn is_one(text: &str) -> bool {
        text.contains(['*', '?', '[', ']'])
    }

    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(letter) = text[at..].chars().next() {
            match letter {
                '*' if parts.last() != Some(&Part::Any) => parts.push(Part::Any),
                '*' => {}
                '?' => parts.push(Part::One),
                '[' => {
                    let inside = &text[at + 1..];
                    let end = inside.find(']').ok_or(Wrong::new(at, "its ']' is missing"))?;
                    parts.push(Part::Numbers(list(&inside[..end], at + 1)?));
                    at += end + 1;
                }
                ']' => return Err(Wrong::new(at, "its '[' is missing")),
                'a'..='z' | '0'..='9' | '.' | '-' => match parts.last_mut() {
                    Some(Part::Text(text)) => text.push(letter),
                    _ => parts.push(Part::Text(letter.to_string())),
                },
                _ => {
                    let capital = letter.is_ascii_uppercase();
                    let why = if capital { ", which has no capitals" } else { "" };
                    let message = format!("{letter:?} can't be in a host's name{why}");
                    return Err(Wrong::new(at, message));
                }
            }
            at += letter.len_utf8();
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether a host's name is one of those.
    pub(super) fn matches(&self, name: &str) -> bool {
        matches(&self.parts, name)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    /// The names that it stands for, if it has no wildcards and they are not too many.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        if self.has_wildcards() { None } else { self.members() }
    }

    /// Members of its ranges that match none of the names; wildcards stay as they are. None if there are too
    /// many members.
    pub(super) fn missing<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
        if !self.parts.iter().any(|part| matches!(part, Part::Numbers(_))) {
            return Some(Vec::new());
        }
        let mut members = self.members()?;
        if !self.has_wildcards() {
            let names: HashSet<&str> = names.collect();
            members.retain(|member| !names.contains(member.as_str()));
            return Some(members);
        }
        let names: Vec<&str> = names.filter(|name| self.matches(name)).collect();
        members.retain(|member| {
            let pattern = Self::parse(member);
            !pattern.is_ok_and(|pattern| names.iter().any(|name| pattern.matches(name)))
        });
        Some(members)
    }

    fn has_wildcards(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::One | Part::Any))
    }

    /// Each member of its ranges, if they are not too many.
    fn members(&self) -> Option<Vec<String>> {
        let count = self.parts.iter().map(Part::count);
        if count.into_iter().try_fold(1, |all: u64, n| all.checked_mul(n?))? > MAX_NAMES {
            return None;
        }
        let mut members = vec![String::new()];
        for part in &self.parts {
            let with = |member: &String| {
                part.texts().into_iter().map(|text| format!("{member}{text}")).collect::<Vec<_>>()
            };
            members = members.iter().flat_map(with).collect();
        }
        Some(members)
    }
}

fn matches(parts: &[Part], name: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else { return name.is_empty() };
    match part {
        Part::Text(text) => {
            name.strip_prefix(text.as_str()).is_some_and(|left| matches(rest, left))
        }
        Part::One => {
            let mut letters = name.chars();
            letters.next().is_some() && matches(rest, letters.as_str())
        }
        // Names are 63 bytes at most, and `*` never follows another.
        Part::Any => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| matches(rest, &name[at..])),
        Part::Numbers(list) => {
            let digits = name.bytes().take_while(u8::is_ascii_digit).take(MAX_DIGITS).count();
            (1..=digits).any(|len| {
                let (number, left) = name.split_at(len);
                list.iter().any(|numbers| numbers.has(number)) && matches(rest, left)
            })
        }
    }
}

impl Part {
    fn count(&self) -> Option<u64> {
        match self {
            Self::Text(_) | Self::One | Self::Any => Some(1),
            Self::Numbers(list) => {
                list.iter().map(Numbers::count).try_fold(0, |all: u64, n| all.checked_add(n))
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::One => vec!["?".to_owned()],
            Self::Any => vec!["*".to_owned()],
            Self::Numbers(list) => list.iter().flat_map(Numbers::texts).collect(),
        }
    }
}

impl Numbers {
    fn count(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    fn texts(&self) -> impl Iterator<Item = String> + use<> {
        let Self { first, step, width, .. } = *self;
        (0..self.count()).map(move |n| format!("{:0width$}", first + n * step))
    }

    /// Whether this is one of them, as they are written.
    fn has(&self, digits: &str) -> bool {
        let Ok(number) = digits.parse::<u64>() else { return false };
        let among = (self.first..=self.last).contains(&number)
            && (number - self.first).is_multiple_of(self.step);
        among && format!("{number:0width$}", width = self.width) == digits
    }
}

fn list(text: &str, at: usize) -> Result<Vec<Numbers>, Wrong> {
    let mut at = at;
    text.split(',')
        .map(|part| {
            let numbers = numbers(part, at);
            at += part.len() + 1;
            numbers
        })
        .collect()
}

fn numbers(text: &str, at: usize) -> Result<Numbers, Wrong> {
    let (range, step) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |digits: &str| {
        let fits = (1..=MAX_DIGITS).contains(&digits.len());
        let good = fits && digits.bytes().all(|digit| digit.is_ascii_digit());
        let wrong = || Wrong::new(at, format!("{text:?} is not a number or a range such as 01-20"));
        if good { digits.parse::<u64>().map_err(|_| wrong()) } else { Err(wrong()) }
    };
    let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let width = if padded(first) { first.len() } else { 1 };
    if padded(last) && last.len() != first.len() {
        return Err(Wrong::new(at, format!("the ends of {text:?} have different lengths")));
    }
    let (start, end) = (number(first)?, number(last)?);
    let step = step.map_or(Ok(1), number)?;
    if start > end {
        return Err(Wrong::new(at, format!("{text:?} ends before it begins")));
    }
    if step == 0 {
        return Err(Wrong::new(at, format!("{text:?} has a step of 0")));
    }
    Ok(Numbers { first: start, last: end, step, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
        let pattern = Pattern::parse(pattern).unwrap();
        names.iter().copied().filter(|name| pattern.matches(name)).collect()
    }

    #[test]
    fn names_match_as_they_are_written() {
        let web = ["web1", "web2", "web01", "web10", "web010", "web", "web1a", "db1"];
        assert_eq!(matching("web[1-10]", &web), ["web1", "web2", "web10"]);
        assert_eq!(matching("web[01-10]", &web), ["web01", "web10"]);
        assert_eq!(matching("web[1,10]", &web), ["web1", "web10"]);
        assert_eq!(matching("web[0-10/2]", &web), ["web2", "web10"]);
        assert_eq!(matching("web*", &web), web[..7]);
        assert_eq!(matching("web?", &web), ["web1", "web2"]);
        assert_eq!(matching("*1", &web), ["web1", "web01", "db1"]);
        assert_eq!(matching("web[1]*", &web), ["web1", "web10", "web1a"]);
        assert_eq!(matching("*[1-2]?", &web), ["web10", "web010", "web1a"]);
        assert_eq!(matching("**b**1", &web), ["web1", "web01", "db1"]);
    }

    #[test]
    fn a_pattern_without_wildcards_is_a_list() {
        let names = |text| Pattern::parse(text).unwrap().names();
        let list = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names("web[08-10]"), list(&["web08", "web09", "web10"]));
        assert_eq!(names("r[1-2]-n[3,5]"), list(&["r1-n3", "r1-n5", "r2-n3", "r2-n5"]));
        assert_eq!(names("n[1-7/3]"), list(&["n1", "n4", "n7"]));
        assert_eq!(names("web*"), None);
        assert_eq!(names("[0-999999999999999999][0-999999999999999999]"), None);
    }

    #[test]
    fn members_of_a_range_that_match_nothing_are_missing() {
        let missing = |text, names: &[&str]| {
            Pattern::parse(text)
                .unwrap()
                .missing(names.iter().copied())
                .map(|names| names.join(" "))
        };
        let web = ["web1", "web2", "web10", "db1"];
        assert_eq!(missing("web[1-3]", &web).as_deref(), Some("web3"));
        assert_eq!(missing("web[1-3]*", &web).as_deref(), Some("web3*"));
        assert_eq!(missing("*[1-2]", &web).as_deref(), Some(""));
        assert_eq!(missing("w?b[1,3]", &web).as_deref(), Some("w?b3"));
        assert_eq!(missing("x*", &web).as_deref(), Some(""));
        assert_eq!(missing("[0-999999999999999999]", &web), None);
    }

    #[test]
    fn a_mistake_is_told_where_it_is() {
        let wrong = |text| {
            let wrong = Pattern::parse(text).unwrap_err();
            format!("{}: {}", wrong.at, wrong.message)
        };
        assert_eq!(wrong("web[1-2"), "3: its ']' is missing");
        assert_eq!(wrong("web1]"), "4: its '[' is missing");
        assert_eq!(wrong("web[1-2,x]"), r#"8: "x" is not a number or a range such as 01-20"#);
        assert_eq!(wrong("web[]"), r#"4: "" is not a number or a range such as 01-20"#);
        assert_eq!(wrong("web[9-1]"), r#"4: "9-1" ends before it begins"#);
        assert_eq!(wrong("web[1-05]"), r#"4: the ends of "1-05" have different lengths"#);
        assert_eq!(wrong("web[1-5/0]"), r#"4: "1-5/0" has a step of 0"#);
        assert_eq!(wrong("we_b*"), "2: '_' can't be in a host's name");
        assert_eq!(wrong("Web*"), "0: 'W' can't be in a host's name, which has no capitals");
        assert_eq!(
            wrong("[1-9999999999999999999]"),
            r#"1: "1-9999999999999999999" is not a number or a range such as 01-20"#
        );
    }
}
