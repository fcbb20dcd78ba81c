//! Messages about notes, which operators leave on a host for each other.
//!
//! ```text
//! controller          agent
//!   ReadNotes    →
//!                ←    NoteList | Failed
//!   WriteNote    →
//!                ←    NoteWritten | Failed
//!   ClearNotes   →
//!                ←    NotesCleared | Failed
//! ```
//!
//! To who runs a login shell the agent says who else is there, by [`OthersHere`](super::status::OthersHere), and each note of others that the key
//! has not seen, by [`NoteLeft`].

use lariat_base::name::KeyId;
use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use crate::grown::Grown;
use crate::limits::MAX_NOTE;

/// Reads notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadNotes {
    /// Only those of others that the key has not seen, which it has seen from then on.
    pub unread: bool,
}

/// Answers [`ReadNotes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteList {
    /// What there is.
    pub list: Grown<Notes>,
}

/// Notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// The notes, the oldest first.
    pub notes: Vec<Grown<Note>>,
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its number on the host.
    pub number: u32,
    /// When it was left, in milliseconds since 1970.
    pub time_ms: u64,
    /// The first id of its author's key.
    pub key: KeyId,
    /// The label that the key had.
    pub label: String,
    /// What it says.
    pub text: String,
}

/// Leaves a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteNote {
    /// What it says: one line.
    pub text: String,
}

/// Confirms that the note is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteWritten {
    /// Its number.
    pub number: u32,
}

/// Clears notes of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearNotes {
    /// Only that of this number, which a key with the verb keys may clear whosever it is.
    pub number: Option<u32>,
}

/// Confirms that notes were cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotesCleared {
    /// How many.
    pub count: u32,
}

/// A note of another key that this one has not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteLeft {
    /// The note.
    pub note: Grown<Note>,
}

impl WriteNote {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        let is_line = !self.text.chars().any(char::is_control) && !self.text.trim().is_empty();
        if is_line && self.text.len() <= MAX_NOTE { Ok(()) } else { Err(Invalid::Note) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line() {
        let check = |text: &str| WriteNote { text: text.to_owned() }.check();
        for good in ["x", "größer \u{202e} als", &"x".repeat(MAX_NOTE)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a\nb", "a\x1b[2J", "\u{9b}", &"x".repeat(MAX_NOTE + 1)] {
            assert_eq!(check(bad), Err(Invalid::Note), "{bad}");
        }
    }
}
