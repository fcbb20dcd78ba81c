//! How a transfer went: one line on stderr for people, one object on stdout for programs.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::BinaryBytes;
use lariat_common::name::HostName;
use serde::Serialize;

use super::Tally;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output;
use crate::output::json;

/// What a transfer exits with that took too long.
const EXIT_TIMEOUT: u8 = 124;

/// What a process exits with that SIGPIPE has ended.
const EXIT_SIGPIPE: u8 = 128 + 13;

#[derive(Serialize)]
struct Object<'a> {
    host: &'a HostName,
    ok: bool,
    files: u64,
    bytes: u64,
    sent: u64,
    reused: u64,
    seconds: f64,
    error: Option<String>,
}

impl Tally {
    /// Tells of one host, and gives the exit code for it.
    pub(crate) fn report(
        self,
        host: &HostName,
        json: bool,
        verbose: bool,
    ) -> Result<ExitCode, CliError> {
        let took = self.began.elapsed();
        if json {
            output::bytes(&self.object(host)?)?;
        } else {
            for error in &self.errors {
                error.report(verbose);
            }
        }
        self.notes.iter().for_each(|note| output::note(note));
        if self.errors.is_empty() || self.files > 0 {
            output::note(&self.summary(host, took));
        }
        Ok(match self.errors.is_empty() {
            true => ExitCode::SUCCESS,
            false if self.no_reader => ExitCode::from(EXIT_SIGPIPE),
            false if self.timed_out => ExitCode::from(EXIT_TIMEOUT),
            false => ExitCode::from(EXIT_FAILURE),
        })
    }

    /// The line that tells a program.
    pub(crate) fn object(&self, host: &HostName) -> Result<Vec<u8>, CliError> {
        let errors: Vec<String> = self.errors.iter().map(CliError::line).collect();
        json::line(&Object {
            host,
            ok: errors.is_empty(),
            files: self.files,
            bytes: self.bytes,
            sent: self.sent,
            reused: self.reused,
            seconds: self.began.elapsed().as_secs_f64(),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        })
    }

    /// Whether anything has arrived.
    pub(crate) fn has_files(&self) -> bool {
        self.files > 0
    }

    /// What has, for people.
    fn moved(&self) -> String {
        let Self { files, bytes, sent, reused, .. } = *self;
        let plural = if files == 1 { "" } else { "s" };
        let all = format!("{files} file{plural}, {}", BinaryBytes(bytes));
        if self.dry_run {
            return format!("a dry run of {all}");
        }
        format!("{all}: sent {}, reused {}", BinaryBytes(sent), BinaryBytes(reused))
    }

    /// The same for many hosts, with how fast it was.
    pub(crate) fn moved_in(&self, took: Duration) -> String {
        let moved = self.moved();
        if self.dry_run { moved } else { format!("{moved}, {}/s", BinaryBytes(self.rate(took))) }
    }

    /// Bytes a second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn rate(&self, took: Duration) -> u64 {
        (self.bytes as f64 / took.as_secs_f64().max(1e-9)) as u64
    }

    fn summary(&self, host: &HostName, took: Duration) -> String {
        let (moved, seconds) = (self.moved(), took.as_secs_f64());
        if self.dry_run {
            return format!("{host}: {moved}, {seconds:.2} s");
        }
        format!("{host}: {moved}, {seconds:.2} s, {}/s", BinaryBytes(self.rate(took)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_everything_in_it() {
        let mut tally = Tally::new();
        tally.arrived(1, 3 << 20, 1 << 20, 1 << 20);
        insta::assert_snapshot!(
            tally.summary(&"web1".parse().unwrap(), Duration::from_millis(1500)),
            @"web1: 1 file, 3.00 MiB: sent 1.00 MiB, reused 2.00 MiB, 1.50 s, 2.00 MiB/s"
        );
    }

    #[test]
    fn in_a_dry_run_nothing_is_sent_or_reused() {
        let mut tally = Tally { dry_run: true, ..Tally::new() };
        tally.arrived(10, 3 << 20, 0, 0);
        assert_eq!((tally.sent, tally.reused), (0, 0));
        let host = "web1".parse().unwrap();
        let (summary, took) =
            (tally.summary(&host, Duration::from_millis(20)), Duration::from_secs(1));
        insta::assert_snapshot!(summary, @"web1: a dry run of 10 files, 3.00 MiB, 0.02 s");
        insta::assert_snapshot!(tally.moved_in(took), @"a dry run of 10 files, 3.00 MiB");
    }
}
