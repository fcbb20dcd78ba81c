//! A line of a record, for people.

use lariat_base::escape::escape;
use serde_json::Value;

use crate::signal_name::signal_name;

/// A line for people: when, who, what, and how it ended.
pub(super) fn told(line: &Value) -> String {
    let text = |field: &str| line[field].as_str().map(|text| escape(text.as_bytes()));
    let number = |field: &str| line[field].as_u64();
    let words = |field: &str| {
        let words = line[field].as_array()?.iter().map(|word| word.as_str().unwrap_or_default());
        Some(words.map(|word| escape(word.as_bytes())).collect::<Vec<_>>().join(" "))
    };
    let mut told = vec![text("time").unwrap_or_default()];
    told.extend(text("label"));
    told.extend(text("event"));
    told.extend(text("request"));
    told.extend((line["dry_run"] == true).then(|| "(dry run)".to_owned()));
    told.extend(text("target"));
    told.extend(text("user").map(|user| format!("as {user}")));
    told.extend(text("path").or_else(|| words("argv")).map(|what| format!("[{what}]")));
    let mut ends =
        RULES.iter().filter_map(|name| Some(rule(name, line.get(name)?))).collect::<Vec<_>>();
    ends.extend(number("exit").map(|exit| format!("exit {exit}")));
    let signal = number("signal").and_then(|signal| u8::try_from(signal).ok());
    ends.extend(signal.map(signal_name));
    ends.extend(text("rule").map(|rule| format!("rule {rule}")));
    ends.extend(text("error"));
    ends.extend(number("count").map(|count| format!("{count} more")));
    ends.extend(number("files").map(|files| format!("{files} files")));
    ends.extend(number("bytes").map(|bytes| format!("{bytes} bytes")));
    ends.extend(line["seconds"].as_f64().map(|seconds| format!("{seconds:.3} s")));
    let told = told.join(" ");
    if ends.is_empty() { told } else { format!("{told}: {}", ends.join(", ")) }
}

/// What a key may do, as lines about keys tell it.
const RULES: [&str; 14] = [
    "verbs",
    "users",
    "networks",
    "not_before",
    "not_after",
    "push",
    "pull",
    "commands",
    "stdin",
    "connect",
    "listen",
    "max_sessions",
    "max_jobs",
    "park",
];

/// A rule in short: `push /srv/in /srv/up`.
fn rule(name: &str, value: &Value) -> String {
    /// Most items of a list.
    const MOST: usize = 16;
    fn text(value: &Value) -> String {
        match value {
            Value::String(text) => escape(text.as_bytes()),
            // A command's pattern.
            Value::Array(words) => {
                format!("[{}]", words.iter().map(text).collect::<Vec<_>>().join(" "))
            }
            other => escape(other.to_string().as_bytes()),
        }
    }
    let mut words = vec![name.to_owned()];
    match value {
        Value::Bool(true) => {}
        Value::Array(items) => {
            words.extend(items.iter().take(MOST).map(text));
            let more = items.len().saturating_sub(MOST);
            words.extend((more > 0).then(|| format!("and {more} more")));
            words.extend(items.is_empty().then(|| "none".to_owned()));
        }
        value => words.push(text(value)),
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what_and_how_it_ended() {
        let line = r#"{"seq":9,"time":"2026-01-31T00:00:00.000Z","event":"ended","label":"alice@box","request":"run","user":"www","argv":["/bin/sh","-c","ls\u001b[2J"],"exit":3,"bytes":7,"seconds":0.25}"#;
        insta::assert_snapshot!(told(&serde_json::from_str(line).unwrap()), @r"2026-01-31T00:00:00.000Z alice@box ended run as www [/bin/sh -c ls\x1b[2J]: exit 3, 7 bytes, 0.250 s");
        let line = r#"{"seq":2,"time":"T","event":"started"}"#;
        insta::assert_snapshot!(told(&serde_json::from_str(line).unwrap()), @"T started");
    }
}
