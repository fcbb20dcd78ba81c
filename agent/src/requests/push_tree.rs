//! `push` of a directory: a tree comes to this host. A file is there only for a dry run.

use std::time::Duration;

use lariat_engine::TransferError;
use lariat_engine::tree::{Counts, TreeArrival, TreeTarget, receive_tree};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::{PushTree, Settled, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::dry_run;
use super::transfer::{Logged, transfer_ended};
use crate::core::Outcome;
use crate::files::{Files, ReceivedTree};
use crate::transfers::Running;

/// How long an older transfer may take to end.
const LETS_GO: Duration = Duration::from_secs(10);

/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Receives a tree.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: PushTree,
    files: &Files,
) -> Result<Outcome, LinkError> {
    if matches!(push.root.what, What::File { .. }) {
        return dry_run::push(link, push, files).await;
    }
    let opened = match files.receive_tree(push) {
        Ok(mut opened) => lock(&mut opened.arrival.target).await.map(|()| opened),
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(ReceivedTree { running, arrival }) => {
            transfer_ended(take(link, arrival, &running, files).await)
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    arrival: TreeArrival,
    running: &Running,
    files: &Files,
) -> Result<String, TransferError> {
    let mut counts = Counts::default();
    let cancel = &running.cancel;
    let settled = tokio::select! {
        done = receive_tree(link, arrival, &Logged, cancel, &mut counts) => done?,
        never = files.stopping(cancel) => match never {},
    };
    let Counts { sent, moved, .. } = counts;
    let Settled { files, bytes, .. } = settled;
    Ok(format!("{files} files of {bytes} bytes, of which {moved} came, as {sent}"))
}

/// Waits until an older transfer, which has been told to stop, has let go of the root.
async fn lock(target: &mut TreeTarget) -> Result<(), Failure> {
    let end = Instant::now() + LETS_GO;
    loop {
        match target.lock() {
            Err(_) if Instant::now() < end => sleep(LOOK_AGAIN).await,
            locked => return locked,
        }
    }
}
