//! Errors for users: one line that says what failed, why, and what to do next.

use std::error::Error;
use std::fmt::{Display, Write};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_base::os_error::{io_error, os_error, plain};

use crate::fanout::End;
use crate::output::notes;
use crate::status;

/// The error of a verb. Any error converts to it with `?`; [`during`](Self::during) adds what was being done,
/// [`hint`](Self::hint) what to do next.
#[derive(Clone, Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    causes: Vec<String>,
    quiet: bool,
    /// Its classification, unless it is a failure of lariat itself.
    end: Option<End>,
    /// The cause is that the reader of the output is gone.
    no_reader: bool,
}

impl CliError {
    pub(crate) fn new(message: impl Display) -> Self {
        let message = message.to_string();
        Self { message, hint: None, causes: Vec::new(), quiet: false, end: None, no_reader: false }
    }

    /// Writing to stdout failed. A closed pipe, as in `lariat hosts | head -1`, needs no message, and has a status of
    /// its own.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        let error = Self::new(format!("write to stdout: {}", io_error(error)));
        Self { quiet: gone, no_reader: gone, ..error }
    }

    /// Work ended because the reader of its output is gone.
    pub(crate) fn no_reader() -> Self {
        Self::stdout(&io::ErrorKind::BrokenPipe.into())
    }

    /// The time limit of `--timeout` is over.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        let error = Self::new(format!("timed out after {} s", limit.as_secs_f32()));
        error.counting_as(End::TimedOut)
    }

    /// Suppresses the message on stderr: the user caused this end.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Sets the classification in a fan-out, unless one was set closer to the cause.
    pub(crate) fn counting_as(mut self, end: End) -> Self {
        self.end.get_or_insert(end);
        self
    }

    /// Whether the cause is that something does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.message.ends_with(&os_error(rustix::io::Errno::NOENT.raw_os_error()))
    }

    /// The classification.
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or(End::Errored)
    }

    /// The exit status on one host, if the classification does not determine it.
    pub(crate) fn own_status(&self) -> Option<u8> {
        self.no_reader.then_some(status::NO_READER)
    }

    /// The exit status if nothing else happened.
    fn status(&self) -> ExitCode {
        ExitCode::from(self.own_status().unwrap_or_else(|| status::of_one(self.end())))
    }

    /// Whether the message is suppressed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Adds what was being done before the message: `enroll web1: ...`.
    pub(crate) fn during(mut self, what: impl Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Appends a consequence to the message.
    pub(crate) fn and(mut self, what: &str) -> Self {
        self.message = format!("{}; {what}", self.message);
        self
    }

    /// Adds a word or two before a message that begins with its host: `run on web1 (...): ...`.
    pub(crate) fn before(mut self, what: &str) -> Self {
        self.message = format!("{what} {}", self.message);
        self
    }

    /// Adds a command to try next, after `try: `. An earlier hint stays, because it is closer to the cause.
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        self.next(format!("try: {hint}"))
    }

    /// Adds what to do next, as text. An earlier hint stays.
    pub(crate) fn next(mut self, words: impl Display) -> Self {
        self.hint.get_or_insert_with(|| words.to_string());
        self
    }

    /// The message in one line, without the program's name.
    pub(crate) fn line(&self) -> String {
        let mut line = self.message.clone();
        if let Some(hint) = &self.hint {
            write!(line, "; {hint}").expect("a String takes what is written to it");
        }
        escape(line.as_bytes())
    }

    /// Writes the message to stderr, with every cause if `verbose`.
    pub(crate) fn report(&self, verbose: bool) -> ExitCode {
        if !self.quiet {
            notes::error(&self.line());
            self.because(verbose).iter().for_each(|cause| notes::because(cause));
        }
        self.status()
    }

    /// The text that [`Self::report`] writes.
    pub(crate) fn told(&self, verbose: bool) -> String {
        if self.quiet {
            return String::new();
        }
        let mut told = format!("lariat: {}\n", self.line());
        for cause in self.because(verbose) {
            told.push_str(&escape(cause.as_bytes()));
            told.push('\n');
        }
        told
    }

    fn because(&self, verbose: bool) -> Vec<String> {
        let causes = self.causes.iter().filter(|_| verbose);
        causes.map(|cause| format!("  because: {cause}")).collect()
    }
}

impl<E: Error> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let io = cause.downcast_ref::<io::Error>();
            causes.push(io.map_or_else(|| cause.to_string(), io_error));
            source = cause.source();
        }
        let line = Self::new(plain(&error.to_string()));
        // Causes that are part of the message are not repeated.
        causes.retain(|cause| !line.message.contains(cause.as_str()));
        causes.dedup();
        Self { causes, ..line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_and_repeated_causes_are_omitted() {
        #[derive(Debug, thiserror::Error)]
        #[error("open it: {}", io_error(.0))]
        struct Opening(#[source] io::Error);

        let error = CliError::from(io::Error::from_raw_os_error(2));
        assert_eq!(error.line(), "no such file or directory");
        let error = CliError::from(Opening(io::Error::from_raw_os_error(2)));
        assert_eq!(error.line(), "open it: no such file or directory");
        assert!(error.causes.is_empty(), "{:?}", error.causes);
    }

    #[test]
    fn control_characters_are_escaped() {
        let error = CliError::new("no host a\x1b[2J\nb").during("ping").hint("lariat hosts");
        assert_eq!(error.hint("other").line(), "ping: no host a\\x1b[2J\\x0ab; try: lariat hosts");
    }
}
