//! `push` of a directory: a tree comes to this host. A file is there only for a dry run.

use std::time::Duration;

use lariat_engine::account;
use lariat_engine::tree::{Avoid, Counts, Filter, TreeArrival, TreeTarget, receive_tree};
use lariat_engine::{Owner, TransferError};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::tree::{PushTree, Settled, What};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::file_work::FileWork;
use super::{Logged, dry_run, transfer_ended};
use crate::core::Outcome;
use crate::transfers::Running;

/// How long an older transfer may take to end.
const LETS_GO: Duration = Duration::from_secs(10);

/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the transfers of this host know a tree by, in place of a partial's name.
const TREE: &str = "tree";

/// Receives a tree.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    push: PushTree,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    if matches!(push.root.what, What::File { .. }) {
        return dry_run::push(link, push, work).await;
    }
    let opened = match open(push, work) {
        Ok(mut opened) => lock(&mut opened.arrival.target).await.map(|()| opened),
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(Opening { running, arrival }) => {
            transfer_ended(take(link, arrival, &running, work).await)
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn take<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    arrival: TreeArrival,
    running: &Running,
    work: &FileWork,
) -> Result<String, TransferError> {
    let mut counts = Counts::default();
    let cancel = &running.cancel;
    let settled = tokio::select! {
        done = receive_tree(link, arrival, &Logged, cancel, &mut counts) => done?,
        never = work.stopping(cancel) => match never {},
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

/// A push that can begin.
struct Opening {
    running: Running,
    arrival: TreeArrival,
}

fn open(push: PushTree, work: &FileWork) -> Result<Opening, Failure> {
    let bad = |why: String| Failure::request(Cause::BadRequest(why));
    let PushTree { transfer: _, dest, root, options, overrides, user: _ } = push;
    let filter = Filter::new(&options.rules, &options.only).map_err(|why| bad(why.to_string()))?;
    let finish = account::finish(&overrides).map_err(|why| bad(why.to_string()))?;
    let owner = Owner { key: work.key, user: work.uid };
    let target = if options.dry_run {
        TreeTarget::look(&work.home, &dest, owner)?
    } else {
        TreeTarget::open(&work.home, &dest, owner)?
    };
    target.check_delete(&work.home, &options)?;
    let key = work.key;
    let running = work.transfers.begin(target.id()?, format!("{TREE} {key}"));
    let avoid = Avoid::new();
    let arrival = TreeArrival { target, root, options, filter, finish, avoid };
    Ok(Opening { running, arrival })
}
