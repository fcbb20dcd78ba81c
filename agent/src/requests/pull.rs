//! `pull`: a file of this host goes to the controller.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::transfer::{Pull, Sending};
use lariat_common::transfer::{Cancel, Sent, Source, TransferError, Unwatched, send};
use tracing::info;

use super::{stopping, transfer_ended};
use crate::session::{Session, SessionLink};

/// Sends a file. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    pull: Pull,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let mut source = match open(&pull, session) {
        Ok(source) => source,
        Err(failure) => {
            info!("pull: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    link.outbox().post(source.offer())?;
    transfer_ended(
        "pull",
        &escape(&pull.source),
        give(link, &mut source, pull.sending, session).await,
    )
}

async fn give(
    link: &mut SessionLink,
    source: &mut Source,
    how: Sending,
    session: &Session,
) -> Result<String, TransferError> {
    let (cancel, mut sent) = (Cancel::default(), Sent::default());
    tokio::select! {
        done = send(link, source, how, &Unwatched, &cancel, &mut sent) => done?,
        never = stopping(session, &cancel) => match never {},
    };
    let Sent { sent, moved, size } = sent;
    Ok(format!("{size} bytes, of which {moved} went, as {sent}"))
}

fn open(pull: &Pull, session: &Session) -> Result<Source, Failure> {
    pull.check().map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    Source::open(&session.agent.user.home().join(OsStr::from_bytes(&pull.source)))
}
