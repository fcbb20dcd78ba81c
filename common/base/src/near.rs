//! Finds what a mistyped word was meant to be.

/// A word that differs by more edits is another word.
const MOST_EDITS: usize = 2;

/// The one of `known` that is most similar to `word`, unless it is too different.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(word, other);
    let near = known.into_iter().map(|other| (distance(other), other)).min()?;
    // In a short word, this many edits could replace all of it.
    (near.0 <= MOST_EDITS && near.0 < word.len()).then_some(near.1)
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
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("tags", []), None);
    }
}
