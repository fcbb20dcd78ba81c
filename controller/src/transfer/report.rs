//! How a transfer went: one line on stderr for people, one object on stdout for programs.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::BinaryBytes;
use serde::Serialize;

use super::Tally;
use crate::error::{CliError, EXIT_FAILURE};
use crate::output;

#[derive(Serialize)]
struct Object<'a> {
    host: &'a str,
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
        host: &str,
        json: bool,
        verbose: bool,
    ) -> Result<ExitCode, CliError> {
        let took = self.began.elapsed();
        if json {
            let errors: Vec<String> = self.errors.iter().map(CliError::line).collect();
            let object = Object {
                host,
                ok: errors.is_empty(),
                files: self.files,
                bytes: self.bytes,
                sent: self.sent,
                reused: self.reused,
                seconds: took.as_secs_f64(),
                error: (!errors.is_empty()).then(|| errors.join("; ")),
            };
            output::line(&serde_json::to_string(&object)?)?;
        } else {
            for error in &self.errors {
                error.report(verbose);
            }
        }
        self.notes.iter().for_each(|note| output::note(note));
        if self.errors.is_empty() || self.files > 0 {
            output::note(&self.summary(host, took));
        }
        Ok(if self.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
    }

    fn summary(&self, host: &str, took: Duration) -> String {
        let Self { files, bytes, sent, reused, .. } = *self;
        let plural = if files == 1 { "" } else { "s" };
        let seconds = took.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (bytes as f64 / seconds.max(1e-9)) as u64;
        format!(
            "{host}: {files} file{plural}, {}: sent {}, reused {}, {seconds:.2} s, {}/s",
            BinaryBytes(bytes),
            BinaryBytes(sent),
            BinaryBytes(reused),
            BinaryBytes(rate),
        )
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
            tally.summary("web1", Duration::from_millis(1500)),
            @"web1: 1 file, 3.00 MiB: sent 1.00 MiB, reused 2.00 MiB, 1.50 s, 2.00 MiB/s"
        );
    }
}
