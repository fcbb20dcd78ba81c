//! `push`: a file comes to this host.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use lariat_common::account;
use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Action, Cause, Failure};
use lariat_common::protocol::transfer::{Offer, Push};
use lariat_common::transfer::destination::Place;
use lariat_common::transfer::{
    Busy, Cancel, Opened, Owner, Partial, Placing, Received, Target, TransferError, Unwatched,
    receive,
};
use tracing::info;

use super::acting::Acting;
use super::{stopping, transfer_ended};
use crate::session::{Session, SessionLink};
use crate::transfers::Running;

/// Receives a file. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    push: Push,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let Opening { acting: _acting, running, target, path, placing } = match open(&push, session) {
        Ok(opened) => opened,
        Err(failure) => {
            info!("push: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    let outcome = take(link, target, &push.offer, &placing, &running.cancel, session).await;
    transfer_ended("push", &path, outcome)
}

async fn take(
    link: &mut SessionLink,
    target: Target,
    offer: &Offer,
    placing: &Placing,
    cancel: &Cancel,
    session: &Session,
) -> Result<String, TransferError> {
    let mut received = Received::default();
    tokio::select! {
        done = receive(link, target, offer, placing, &Unwatched, cancel, &mut received) => done?,
        never = stopping(session, cancel) => match never {},
    };
    let Received { sent, moved, size } = received;
    Ok(format!("{size} bytes, of which {moved} came, as {sent}"))
}

/// A push that can begin.
struct Opening {
    acting: Acting,
    running: Running,
    target: Target,
    path: String,
    placing: Placing,
}

fn open(push: &Push, session: &Session) -> Result<Opening, Failure> {
    push.check().map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let finish = account::finish(&push.placement)
        .map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let placing = Placing::new(&finish, push.travels, push.offer.metadata.clone());
    let acting = Acting::begin(session, push.user.as_deref())?;
    let place = Place::resolve(acting.user.home(), &push.dest)?;
    let owner = Owner { key: session.key.id, user: acting.user.uid };
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    let id = place.id().map_err(|error| Failure::io(Action::Open, bytes, &error))?;
    let running = session.agent.transfers.begin(id, Partial::name(&place, owner));
    let opened = Opened::open(place, owner, &push.offer, Busy::Wait, finish.in_place)?;
    Ok(Opening {
        acting,
        running,
        target: Target::File(Box::new(opened)),
        path: escape(bytes),
        placing,
    })
}
