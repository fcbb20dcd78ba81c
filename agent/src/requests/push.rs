//! `push`: a file comes to this host.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Action, Cause, Failure};
use lariat_common::protocol::transfer::{Offer, Push, Range};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::{Busy, Cancel, Owner, Partial, TransferError, Unwatched, receive};
use tracing::info;

use super::{stopping, transfer_ended};
use crate::session::{Session, SessionLink};
use crate::transfers::Running;

/// Receives a file. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    push: Push,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let (running, partial, have) = match open(&push, session) {
        Ok(opened) => opened,
        Err(failure) => {
            info!("push: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    let path = escape(partial.path().as_os_str().as_bytes());
    let outcome = take(link, partial, have, &push.offer, &running.cancel, session).await;
    transfer_ended("push", &path, outcome)
}

async fn take(
    link: &mut SessionLink,
    partial: Partial,
    have: Vec<Range>,
    offer: &Offer,
    cancel: &Cancel,
    session: &Session,
) -> Result<String, TransferError> {
    let received = tokio::select! {
        received = receive(link, partial, have, offer, &Unwatched, cancel) => received?,
        never = stopping(session, cancel) => match never {},
    };
    Ok(format!("received {} bytes, reused {}", received.received, received.reused))
}

fn open(push: &Push, session: &Session) -> Result<(Running, Partial, Vec<Range>), Failure> {
    push.check().map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let user = &session.agent.user;
    let place = Place::resolve(user.home(), &push.dest)?;
    let owner = Owner { key: session.key.id, user: user.uid };
    let id = place
        .id()
        .map_err(|error| Failure::io(Action::Open, place.path().as_os_str().as_bytes(), &error))?;
    let running = session.agent.transfers.begin(id, Partial::name(&place, owner));
    let (partial, have) = Partial::open(place, owner, &push.offer, Busy::Wait)?;
    Ok((running, partial, have))
}
