//! Reports a transfer: one line on stderr, or one object on stdout.

use std::time::Duration;

use lariat_base::name::HostName;
use serde::Serialize;

use super::Tally;
use crate::error::CliError;
use crate::output::json;
use crate::output::quantity::Bytes;
use crate::output::style::Paint;

#[derive(Serialize)]
struct Object<'a> {
    host: &'a HostName,
    kind: &'static str,
    ok: bool,
    files: u64,
    bytes: u64,
    sent: u64,
    reused: u64,
    changed: u64,
    unchanged: u64,
    deleted: u64,
    streams: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    b3sum: Option<String>,
    error: Option<String>,
}

impl Tally {
    /// The JSON object.
    pub(crate) fn object(&self, host: &HostName) -> Result<Vec<u8>, CliError> {
        let errors: Vec<String> = self.errors.iter().map(CliError::line).collect();
        json::line(&Object {
            host,
            ok: errors.is_empty(),
            kind: self.end().kind(),
            files: self.files,
            bytes: self.bytes,
            sent: self.sent,
            reused: self.reused,
            changed: self.changed(),
            unchanged: self.unchanged(),
            deleted: self.done.deleted,
            streams: self.streams,
            seconds: self.began.elapsed().as_secs_f64(),
            b3sum: self.hash.filter(|_| self.files == 1).map(hex::encode),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        })
    }

    /// Whether any file has arrived.
    pub(crate) fn has_files(&self) -> bool {
        self.files > 0
    }

    /// What was transferred.
    fn moved(&self, paint: Paint) -> String {
        let Self { files, bytes, sent, reused, .. } = *self;
        let plural = if files == 1 { "" } else { "s" };
        let all = format!("{files} file{plural}, {}", Bytes(bytes));
        let changes = self.changes(paint);
        if self.dry_run {
            return format!("a dry run of {all}: {changes}");
        }
        if !self.has_changed() {
            return format!("{all}: {changes}");
        }
        let (word, sent) = (self.word, Bytes(sent));
        format!("{all}: {word} {sent}, reused {}, {changes}", Bytes(reused))
    }

    /// What was changed.
    fn changes(&self, paint: Paint) -> String {
        if !self.has_changed() {
            return "unchanged".to_owned();
        }
        let others = [(self.unchanged(), "unchanged"), (self.done.deleted, "deleted")];
        let others = others.into_iter().filter(|(count, _)| *count > 0);
        let others = others.map(|(count, word)| format!("{count} {word}"));
        let changed = paint.changed(&format!("{} changed", self.changed()));
        std::iter::once(changed).chain(others).collect::<Vec<_>>().join(", ")
    }

    /// What many hosts transferred, with the rate.
    pub(crate) fn moved_in(&self, took: Duration, paint: Paint) -> String {
        let moved = self.moved(paint);
        if self.dry_run || !self.has_changed() {
            moved
        } else {
            format!("{moved}, {}/s", Bytes(self.rate(took)))
        }
    }

    /// Bytes per second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn rate(&self, took: Duration) -> u64 {
        (self.bytes as f64 / took.as_secs_f64().max(1e-9)) as u64
    }

    /// What one host transferred since the tally began.
    pub(crate) fn summary(&self, host: &HostName, paint: Paint) -> String {
        self.summary_in(host, self.began.elapsed(), paint)
    }

    fn summary_in(&self, host: &HostName, took: Duration, paint: Paint) -> String {
        let (moved, seconds) = (self.moved(paint), took.as_secs_f64());
        if self.dry_run || !self.has_changed() {
            return format!("{host}: {moved}, {seconds:.2} s");
        }
        format!("{host}: {moved}, {seconds:.2} s, {}/s", Bytes(self.rate(took)))
    }
}

#[cfg(test)]
mod tests {
    use lariat_client::transfer::Moved;
    use lariat_wire::protocol::tree::Changed;

    use super::*;

    const PLAIN: Paint = Paint(false);

    fn moved(files: u64, size: u64, bytes: u64, done: Changed) -> Moved {
        Moved { files, size, bytes, sent: bytes, streams: 1, done, ..Moved::default() }
    }

    #[test]
    fn the_summary_is_one_line() {
        let mut tally = Tally::default();
        tally.arrived(moved(1, 3 << 20, 1 << 20, Changed::file(true)));
        insta::assert_snapshot!(
            tally.summary_in(&"web1".parse().unwrap(), Duration::from_millis(1500), PLAIN),
            @"web1: 1 file, 3.00 MiB: sent 1.00 MiB, reused 2.00 MiB, 1 changed, 1.50 s, 2.00 MiB/s"
        );
        tally.word = "received";
        let moved = tally.moved(Paint(true));
        assert!(moved.ends_with(": received 1.00 MiB, reused 2.00 MiB, \x1b[33m1 changed\x1b[0m"));
    }

    #[test]
    fn the_summary_counts_changes() {
        let of = |files, others, deleted| {
            let mut tally = Tally::default();
            tally.arrived(moved(5, 10, 3, Changed { files, others, deleted }));
            let summary = tally.summary_in(&"web1".parse().unwrap(), Duration::from_secs(1), PLAIN);
            (tally.changed(), tally.unchanged(), summary)
        };
        let (changed, unchanged, summary) = of(0, 0, 0);
        assert_eq!((changed, unchanged), (0, 5));
        insta::assert_snapshot!(summary, @"web1: 5 files, 10 B: unchanged, 1.00 s");
        let (changed, unchanged, summary) = of(3, 1, 2);
        assert_eq!((changed, unchanged), (3, 2));
        assert!(
            summary.contains(": sent 3 B, reused 7 B, 3 changed, 2 unchanged, 2 deleted, "),
            "{summary}"
        );
        // A directory's new mode counts as a change if no file changed.
        assert_eq!(of(0, 2, 0).0, 2);
        assert_eq!(of(0, 2, 1).0, 0);
    }

    #[test]
    fn a_dry_run_sends_and_reuses_nothing() {
        let mut tally = Tally { dry_run: true, ..Tally::default() };
        tally.arrived(moved(10, 3 << 20, 0, Changed { files: 4, others: 1, deleted: 2 }));
        assert_eq!((tally.sent, tally.reused), (0, 0));
        let host = "web1".parse().unwrap();
        let (summary, took) =
            (tally.summary_in(&host, Duration::from_millis(20), PLAIN), Duration::from_secs(1));
        insta::assert_snapshot!(summary, @"web1: a dry run of 10 files, 3.00 MiB: 4 changed, 6 unchanged, 2 deleted, 0.02 s");
        insta::assert_snapshot!(tally.moved_in(took, PLAIN), @"a dry run of 10 files, 3.00 MiB: 4 changed, 6 unchanged, 2 deleted");
    }
}
