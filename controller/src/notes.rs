//! What hosts tell beside results: notes of other operators, and who else is there. A host can invent both.

use lariat_base::date::clock;
use lariat_base::escape::escape;
use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_client::run::Told;
use lariat_wire::protocol::note::Note;
use lariat_wire::protocol::status::SessionStatus;

use crate::output::style::Paint;

/// Most others that are named.
const MOST: usize = 8;

/// A note as a line: `web1 says, note by bob@laptop: disk 3 is new`.
pub(crate) fn line(host: &HostName, note: &Note, paint: Paint) -> String {
    let label = paint.name(&note.label, &escape(note.label.as_bytes()));
    format!("{host} says, note by {label}: {}", escape(note.text.as_bytes()))
}

/// Who else is there, as a line; `None` if nobody is. `now` is in seconds since 1970.
fn others(host: &HostName, others: &[SessionStatus], now: u64, paint: Paint) -> Option<String> {
    let one = |one: &SessionStatus| {
        let label = paint.name(&one.label, &escape(one.label.as_bytes()));
        let doing = if one.doing.is_empty() { "idle" } else { &one.doing };
        format!("{label} ({}, since {})", escape(doing.as_bytes()), clock(one.since_ms / 1000, now))
    };
    let mut named: Vec<String> = others.iter().take(MOST).map(one).collect();
    let more = others.len() - named.len();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    (!named.is_empty()).then(|| format!("{host} says, also here: {}", named.join(", ")))
}

/// What a host told, as lines.
pub(crate) fn lines(host: &HostName, told: &Told, now: u64, paint: Paint) -> Option<String> {
    match told {
        Told::Note(note) => Some(line(host, note, paint)),
        Told::Others(all) => others(host, all, now, paint),
    }
}

/// Shows, on stderr, the notes that this key has not seen.
pub(crate) async fn show(handle: &HostHandle) {
    // The command itself was done; notes wait for the next one.
    let Ok(notes) = handle.read_notes(true).await else { return };
    for note in notes {
        crate::output::notes::colored(&line(handle.name(), &note, Paint::stderr()));
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{KeyId, SessionId};

    use super::*;

    #[test]
    fn what_a_host_tells_is_a_harmless_line() {
        let host = "web1".parse().unwrap();
        let (key, time_ms) = (KeyId([1; 16]), 1_795_810_556_000);
        let (label, text) = ("bob\x1b".to_owned(), "\u{202e}disk\n3".to_owned());
        let note = Note { number: 1, time_ms, key, label, text };
        insta::assert_snapshot!(line(&host, &note, Paint(false)), @r"web1 says, note by bob\x1b: \u{202e}disk\x0a3");
        let session = |label: &str, doing: &str| SessionStatus {
            session: SessionId([1; 16]),
            key,
            label: label.to_owned(),
            origin: "10.0.0.7:5".to_owned(),
            since_ms: time_ms,
            doing: doing.to_owned(),
        };
        let named = |all: &[SessionStatus]| {
            others(&host, all, time_ms / 1000, Paint(false)).unwrap_or_default()
        };
        assert_eq!(named(&[]), "");
        let two = [session("bob", "shell"), session("eve\n", "")];
        insta::assert_snapshot!(named(&two), @r"web1 says, also here: bob (shell, since 20:15:56Z), eve\x0a (idle, since 20:15:56Z)");
        let many = vec![session("bob", "run"); 20];
        assert!(named(&many).ends_with(", 12 more"));
    }
}
