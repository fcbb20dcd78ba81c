//! Reads a host's audit, over as many connections as it takes.

use std::ops::ControlFlow;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::audit::{
    AcceptAudit, AuditAccepted, AuditEnd, AuditFile, AuditHead, AuditStart, ReadAudit,
};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::{Kind, Message};

use crate::backoff::is_broken_connection;
use crate::broken::Broken;
use crate::connect::Session;
use crate::host::HostHandle;
use crate::retry::{AskError, Retry};
use crate::watch::Watched;

/// Bytes of a file that are passed on at a time.
const PIECE: usize = 64 * 1024;

/// A part of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditPart<'a> {
    /// The next bytes are those of the file that begins with line `first`, from `offset` on.
    File {
        /// The file's first line.
        first: u64,
        /// Where in the file.
        offset: u64,
    },
    /// Bytes of the file.
    Bytes(&'a [u8]),
}

/// How far reading has come.
struct Reading<F> {
    from: AuditStart,
    moved: bool,
    each: F,
}

impl HostHandle {
    /// Reads the host's audit from `from` on, in order and without a gap: `each` gets its parts. After an outage it
    /// goes on where it was, and says so by another [`AuditPart::File`]. Returns the last
    /// line, as the host says; `None` if `each` breaks off.
    pub async fn read_audit(
        &self,
        from: AuditStart,
        each: impl AsyncFnMut(AuditPart<'_>) -> ControlFlow<()>,
    ) -> Result<Option<AuditHead>, AskError> {
        let (mut retry, mut reading) = (Retry::new(self), Reading { from, moved: false, each });
        loop {
            let mut session = retry.ask_again(&ReadAudit { from: reading.from }).await?;
            reading.moved = false;
            let pulse = session.link.reader.pulse().clone();
            let read = self.watch(&pulse, None, reading.all(&mut session)).await;
            let broken = match read {
                Watched::Done(Ok(last)) => {
                    session.leave().await;
                    return Ok(last);
                }
                Watched::Done(Err(broken)) => broken,
                Watched::Replaced(_) | Watched::Silent => LinkError::Silent.into(),
            };
            let broken = if reading.moved { broken } else { retry.judged(broken, &session) };
            let again = matches!(&broken, Broken::Link(error) if is_broken_connection(error));
            if !again || !retry.broke(reading.moved).await {
                if matches!(broken, Broken::Failed(_)) {
                    session.leave().await;
                }
                return Err(self.broken(broken));
            }
        }
    }

    /// Notes in the host's audit that it is accepted although it does not continue `seen`.
    pub async fn accept_audit(&self, seen: AuditHead) -> Result<(), AskError> {
        let (session, AuditAccepted) = self.ask(&AcceptAudit { seen }, Session::answer).await?;
        session.leave().await;
        Ok(())
    }
}

impl<F: AsyncFnMut(AuditPart<'_>) -> ControlFlow<()>> Reading<F> {
    async fn all(&mut self, session: &mut Session) -> Result<Option<AuditHead>, Broken> {
        let link = &mut session.link;
        let mut buffer = vec![0; PIECE];
        let mut has_file = false;
        loop {
            let frame = link.next().await?.ok_or(LinkError::Cut)?;
            match frame.kind {
                AuditFile::KIND => {
                    let AuditFile { first, offset } = link.reader.message()?;
                    (has_file, self.from) = (true, AuditStart::Behind { first, offset });
                    if (self.each)(AuditPart::File { first, offset }).await.is_break() {
                        return Ok(None);
                    }
                }
                Kind::AuditBytes if has_file => {
                    let mut left = frame.len;
                    while left > 0 {
                        let piece = &mut buffer[..left.min(PIECE)];
                        link.reader.bulk(piece).await?;
                        left -= piece.len();
                        self.moved = true;
                        if let AuditStart::Behind { offset, .. } = &mut self.from {
                            *offset = offset.saturating_add(piece.len() as u64);
                        }
                        if (self.each)(AuditPart::Bytes(piece)).await.is_break() {
                            return Ok(None);
                        }
                    }
                }
                AuditEnd::KIND => return Ok(Some(link.reader.message::<AuditEnd>()?.last)),
                Failure::KIND => return Err(Broken::Failed(link.reader.message()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            }
        }
    }
}
