//! `audit`: sends the audit's files, and notes that an operator accepts it as it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use lariat_wire::link::{LinkError, Reader, Writer};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::audit::{
    AuditAccepted, AuditEnd, AuditFile, AuditHead, AuditStart, ReadAudit,
};
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::request::AuditRequest;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::audit::{Range, Ranges};
use crate::core::{Done, Outcome, Permit, Session};
use crate::transport::SessionLink;

/// Bytes of a file in one frame.
const PIECE: usize = 256 * 1024;

/// Why sending did not reach the end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The controller ended the session in the middle, or the session is to end.
    #[error("it ended in the middle")]
    Left,
}

/// Serves a request about the audit.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: AuditRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let ReadAudit { from } = match request {
        AuditRequest::ReadAudit(read) => read,
        // The line of the request is the note.
        AuditRequest::AcceptAudit(_) => {
            let outcome = match session.agent.audit.sync() {
                Ok(()) => {
                    link.outbox().post(&AuditAccepted)?;
                    Outcome::Done(Done::from("accepted".to_owned()))
                }
                Err(error) => Outcome::Failed(Failure::io(Action::Sync, b"the audit", &error)),
            };
            return permit.finish(link.outbox(), &outcome);
        }
    };
    let sent = tokio::select! {
        biased;
        left = listen(&mut link.reader) => Err(left),
        sent = send(from, &mut link.writer, session) => sent,
        () = session.stopped() => Err(Broken::Left),
    };
    let outcome = match sent {
        Ok((bytes, last)) => {
            link.outbox().post(&AuditEnd { last })?;
            let text = format!("{bytes} bytes");
            Outcome::Done(Done { text, bytes: Some(bytes), ..Done::default() })
        }
        Err(Broken::Link(error)) => return Err(error),
        // A session that is to end says goodbye itself.
        Err(Broken::Left) => return Ok(()),
        Err(Broken::Io(error)) => Outcome::Failed(Failure::io(Action::Read, b"the audit", &error)),
    };
    permit.finish(link.outbox(), &outcome)
}

/// Sends the files up to the newest line. Returns the number of bytes, and the last line.
async fn send<W: AsyncWrite + Unpin>(
    from: AuditStart,
    writer: &mut Writer<W>,
    session: &Session,
) -> Result<(u64, AuditHead), Broken> {
    let (mut buffer, mut sent) = (vec![0; PIECE], 0);
    // What has ended by now is in what is sent.
    session.agent.job_ends.write(&session.agent.jobs, &session.agent.audit);
    let Ranges { ranges, last } = session.agent.audit.ranges(from)?;
    for Range { first, path, offset, end } in ranges {
        writer.outbox().post(&AuditFile { first: first.0, offset })?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut file = file.take(end.saturating_sub(offset));
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                len => {
                    writer.bulk(Kind::AuditBytes, &[], &buffer[..len]).await?;
                    sent += len as u64;
                }
            }
        }
    }
    Ok((sent, last))
}

/// Notices that the controller has left.
async fn listen<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> Broken {
    match reader.next().await {
        Ok(Some(frame)) => LinkError::Unexpected(frame.kind).into(),
        Ok(None) => Broken::Left,
        Err(error) => error.into(),
    }
}
