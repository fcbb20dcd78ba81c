//! The notes of a host, as data: who may leave and clear them, and who has seen them. No I/O.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lariat_base::name::KeyId;
use serde::{Deserialize, Serialize};

/// Most notes of a host.
pub(super) const MOST: usize = 32;

/// Most notes that a key may leave within [`WINDOW`].
const OFTEN: usize = 4;
const WINDOW: Duration = Duration::from_secs(60);

/// A key that leaves a note again within this many milliseconds leaves one note.
const AGAIN_MS: u64 = 60_000;

/// Most keys that are known to have seen a note.
const SEERS: usize = 256;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its number on this host.
    pub number: u32,
    /// When it was left, in milliseconds since 1970.
    pub time_ms: u64,
    /// The first id of its author's key.
    pub owner: String,
    /// The label that the key had.
    pub label: String,
    /// What it says.
    pub text: String,
    /// The first ids of the keys that have seen it.
    #[serde(default)]
    pub seen: Vec<String>,
}

/// Why notes stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are as many as there may be.
    #[error("there are {MOST} notes here already; clear some: note HOST --clear=N")]
    Full,
    /// The key has left many within a minute.
    #[error("no more than {OFTEN} notes a minute")]
    TooOften,
    /// There is no such note.
    #[error("there is no note {0} here")]
    NoSuch(u32),
    /// Another key left it.
    #[error("note {0} is another key's, which only a key with the verb keys may clear")]
    NotOwn(u32),
    /// They can't be kept.
    #[error("it can't be kept: {0}")]
    Io(String),
}

/// The notes of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    notes: Vec<Note>,
    /// When each key has left its newest notes.
    recent: HashMap<KeyId, Vec<Instant>>,
}

impl Board {
    /// The notes that a file has, one a line. Lines that are none are left out.
    pub(super) fn parse(text: &str) -> Self {
        let notes = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        Self { notes: notes.take(MOST).collect(), recent: HashMap::new() }
    }

    /// The file's content.
    pub(super) fn to_text(&self) -> String {
        let line = |note: &Note| {
            serde_json::to_string(note).expect("texts and numbers can be written as JSON") + "\n"
        };
        self.notes.iter().map(line).collect()
    }

    /// All notes, the oldest first.
    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The notes of others that a key has not seen.
    pub(super) fn unread(&self, owner: KeyId) -> impl Iterator<Item = &Note> {
        let owner = owner.to_string();
        self.notes.iter().filter(move |note| note.owner != owner && !note.seen.contains(&owner))
    }

    /// Leaves a note. Its author has seen it.
    pub(super) fn add(
        &mut self,
        owner: KeyId,
        label: &str,
        text: String,
        (time_ms, now): (u64, Instant),
    ) -> Result<&Note, Refused> {
        self.recent.retain(|_, times| {
            times.retain(|time| now.saturating_duration_since(*time) < WINDOW);
            !times.is_empty()
        });
        let owner_text = owner.to_string();
        // A controller whose connection broke asks again.
        let is_again = |note: &Note| {
            note.owner == owner_text
                && note.text == text
                && time_ms.saturating_sub(note.time_ms) < AGAIN_MS
        };
        if let Some(at) = self.notes.iter().position(is_again) {
            return Ok(&self.notes[at]);
        }
        if self.recent.get(&owner).is_some_and(|times| times.len() >= OFTEN) {
            return Err(Refused::TooOften);
        }
        if self.notes.len() >= MOST {
            return Err(Refused::Full);
        }
        self.recent.entry(owner).or_default().push(now);
        let number =
            self.notes.iter().map(|note| note.number).max().map_or(1, |last| last.wrapping_add(1));
        let (owner, label) = (owner_text, label.to_owned());
        self.notes.push(Note { number, time_ms, owner, label, text, seen: Vec::new() });
        Ok(&self.notes[self.notes.len() - 1])
    }

    /// A key has seen the notes with these numbers. Returns whether that is news.
    pub(super) fn seen(&mut self, owner: KeyId, numbers: &[u32]) -> bool {
        let (owner, mut is_news) = (owner.to_string(), false);
        for note in self.notes.iter_mut().filter(|note| numbers.contains(&note.number)) {
            if note.owner != owner && !note.seen.contains(&owner) {
                // Whoever saw it first may see it once more.
                let extra = (note.seen.len() + 1).saturating_sub(SEERS);
                note.seen.drain(..extra);
                note.seen.push(owner.clone());
                is_news = true;
            }
        }
        is_news
    }

