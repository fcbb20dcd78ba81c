//! Notes: reads, leaves and clears them.

use std::sync::Arc;

use lariat_wire::grown::Grown;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::note::{
    ClearNotes, NoteList, NoteWritten, Notes, NotesCleared, ReadNotes, WriteNote,
};
use lariat_wire::protocol::verb::Verb;
use tokio::task::spawn_blocking;

use crate::core::{Agent, Outcome, Permit, Session};
use crate::notes::Refused;
use crate::report::note;
use crate::transport::SessionLink;

/// Answers with notes: all of them, or those that are news to the key.
pub(super) async fn read(
    link: &mut SessionLink,
    ReadNotes { unread }: ReadNotes,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let owner = session.owner();
    let found = of_disk(session, move |agent| {
        Ok(if unread { agent.notes.take_unread(owner) } else { agent.notes.all() })
    });
    let outcome = match found.await {
        Ok(found) => {
            let count = found.len();
            let notes = found.into_iter().map(note).collect();
            link.outbox().post(&NoteList { list: Grown(Notes { notes }) })?;
            Outcome::Done(format!("{count} of them").into())
        }
        Err(failure) => Outcome::Failed(failure),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}

/// Leaves a note.
pub(super) async fn write(
    link: &mut SessionLink,
    WriteNote { text }: WriteNote,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (owner, label) = (session.owner(), session.key.label.clone());
    let outcome = match of_disk(session, move |agent| agent.notes.leave(owner, &label, text)).await
    {
        Ok(number) => {
            link.outbox().post(&NoteWritten { number })?;
            Outcome::Done(format!("note {number}").into())
        }
        Err(failure) => Outcome::Failed(failure),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}

/// Clears notes.
pub(super) async fn clear(
    link: &mut SessionLink,
    ClearNotes { number }: ClearNotes,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (owner, may_clear_others) = (session.owner(), permit.has(Verb::Keys));
    let cleared = of_disk(session, move |agent| agent.notes.clear(owner, may_clear_others, number));
    let outcome = match cleared.await {
        Ok(count) => {
            link.outbox()
                .post(&NotesCleared { count: u32::try_from(count).unwrap_or(u32::MAX) })?;
            Outcome::Done(format!("{count} cleared").into())
        }
        Err(failure) => Outcome::Failed(failure),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}

/// Does what may write a file, on a thread for that.
async fn of_disk<T: Send + 'static>(
    session: &Session,
    work: impl FnOnce(&Agent) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Failure> {
    let agent = Arc::clone(&session.agent);
    match spawn_blocking(move || work(&agent)).await {
        Ok(done) => done.map_err(|why| Failure::request(Cause::BadRequest(why.to_string()))),
        Err(_) => Err(Failure::request(Cause::Stopping)),
    }
}
