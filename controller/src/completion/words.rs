//! Splits a command line that is being typed into words.

/// The words of a line, without quotes, as far as it is typed; the last one is at the cursor, and may be empty.
pub(crate) fn split(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None | Some('"'), '\\') => word.extend(letters.next()),
            (None, ' ' | '\t' | '\n') => {
                // Several spaces are one.
                if !word.is_empty() || words.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(letter),
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell_and_the_last_one_may_be_unfinished() {
        for (line, words) in [
            ("lariat run we", &["lariat", "run", "we"][..]),
            ("lariat run ", &["lariat", "run", ""]),
            ("lariat  run  'we b", &["lariat", "run", "we b"]),
            (r#"lariat push a\ b "c\"d" w"#, &["lariat", "push", "a b", "c\"d", "w"]),
            ("", &[""]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
