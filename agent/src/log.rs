//! The agent's log: lines on stderr, which systemd keeps.
//!
//! If stderr is the journal's stream, a line begins with its priority (sd-daemon(3)) and has no time, since
//! the journal adds one.
//!
//! Text that came from a peer goes through [`lariat_base::escape`] before it is logged. Secrets are never
//! logged.

use std::fmt;
use std::io::{self, IsTerminal};

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The variable that may set a level other than `info`.
const LEVEL: &str = "RUST_LOG";

/// The variable in which systemd names the journal's stream (systemd.exec(5)).
const JOURNAL: &str = "JOURNAL_STREAM";

/// Starts logging. A panic is logged as one line.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok());
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level.unwrap_or(LevelFilter::INFO));
    if is_journal() {
        builder.with_ansi(false).event_format(Journal::default()).init();
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let line = panic.to_string().replace('\n', " ");
        tracing::error!("this should not have happened: {line}");
    }));
}

/// Whether stderr is the journal's stream, and has not been redirected since.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var(JOURNAL) else { return false };
    fstat(rustix::stdio::stderr()).is_ok_and(|stderr| names(&stream, stderr.st_dev, stderr.st_ino))
}

/// Whether `DEVICE:INODE` names this file.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

/// Formats a line for the journal.
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        let format = Format::default().without_time().with_level(false).with_target(false);
        Self(format.with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_the_journal_is_its_priority_and_its_words() {
        let lines = Lines::default();
        let made = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || made.clone())
            .with_ansi(false)
            .event_format(Journal::default())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::error!("one");
            tracing::warn!(peer = 7, "two");
            tracing::info!("three");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<3>one\n<4>two peer=7\n<6>three\n");
    }

    #[test]
    fn only_the_journals_own_stream_is_the_journal() {
        assert!(names("8:31", 8, 31));
        for other in ["8:32", "9:31", "8", "8:", ":31", "", "8:31:1", "x:31"] {
            assert!(!names(other, 8, 31), "{other}");
        }
    }
}