    /// Clears a key's own notes, or one of this number. Returns how many.
    pub(super) fn clear(
        &mut self,
        owner: KeyId,
        may_clear_others: bool,
        number: Option<u32>,
    ) -> Result<usize, Refused> {
        let (owner, before) = (owner.to_string(), self.notes.len());
        match number {
            None => self.notes.retain(|note| note.owner != owner),
            Some(number) => {
                let note = self.notes.iter().find(|note| note.number == number);
                let note = note.ok_or(Refused::NoSuch(number))?;
                if note.owner != owner && !may_clear_others {
                    return Err(Refused::NotOwn(number));
                }
                self.notes.retain(|note| note.number != number);
            }
        }
        Ok(before - self.notes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: KeyId = KeyId([1; 16]);
    const BOB: KeyId = KeyId([2; 16]);

    fn leave(board: &mut Board, owner: KeyId, now: Instant) -> Result<u32, Refused> {
        let text = format!("hi {}", board.notes().len());
        board.add(owner, "a@box", text, (5, now)).map(|note| note.number)
    }

    /// An agent of another version reads these bytes.
    #[test]
    fn the_file_is_these_bytes() {
        let mut board = Board::default();
        board.add(ALICE, "a@box", "hi \"bob\"".to_owned(), (5, Instant::now())).unwrap();
        assert!(board.seen(BOB, &[1]));
        let (alice, bob) = (ALICE.to_string(), BOB.to_string());
        let text = format!(
            "{{\"number\":1,\"time_ms\":5,\"owner\":\"{alice}\",\"label\":\"a@box\",\"text\":\"hi \\\"bob\\\"\",\"seen\":[\"{bob}\"]}}\n"
        );
        assert_eq!(board.to_text(), text);
        assert_eq!(Board::parse(&text).notes(), board.notes());
        let newer = text.replace("\"seen\"", "\"more\":1,\"seen\"");
        assert_eq!(Board::parse(&format!("{{\n\n{newer}x\n")).notes(), board.notes());
    }

    #[test]
    fn a_note_that_is_left_again_at_once_is_one() {
        let (mut board, now) = (Board::default(), Instant::now());
        let mut leave = |owner, time_ms| {
            board.add(owner, "a", "hi".to_owned(), (time_ms, now)).map(|note| note.number)
        };
        assert_eq!([leave(ALICE, 5), leave(ALICE, 59_000), leave(BOB, 6)], [Ok(1), Ok(1), Ok(2)]);
        assert_eq!(leave(ALICE, 60_005), Ok(3));
    }

    #[test]
    fn others_notes_are_unread_until_they_are_seen() {
        let mut board = Board::default();
        let now = Instant::now();
        let numbers = |board: &Board, owner| -> Vec<u32> {
            board.unread(owner).map(|note| note.number).collect()
        };
        assert_eq!(leave(&mut board, ALICE, now), Ok(1));
        assert_eq!(leave(&mut board, BOB, now), Ok(2));
        assert_eq!((numbers(&board, ALICE), numbers(&board, BOB)), (vec![2], vec![1]));
        assert!(board.seen(BOB, &[1, 2, 7]) && !board.seen(BOB, &[1]));
        assert_eq!((numbers(&board, ALICE), numbers(&board, BOB)), (vec![2], vec![]));
        for byte in 10..=255 {
            board.seen(KeyId([byte; 16]), &[2]);
        }
        assert!(board.notes()[1].seen.len() <= SEERS);
    }

    #[test]
    fn there_are_never_too_many_and_never_many_at_once() {
        let (mut board, now) = (Board::default(), Instant::now());
        for number in 1..=4 {
            assert_eq!(leave(&mut board, ALICE, now), Ok(number));
        }
        assert_eq!(leave(&mut board, ALICE, now), Err(Refused::TooOften));
        assert_eq!(leave(&mut board, BOB, now), Ok(5), "another key");
        for count in 1_u32.. {
            match leave(&mut board, ALICE, now + count * WINDOW) {
                Ok(number) => assert_eq!(number, 5 + count),
                Err(refused) => {
                    assert_eq!((refused, board.notes().len()), (Refused::Full, MOST));
                    break;
                }
            }
        }
        assert!(board.recent.len() <= 1, "what is over is forgotten");
    }

    #[test]
    fn a_key_clears_its_own() {
        let (mut board, now) = (Board::default(), Instant::now());
        for owner in [ALICE, BOB, ALICE, BOB] {
            leave(&mut board, owner, now).unwrap();
        }
        assert_eq!(board.clear(ALICE, false, Some(2)), Err(Refused::NotOwn(2)));
        assert_eq!(board.clear(ALICE, true, Some(2)), Ok(1));
        assert_eq!(board.clear(ALICE, true, Some(2)), Err(Refused::NoSuch(2)));
        assert_eq!(board.clear(ALICE, true, None), Ok(2), "only one's own");
        assert_eq!(
            (board.clear(BOB, false, Some(4)), board.clear(BOB, false, None)),
            (Ok(1), Ok(0))
        );
    }
}
