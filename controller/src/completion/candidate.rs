//! What can be typed next.

/// A text that can stand in the place of the word at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The whole word.
    pub(crate) value: String,
    /// What it means; may be empty.
    pub(crate) help: String,
}

/// Local files that the shell itself completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// Files and directories.
    Any,
    /// Directories only.
    Directories,
}

/// What can be typed next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The words that fit.
    pub(crate) candidates: Vec<Candidate>,
    /// The files that fit as well.
    pub(crate) files: Option<Files>,
}

impl Candidate {
    pub(super) fn new(value: impl Into<String>, help: impl Into<String>) -> Self {
        Self { value: value.into(), help: help.into() }
    }
}

impl Completion {
    /// Those of the candidates that begin with `word`.
    pub(super) fn fitting(candidates: impl IntoIterator<Item = Candidate>, word: &str) -> Self {
        let candidates = candidates.into_iter().filter(|one| one.value.starts_with(word)).collect();
        Self { candidates, files: None }
    }

    /// Local files.
    pub(super) fn files(files: Files) -> Self {
        Self { candidates: Vec::new(), files: Some(files) }
    }
}
