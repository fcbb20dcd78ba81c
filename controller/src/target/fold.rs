//! Many names as one short expression, `web[01-40]`: the inverse of spelling a pattern out.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::pattern::MAX_DIGITS;

/// Writes names as an expression that stands for exactly these, in natural order.
pub(crate) fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    // A name may have several numbers; the one that most others differ in is folded.
    let mut alike: BTreeMap<Shape<'_>, usize> = BTreeMap::new();
    for name in &names {
        shapes(name).for_each(|(shape, _)| *alike.entry(shape).or_default() += 1);
    }
    let mut groups: BTreeMap<Shape<'_>, Vec<&str>> = BTreeMap::new();
    let mut texts = Vec::new();
    for name in &names {
        // Of equally many the last number, which counts the hosts more often than the racks.
        match shapes(name).max_by_key(|(shape, _)| alike[shape]) {
            Some((shape, digits)) => groups.entry(shape).or_default().push(digits),
            None => texts.push((*name).to_owned()),
        }
    }
    texts.extend(groups.into_iter().map(
        |(Shape { before, after }, digits)| match digits.as_slice() {
            [one] => format!("{before}{one}{after}"),
            _ => format!("{before}[{}]{after}", ranges(&digits)),
        },
    ));
    texts.sort_by(|a, b| natural(a, b));
    texts.join(",")
}

/// A name without one of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape<'a> {
    before: &'a str,
    after: &'a str,
}

/// Each number of a name, and the name without it.
fn shapes(name: &str) -> impl Iterator<Item = (Shape<'_>, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + name[at..].find(|c: char| c.is_ascii_digit())?;
            let rest = &name[start..];
            let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            at = start + len;
            if len <= MAX_DIGITS {
                let shape = Shape { before: &name[..start], after: &name[at..] };
                return Some((shape, &name[start..at]));
            }
        }
    })
}

/// Numbers as ranges, each written as its numbers are.
fn ranges(digits: &[&str]) -> String {
    let padded: BTreeSet<usize> =
        digits.iter().filter(|text| is_padded(text)).map(|text| text.len()).collect();
    // A number that fills the width of padded ones goes on with their range.
    let width = |text: &str| if padded.contains(&text.len()) { text.len() } else { 0 };
    let mut sorted: Vec<(usize, u64, &str)> =
        digits.iter().map(|text| (width(text), text.parse().unwrap_or_default(), *text)).collect();
    sorted.sort_unstable();
    let next = |&(width, number, _): &(usize, u64, &str), other: &(usize, u64, &str)| {
        (width, number + 1) == (other.0, other.1)
    };
    let runs = sorted.chunk_by(next).map(|run| match run {
        [(_, _, first), .., (_, _, last)] => format!("{first}-{last}"),
        one => one.iter().map(|(_, _, text)| *text).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

fn is_padded(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

/// Orders names as people do: `web2` before `web10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(x), Some(y)) = (left.bytes().next(), right.bytes().next()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (x, y) = (take_digits(&mut left), take_digits(&mut right));
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            let (x, y) = (take_letter(&mut left), take_letter(&mut right));
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn take_digits<'a>(text: &mut &'a str) -> &'a str {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    *text = rest;
    digits
}

fn take_letter(text: &mut &str) -> Option<char> {
    let mut letters = text.chars();
    let letter = letters.next();
    *text = letters.as_str();
    letter
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::expression::Targets;
    use super::*;

    #[test]
    fn names_that_differ_in_one_number_are_one_word() {
        let folded = |names: &str| fold(names.split(' '));
        assert_eq!(folded("web03 web01 web02"), "web[01-03]");
        assert_eq!(folded("web1 web2 web3 web10 db"), "db,web[1-3,10]");
        assert_eq!(folded("web08 web09 web10 web11"), "web[08-11]");
        assert_eq!(folded("web8 web9 web10"), "web[8-10]");
        assert_eq!(folded("web1 web01 web2 web02"), "web[1-2,01-02]");
        assert_eq!(folded("n1.dc2 n2.dc2 n3.dc2 n1.dc1"), "n1.dc1,n[1-3].dc2");
        assert_eq!(folded("web1"), "web1");
        assert_eq!(folded("web1 web1"), "web1");
        assert_eq!(fold([]), "");
        assert_eq!(folded("42 43"), "[42-43]");
    }

    #[test]
    fn order_is_peoples() {
        let mut names = ["web10", "web2", "web", "web02", "db1", "web2a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["db1", "web", "web02", "web2", "web2a", "web10"]);
    }

    proptest! {
        #[test]
        fn unfolding_gives_back_what_was_folded(
            names in proptest::collection::btree_set(
                "[a-c]{0,2}[0-9]{1,3}(-[a-b]?[0-9]{0,2})?(\\.x)?[a-b]", 1..60,
            ),
        ) {
            let folded = fold(names.iter().map(String::as_str));
            let expression: Targets = folded.parse().unwrap();
            let unfolded: BTreeSet<String> = expression.names().unwrap().into_iter().collect();
            prop_assert_eq!(unfolded, names);
        }

        #[test]
        fn natural_order_is_an_order(
            a in "[a-b0-3]{0,6}", b in "[a-b0-3]{0,6}", c in "[a-b0-3]{0,6}",
        ) {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
