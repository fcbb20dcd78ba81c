//! An error as a person sees it: one line that says what failed, why, and what to do next.

use std::error::Error;
use std::fmt::{Display, Write};
use std::io;
use std::process::ExitCode;

use lariat_base::escape::escape;
use lariat_base::os_error::{io_error, os_error, plain};

use crate::fanout::End;
use crate::output::notes;
use crate::status;

/// What ends a verb. Any error becomes one with `?`; [`during`](Self::during) says what was being
/// done, [`hint`](Self::hint) what to do next.
#[derive(Clone, Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    causes: Vec<String>,
    quiet: bool,
    /// As what it counts, if as anything but a failure of lariat itself.
    end: Option<End>,
}

impl CliError {
    pub(crate) fn new(message: impl Display) -> Self {
        let message = message.to_string();
        Self { message, hint: None, causes: Vec::new(), quiet: false, end: None }
    }

    /// Writing to stdout failed. A reader that went away, as in `lariat hosts | head -1`, has seen
    /// enough and needs no message.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::new(format!("write to stdout: {}", io_error(error))) }
    }

    /// Not told on a screen: who asked for this end knows of it.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Says as what it counts in a fan-out, unless that was said closer to the cause.
    pub(crate) fn counting_as(mut self, end: End) -> Self {
        self.end.get_or_insert(end);
        self
    }

    /// Whether something does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.message.ends_with(&os_error(rustix::io::Errno::NOENT.raw_os_error()))
    }

    /// As what it counts.
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or(End::Errored)
    }

    /// What to exit with for it, where it is all that happened.
    pub(crate) fn status(&self) -> ExitCode {
        ExitCode::from(status::of_one(self.end()))
    }

    /// Whether nobody needs to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Puts what was being done before the message: `enroll web1: ...`.
    pub(crate) fn during(mut self, what: impl Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Puts what follows from it behind the message.
    pub(crate) fn and(mut self, what: &str) -> Self {
        self.message = format!("{}; {what}", self.message);
        self
    }

    /// Puts a word or two before a message that begins with its host: `run on web1 (...): ...`.
    pub(crate) fn before(mut self, what: &str) -> Self {
        self.message = format!("{what} {}", self.message);
        self
    }

    /// What to do next, after `try: `. One that is there already stays: it is closer to the cause.
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        self.next(format!("try: {hint}"))
    }

    /// What to do next, in words that are no command. One that is there already stays.
    pub(crate) fn next(mut self, words: impl Display) -> Self {
        self.hint.get_or_insert_with(|| words.to_string());
        self
    }

    /// The one line, without the program's name.
    pub(crate) fn line(&self) -> String {
        let mut line = self.message.clone();
        if let Some(hint) = &self.hint {
            write!(line, "; {hint}").expect("a String takes what is written to it");
        }
        escape(line.as_bytes())
    }

    /// Tells it on stderr, with every cause if `verbose`.
    pub(crate) fn report(&self, verbose: bool) -> ExitCode {
        if !self.quiet {
            notes::error(&self.line());
            self.because(verbose).iter().for_each(|cause| notes::because(cause));
        }
        self.status()
    }

    /// What [`Self::report`] writes, as text: each line with its end.
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
        // A cause that the line has in it already is not told twice.
        causes.retain(|cause| !line.message.contains(cause.as_str()));
        causes.dedup();
        Self { causes, ..line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_numbers_and_what_was_said_already_are_left_out() {
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
    fn what_comes_from_outside_can_t_move_the_cursor_or_make_a_second_line() {
        let error = CliError::new("no host a\x1b[2J\nb").during("ping").hint("lariat hosts");
        assert_eq!(error.hint("other").line(), "ping: no host a\\x1b[2J\\x0ab; try: lariat hosts");
    }
}
