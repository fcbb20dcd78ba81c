//! `pull`: a file of this host goes to the controller.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::transfer::Pull;
use lariat_common::transfer::{Cancel, Source, TransferError, Unwatched, send};
use tracing::info;

use super::{stopping, transfer_ended};
use crate::session::{Session, SessionLink};

/// Sends a file. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    pull: Pull,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let source = match open(&pull, session) {
        Ok(source) => source,
        Err(failure) => {
            info!("pull: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    link.outbox().post(source.offer())?;
    transfer_ended("pull", &escape(&pull.source), give(link, &source, session).await)
}

async fn give(
    link: &mut SessionLink,
    source: &Source,
    session: &Session,
) -> Result<String, TransferError> {
    let cancel = Cancel::default();
    let sent = tokio::select! {
        sent = send(link, source, &Unwatched, &cancel) => sent?,
        never = stopping(session, &cancel) => match never {},
    };
    Ok(format!("sent {} bytes, the controller had {}", sent.sent, sent.reused))
}

fn open(pull: &Pull, session: &Session) -> Result<Source, Failure> {
    pull.check().map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    Source::open(&session.agent.user.home().join(OsStr::from_bytes(&pull.source)))
}
