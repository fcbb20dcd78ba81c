//! A further connection of a push or a pull.

use std::sync::atomic::AtomicU64;

use lariat_engine::{TransferError, receive_lane, send_lane};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::Lane;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::core::Outcome;
use crate::files::Files;
use crate::lanes::TransferLanes;

/// Serves a lane until its transfer is over. A failure here is told on the transfer's first connection, and the
/// session goes on.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    lane: Lane,
    files: &Files,
) -> Result<Outcome, LinkError> {
    let Some(lanes) = files.lanes.find(files.key, lane.transfer, lane.way) else {
        let why = "this key has no transfer under way here that takes another connection";
        return Ok(Outcome::Failed(Failure::request(Cause::BadRequest(why.to_owned()))));
    };
    let taken = AtomicU64::new(0);
    let served = async {
        match &lanes {
            TransferLanes::Sends(lanes) => send_lane(link, lanes, lane.number, &taken).await,
            TransferLanes::Receives(lanes) => receive_lane(link, lanes, lane.number, &taken).await,
        }
    };
    let done = tokio::select! {
        done = served => done,
        () = files.stopped() => Ok(()),
    };
    match done {
        Ok(()) => {
            let taken = taken.into_inner();
            Ok(Outcome::Done(format!("{taken} chunks on lane {}", lane.number)))
        }
        Err(
            TransferError::Local(failure)
            | TransferError::Remote(failure)
            | TransferError::Missed(failure),
        ) => Ok(Outcome::Over(failure.to_string())),
        Err(TransferError::Link(error)) => Err(error),
    }
}
