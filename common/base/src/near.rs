//! Finds what a mistyped word was meant to be.

use std::cmp::Reverse;

/// A shorter word is the beginning of too many others.
const SHORTEST_BEGINNING: usize = 3;

/// The one of `known` that is most similar to `word`, unless it is too different: the one with the fewest edits (letters
/// more, fewer, replaced or in another order), and of several the one that begins most like `word`. A word that only
/// begins one of `known` is taken for that one.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let rank = |other: &'a str| {
        (strsim::damerau_levenshtein(word, other), Reverse(same_beginning(word, other)), other)
    };
    let near = known.iter().map(|other| rank(other)).min();
    if let Some((edits, _, other)) = near
        && edits <= most_edits(word)
    {
        return Some(other);
    }
    let is_beginning = word.chars().count() >= SHORTEST_BEGINNING;
    let mut longer = known.into_iter().filter(|other| is_beginning && other.starts_with(word));
    longer.next().filter(|first| longer.all(|other| other == *first))
}

/// A word that differs by more edits is another word. In a short one, few of them replace most of it.
fn most_edits(word: &str) -> usize {
    match word.chars().count() {
        0 | 1 => 0,
        2..=4 => 1,
        5..=8 => 2,
        _ => 3,
    }
}

/// How many letters two words have in common at their beginning.
fn same_beginning(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_found_and_another_word_is_not() {
        let known = ["address", "tags", "via"];
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("tag", known), Some("tags"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("ab", known), None);
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("tags", []), None);
    }

    #[test]
    fn letters_in_another_order_are_one_edit() {
        let verbs = ["run", "rsh", "hosts", "status", "push", "pull", "note", "last", "logs"];
        for (typed, meant) in
            [("rnu", "run"), ("statsu", "status"), ("hsots", "hosts"), ("psuh", "push")]
        {
            assert_eq!(nearest(typed, verbs), Some(meant), "{typed}");
        }
        for other in ["rm", "exec", "rest", "pxsx"] {
            assert_eq!(nearest(other, verbs), None, "{other}");
        }
    }

    #[test]
    fn of_several_the_one_that_begins_alike_is_meant() {
        assert_eq!(nearest("web13", ["beb1", "web1", "weba3"]), Some("web1"));
        assert_eq!(nearest("shel", ["bhel", "shell", "rsh"]), Some("shell"));
        assert_eq!(nearest("web3", ["db3", "web1", "web2"]), Some("web1"));
    }

    #[test]
    fn a_beginning_is_enough_if_it_is_of_one_word() {
        assert_eq!(nearest("comp", ["completions", "can"]), Some("completions"));
        assert_eq!(nearest("audi", ["audit-log", "audit-logs"]), None);
        assert_eq!(nearest("co", ["completions"]), None);
    }
}
