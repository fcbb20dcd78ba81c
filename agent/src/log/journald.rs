//! The journal's own protocol: each line with its fields, so that `journalctl LARIAT_KEY=...` finds what a key did.
//!
//! A message is a datagram of fields, `NAME=value` and a newline each; a value with a newline has its length before
//! it instead (systemd's "Native Journal Protocol").

use std::fmt::{self, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What stands before the names of our own fields.
const PREFIX: &str = "LARIAT_";

/// Sends events to the journal.
pub(super) struct Journald {
    socket: UnixDatagram,
    /// Named anew for each message: the journal may be restarted.
    journal: PathBuf,
}

impl Journald {
    /// The journal that listens there.
    pub(super) fn at(journal: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(journal)?;
        Ok(Self { socket: UnixDatagram::unbound()?, journal: journal.to_owned() })
    }
}

/// Fields, as they are sent and as the message shows them.
#[derive(Default)]
struct Fields {
    sent: Vec<u8>,
    shown: Vec<String>,
    message: String,
}

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        self.sent.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.sent.push(b'\n');
            self.sent.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.sent.push(b'=');
        }
        self.sent.extend_from_slice(value.as_bytes());
        self.sent.push(b'\n');
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            let name = format!("{PREFIX}{}", field.name().to_ascii_uppercase());
            self.put(&name, &text);
            self.shown.push(format!("{}={text}", field.name()));
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journald {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (mut fields, mut message) = (Fields::default(), String::new());
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.sent.extend_from_slice(&of_span.sent);
                let _ = write!(message, "{}{{{}}}: ", span.name(), of_span.shown.join(" "));
            }
        }
        message.push_str(&fields.message);
        for shown in &fields.shown {
            let _ = write!(message, " {shown}");
        }
        fields.put("MESSAGE", &message);
        fields.put("PRIORITY", &priority(*event.metadata().level()).to_string());
        fields.put("SYSLOG_IDENTIFIER", "lariatd");
        // A journal that is full or restarts loses it, as it would a line on stderr.
        let _ = self.socket.send_to(&fields.sent, &self.journal);
    }
}

/// The syslog priority of a level.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_message_has_the_fields_of_its_session() {
        let directory = crate::private_directory();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let log = tracing_subscriber::registry().with(Journald::at(&path).unwrap());
        tracing::subscriber::with_default(log, || {
            let span = tracing::info_span!("session", id = 7, key = %"alice@box");
            span.in_scope(|| tracing::warn!(peer = %"two\nlines", "run job"));
        });
        let mut buffer = [0; 1024];
        let len = journal.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..len]);
        let lines: Vec<&str> = text.lines().collect();
        for line in
            ["LARIAT_ID=7", "LARIAT_KEY=alice@box", "PRIORITY=4", "SYSLOG_IDENTIFIER=lariatd"]
        {
            assert!(lines.contains(&line), "{line} in {text}");
        }
        assert!(text.contains("LARIAT_PEER\n\u{9}\0\0\0\0\0\0\0two\nlines\n"), "{text:?}");
        assert!(
            text.contains("session{id=7 key=alice@box}: run job peer=two\nlines\n"),
            "{text:?}"
        );
    }
}
