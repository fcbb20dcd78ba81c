//! Words the parser's messages in the terms of a file, with what was probably meant.
//!
//! No part of a line is quoted but its key, since the value may be a secret.

use std::ops::Range;

use crate::near::nearest;

/// Most bytes of a key that a message names.
const LONGEST_KEY: usize = 64;

/// A message of the parser about this part of a file's text.
pub(crate) fn reworded(message: &str, text: &str, span: &Range<usize>) -> String {
    of_syntax(message, text, span).unwrap_or_else(|| of_content(message, text, span))
}

/// What is no TOML.
fn of_syntax(message: &str, text: &str, span: &Range<usize>) -> Option<String> {
    let line = line_at(text, span.start);
    let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_key(key));
    let value = line.split_once('=').map(|(_, value)| value.trim()).unwrap_or_default();
    if message.starts_with("duplicate key") {
        let twice = text.get(span.clone()).filter(|twice| is_key(twice))?;
        return Some(format!("{twice} is there twice; remove one of them"));
    }
    if message.contains("invalid basic string") || message.contains("invalid literal string") {
        return Some("the quotes of a text are not closed".to_owned());
    }
    if message.starts_with("missing comma") || message.starts_with("unclosed array") {
        return Some("a ] is missing, or a comma, at the end of a list's item".to_owned());
    }
    if message.starts_with("key with no value") {
        return Some("a key has a value after it: KEY = VALUE".to_owned());
    }
    let is_of_types = ["invalid type", "invalid value", "invalid length"];
    let is_of_types = is_of_types.iter().any(|begins| message.starts_with(begins));
    let is_unquoted = message.starts_with("string values must be quoted")
        || message.starts_with("unexpected ")
        || message.starts_with("invalid ") && !is_of_types;
    match key.filter(|_| is_unquoted) {
        Some(key) if value.is_empty() => Some(format!("{key} has no value")),
        Some(key) if value.starts_with('[') => {
            Some(format!("a text stands in quotes (\"): {key} = [\"...\"]"))
        }
        Some(key) => Some(format!("a text stands in quotes (\"): {key} = \"...\"")),
        None => None,
    }
}

/// What is TOML, and not what is expected there.
fn of_content(message: &str, text: &str, span: &Range<usize>) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (Some(_), [unknown, known @ ..]) =
        (message.strip_prefix("unknown field "), quoted.as_slice())
    {
        let near = nearest(unknown, known.iter().copied());
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        return format!("unknown key {unknown}{near}; the keys here are: {}", known.join(", "));
    }
    if let (Some(_), [missing]) = (message.strip_prefix("missing field "), quoted.as_slice()) {
        return format!("the key {missing} is missing");
    }
    let wrong_type = message.strip_prefix("invalid type: ");
    let Some((found, expected)) = wrong_type.and_then(|text| text.split_once(", expected ")) else {
        return message.to_owned();
    };
    if let ("map", "a sequence", Some(name)) = (found, expected, header(text, span)) {
        return format!("there may be several of these tables, so each is written [[{name}]]");
    }
    let string = found.strip_prefix("string ");
    let expected = match (expected, string) {
        ("a sequence", Some(string)) => {
            format!("a list, such as [{}]", string.replace(',', "\", \""))
        }
        ("a sequence", None) => "a list in [ ]".to_owned(),
        ("a map", _) => "a table".to_owned(),
        (struct_, _) if struct_.starts_with("struct ") => "a table".to_owned(),
        ("a string" | "a borrowed string", _) => "a text in quotes".to_owned(),
        ("a boolean", _) => "true or false, without quotes".to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "usize", _) => "a number, without quotes".to_owned(),
        (other, _) => other.to_owned(),
    };
    let found = match found {
        "sequence" => "a list",
        "map" => "a table",
        found => string.unwrap_or(found),
    };
    format!("it must be {expected}, and not {found}")
}

fn line_at(text: &str, at: usize) -> &str {
    let begin = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

/// Whether it is a key, and not a value.
fn is_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.\"'".contains(c);
    (1..=LONGEST_KEY).contains(&text.len()) && text.chars().all(plain)
}

/// The name in the header of a table, if there is one at this place.
fn header<'a>(text: &'a str, span: &Range<usize>) -> Option<&'a str> {
    let name = line_at(text, span.start).trim().strip_prefix('[')?.split(']').next()?;
    is_key(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only errors are of interest")]
    struct File {
        #[serde(default)]
        address: String,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        step: Vec<File>,
        most: Option<u32>,
    }

    fn said(text: &str) -> String {
        let error = toml::from_str::<File>(text).unwrap_err();
        reworded(error.message().trim(), text, &error.span().unwrap())
    }

    #[test]
    fn syntax_is_told_with_what_to_write() {
        for unquoted in ["10.0.0.1", "127.0.0.1:7433", "web1.example.org", "2027-01-01x", "07"] {
            let text = format!("tags = []\naddress = {unquoted}\n");
            assert_eq!(
                said(&text),
                "a text stands in quotes (\"): address = \"...\"",
                "{unquoted}"
            );
        }
        assert_eq!(said("tags = [web]\n"), r#"a text stands in quotes ("): tags = ["..."]"#);
        assert_eq!(said("tags =\n"), "tags has no value");
        assert_eq!(
            said("address = \"1\"\naddress = \"2\"\n"),
            "address is there twice; remove one of them"
        );
        assert_eq!(said("address = \"x\n"), "the quotes of a text are not closed");
        assert_eq!(said("address: \"x\"\n"), "a key has a value after it: KEY = VALUE");
        assert_eq!(
            said("tags = [\"a\"\nmost = 1\n"),
            "a ] is missing, or a comma, at the end of a list's item"
        );
        assert_eq!(
            said("[step]\naddress = \"x\"\n"),
            "there may be several of these tables, so each is written [[step]]"
        );
    }

    #[test]
    fn a_wrong_type_is_told_in_terms_of_toml() {
        assert_eq!(
            said("tags = \"web\"\n"),
            r#"it must be a list, such as ["web"], and not "web""#
        );
        assert_eq!(
            said("tags = \"web,db\"\n"),
            r#"it must be a list, such as ["web", "db"], and not "web,db""#
        );
        assert_eq!(said("most = \"5\"\n"), r#"it must be a number, without quotes, and not "5""#);
        assert_eq!(said("address = []\n"), "it must be a text in quotes, and not a list");
        assert_eq!(
            said("adress = 1\n"),
            "unknown key adress (did you mean address?); the keys here are: address, tags, step, most"
        );
    }
}
