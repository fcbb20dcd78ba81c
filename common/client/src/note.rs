//! Notes on hosts: reads, leaves and clears them.

use lariat_wire::grown::Grown;
use lariat_wire::protocol::note::{
    ClearNotes, Note, NoteList, NoteWritten, NotesCleared, ReadNotes, WriteNote,
};

use crate::connect::Session;
use crate::host::HostHandle;
use crate::retry::AskError;

impl HostHandle {
    /// The host's notes: all of them, or those of others that this key has not seen, which it has seen then.
    pub async fn read_notes(&self, unread: bool) -> Result<Vec<Note>, AskError> {
        let read = ReadNotes { unread };
        let answer = async |session: &mut Session| session.answer::<NoteList>().await;
        let (session, NoteList { list }) = self.ask(&read, answer).await?;
        session.leave().await;
        Ok(list.0.notes.into_iter().map(|Grown(note)| note).collect())
    }

    /// Leaves a note, and returns its number.
    pub async fn write_note(&self, text: String) -> Result<u32, AskError> {
        let answer = async |session: &mut Session| session.answer::<NoteWritten>().await;
        let (session, NoteWritten { number }) = self.ask(&WriteNote { text }, answer).await?;
        session.leave().await;
        Ok(number)
    }

    /// Clears the key's own notes, or the one of this number. Returns how many.
    pub async fn clear_notes(&self, number: Option<u32>) -> Result<u32, AskError> {
        let answer = async |session: &mut Session| session.answer::<NotesCleared>().await;
        let (session, NotesCleared { count }) = self.ask(&ClearNotes { number }, answer).await?;
        session.leave().await;
        Ok(count)
    }
}
