//! `push`: receives a file.

use lariat_engine::tree::receive_dry_run;
use lariat_engine::{Cancel, CommitOptions, Receiving, TransferError, Transferred, receive};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::transfer::{Offer, Push};
use tokio::io::{AsyncRead, AsyncWrite};

use super::transfer::{Logged, dry_run, file_done, transfer_ended};
use crate::core::{Done, Outcome};
use crate::files::{Files, ReceivedFile};

/// Receives a file, or tells what would become of it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: Push,
    files: &Files,
) -> Result<Outcome, LinkError> {
    if push.dry_run {
        return match files.look(push) {
            Ok(file) => dry_run(files, receive_dry_run(link, file, &Logged(&files.meter))).await,
            Err(failure) => Ok(Outcome::Failed(failure)),
        };
    }
    match files.receive(&push) {
        Ok(ReceivedFile { running, joinable, target, commit }) => {
            let taken = take(link, target, &push.offer, &commit, &running.cancel, files).await;
            drop(joinable);
            transfer_ended(taken, &files.meter)
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    target: Receiving,
    offer: &Offer,
    commit: &CommitOptions,
    cancel: &Cancel,
    files: &Files,
) -> Result<Done, TransferError> {
    let mut received = Transferred::default();
    tokio::select! {
        done = receive(link, target, offer, commit, &*files.meter, cancel, &mut received) => done?,
        never = files.stopping(cancel) => match never {},
    };
    Ok(file_done(&received, "came"))
}
