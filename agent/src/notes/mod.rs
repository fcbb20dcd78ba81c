//! Notes that operators leave on this host for each other, in `STATE/notes`.
//!
//! A note is shown once to each other operator, and at once to those who are in a shell.

mod board;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use lariat_base::clock::milliseconds;
use lariat_base::lock::lock;
use lariat_base::name::KeyId;
use lariat_base::private;
use tokio::sync::watch;
use tracing::warn;

use board::Board;

pub use board::{Note, Refused};

/// The file's name.
const FILE: &str = "notes";

/// The notes of this host.
pub struct Notes {
    path: PathBuf,
    board: Mutex<Board>,
    /// Changes with each note that is left.
    left: watch::Sender<()>,
}

impl Notes {
    /// Loads the file in an agent's state directory. What can't be read is left out.
    pub fn load(state: &Path) -> Self {
        let path = state.join(FILE);
        let board = match private::read(&path) {
            Ok(text) => Board::parse(&text),
            Err(error) => {
                if !error.is_not_there() {
                    warn!("notes: {error}");
                }
                Board::default()
            }
        };
        Self { path, board: Mutex::new(board), left: watch::Sender::new(()) }
    }

    /// All notes, the oldest first.
    pub fn all(&self) -> Vec<Note> {
        self.lock().notes().to_vec()
    }

    /// The number of notes of others that a key has not seen.
    pub fn unread(&self, owner: KeyId) -> usize {
        self.lock().unread(owner).count()
    }

    /// The notes of others that a key has not seen. From now on it has seen them.
    pub fn take_unread(&self, owner: KeyId) -> Vec<Note> {
        let mut board = self.lock();
        let unread: Vec<Note> = board.unread(owner).cloned().collect();
        let numbers: Vec<u32> = unread.iter().map(|note| note.number).collect();
        if board.seen(owner, &numbers)
            && let Err(error) = self.save(&board)
        {
            warn!("notes: who has seen them is not kept: {error}");
        }
        unread
    }

    /// Leaves a note, and returns its number. It is on disk then.
    pub fn leave(&self, owner: KeyId, label: &str, text: String) -> Result<u32, Refused> {
        let now = (milliseconds(SystemTime::now()), Instant::now());
        let number = self.change(|board| Ok(board.add(owner, label, text, now)?.number))?;
        self.left.send_replace(());
        Ok(number)
    }

    /// Clears a key's own notes, or that of this number. Returns how many.
    pub fn clear(
        &self,
        owner: KeyId,
        may_clear_others: bool,
        number: Option<u32>,
    ) -> Result<usize, Refused> {
        self.change(|board| board.clear(owner, may_clear_others, number))
    }

    /// Notices notes that are left from now on.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.left.subscribe()
    }

    /// Changes the notes, on disk and here, or leaves both as they are.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Board) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut board = self.lock();
        let mut changed = board.clone();
        let done = change(&mut changed)?;
        self.save(&changed).map_err(Refused::Io)?;
        *board = changed;
        Ok(done)
    }

    fn save(&self, board: &Board) -> Result<(), String> {
        private::replace(&self.path, board.to_text().as_bytes()).map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_seen_outlasts_the_agent() {
        let directory = crate::private_directory();
        let [alice, bob] = [1, 2].map(|byte| KeyId([byte; 16]));
        let notes = Notes::load(directory.path());
        let mut told = notes.subscribe();
        assert_eq!(notes.leave(alice, "alice", "disk 3 is new".to_owned()), Ok(1));
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        assert_eq!((notes.unread(alice), notes.unread(bob)), (0, 1));
        assert_eq!(notes.take_unread(bob)[0].text, "disk 3 is new");
        let again = Notes::load(directory.path());
        assert_eq!((again.all().len(), again.unread(bob)), (1, 0));
        assert_eq!(again.clear(alice, false, None), Ok(1));
        assert!(Notes::load(directory.path()).all().is_empty());
        assert!(!told.has_changed().unwrap());
    }

    #[test]
    fn a_note_that_can_t_be_kept_is_not_left() {
        let directory = crate::private_directory();
        let notes = Notes::load(&directory.path().join("gone"));
        let refused = notes.leave(KeyId([1; 16]), "alice", "x".to_owned()).unwrap_err();
        assert!(matches!(&refused, Refused::Io(why) if why.contains("no such file")), "{refused}");
        assert!(notes.all().is_empty());
    }
}
