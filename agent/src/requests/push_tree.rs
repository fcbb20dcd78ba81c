//! `push` of a directory: receives a tree.

use std::time::Duration;

use lariat_engine::TransferError;
use lariat_engine::tree::{Counts, TreeArrival, receive_tree};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::PushTree;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::transfer::{Logged, transfer_ended, tree_done};
use crate::core::{Done, Outcome};
use crate::files::{Files, ReceivedTree};
use crate::transfers::Running;

/// How long an older transfer may take to end.
const LETS_GO: Duration = Duration::from_secs(10);

/// How often the lock is tried until then.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Receives a tree.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: PushTree,
    files: &Files,
) -> Result<Outcome, LinkError> {
    let opened = match files.receive_tree(push) {
        Ok(mut opened) => lock(&mut opened, files).await.map(|()| opened),
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(ReceivedTree { running, joinable, arrival }) => {
            let taken = take(link, arrival, &running, files).await;
            drop(joinable);
            transfer_ended(taken, &files.meter)
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    arrival: TreeArrival,
    running: &Running,
    files: &Files,
) -> Result<Done, TransferError> {
    let (mut counts, logged) = (Counts::default(), Logged(&files.meter));
    let cancel = &running.cancel;
    let settled = tokio::select! {
        done = receive_tree(link, arrival, &logged, cancel, &mut counts) => done?,
        never = files.stopping(cancel) => match never {},
    };
    Ok(tree_done(&settled, &counts, "came"))
}

/// Locks the root, waiting for an older transfer that has been cancelled to release it.
async fn lock(opened: &mut ReceivedTree, files: &Files) -> Result<(), Failure> {
    let ReceivedTree { running, arrival, .. } = opened;
    let end = Instant::now() + LETS_GO;
    let locked = async {
        loop {
            match arrival.target.lock() {
                Err(_) if Instant::now() < end => sleep(LOOK_AGAIN).await,
                locked => return locked,
            }
        }
    };
    tokio::select! {
        locked = locked => locked,
        cause = running.cancel.cancelled() => Err(Failure::request(cause)),
        never = files.stopping(&running.cancel) => match never {},
    }
}
