//! `push`: a file comes to this host.

use std::os::unix::ffi::OsStrExt;

use lariat_engine::account;
use lariat_engine::destination::Place;
use lariat_engine::{
    Busy, Cancel, CommitOptions, Opened, Owner, Partial, Received, Target, TransferError,
    Unwatched, receive,
};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::transfer::{Offer, Push};
use tokio::io::{AsyncRead, AsyncWrite};

use super::file_work::FileWork;
use super::transfer_ended;
use crate::core::Outcome;
use crate::transfers::Running;

/// Receives a file.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: Push,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    match open(&push, work) {
        Ok(Opening { running, target, commit }) => {
            let taken = take(link, target, &push.offer, &commit, &running.cancel, work).await;
            transfer_ended(taken)
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Target,
    offer: &Offer,
    commit: &CommitOptions,
    cancel: &Cancel,
    work: &FileWork,
) -> Result<String, TransferError> {
    let mut received = Received::default();
    tokio::select! {
        done = receive(link, target, offer, commit, &Unwatched, cancel, &mut received) => done?,
        never = work.stopping(cancel) => match never {},
    };
    let Received { sent, moved, size, .. } = received;
    Ok(format!("{size} bytes, of which {moved} came, as {sent}"))
}

/// A push that can begin.
struct Opening {
    running: Running,
    target: Target,
    commit: CommitOptions,
}

fn open(push: &Push, work: &FileWork) -> Result<Opening, Failure> {
    let finish = account::finish(&push.overrides)
        .map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let commit = CommitOptions::new(&finish, push.preserve, push.offer.metadata.clone());
    let place = Place::resolve(&work.home, &push.dest)?;
    let owner = Owner { key: work.key, user: work.uid };
    let path = place.path();
    let bytes = path.as_os_str().as_bytes();
    let id = place.id().map_err(|error| Failure::io(Action::Open, bytes, &error))?;
    let running = work.transfers.begin(id, Partial::name(&place, owner));
    let opened = Opened::open(place, owner, &push.offer, Busy::Wait, finish.in_place)?;
    Ok(Opening { running, target: Target::File(Box::new(opened)), commit })
}
