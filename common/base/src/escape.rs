//! Escapes text that came from a peer or a file system before a person sees it.

use std::fmt::Write;

/// Returns `bytes` as text without control characters (C0, C1, DEL), bidirectional overrides, invisible
/// characters or invalid UTF-8: each such byte becomes `\xNN`, each such character `\u{N}`. A backslash stays
/// as it is.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for letter in part.valid().chars() {
            match letter {
                '\u{0}'..='\u{1f}' | '\u{7f}' => hex(&mut text, letter as u8),
                '\u{80}'..='\u{9f}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}' => unicode(&mut text, letter),
                _ => text.push(letter),
            }
        }
        part.invalid().iter().for_each(|&byte| hex(&mut text, byte));
    }
    text
}

/// Cuts a text after its first `most` characters, and marks the cut with `...`.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn hex(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("a String takes what is written to it");
}

fn unicode(text: &mut String, letter: char) {
    write!(text, "\\u{{{:x}}}", u32::from(letter)).expect("a String takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_stays_and_tricks_do_not() {
        assert_eq!(escape("größe/файл 1".as_bytes()), "größe/файл 1");
        assert_eq!(escape(b"a\x1b[2Jb\n\x7f\xff"), "a\\x1b[2Jb\\x0a\\x7f\\xff");
        assert_eq!(escape("\u{9b}\u{202e}\u{feff}".as_bytes()), "\\u{9b}\\u{202e}\\u{feff}");
    }

    #[test]
    fn a_long_text_is_shortened_between_letters() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größe", 3), "grö...");
        assert_eq!(shortened("", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_that_moves_a_cursor_gets_through(bytes: Vec<u8>) {
            prop_assert!(!escape(&bytes).chars().any(char::is_control));
        }
    }
}
