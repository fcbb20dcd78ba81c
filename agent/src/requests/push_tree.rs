//! `push` of a folder: a tree comes to this host. A file is there only for a dry run.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use lariat_common::account;
use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::tree::{PushTree, Settled, What};
use lariat_common::transfer::tree::{Avoid, Counts, Filter, TreeArrival, TreeTarget, receive_tree};
use lariat_common::transfer::{Owner, TransferError};
use tokio::time::{Instant, sleep};
use tracing::info;

use super::acting::Acting;
use super::{Logged, look, stopping, transfer_ended};
use crate::session::{Session, SessionLink};
use crate::transfers::Running;

/// How long an older transfer may take to end.
const LETS_GO: Duration = Duration::from_secs(10);

/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the transfers of this host know a tree by, in place of a partial's name.
const TREE: &str = "tree";

/// Receives a tree. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    push: PushTree,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    if let Err(why) = push.check() {
        let failure = Failure::request(Cause::BadRequest(why.to_string()));
        info!("push: {failure}");
        link.send(&failure).await?;
        return Ok(ControlFlow::Continue(()));
    }
    if matches!(push.root.what, What::File { .. }) {
        return look::push(link, push, session).await;
    }
    let opened = match open(push, session) {
        Ok(opened) => lock(&opened.arrival.target).await.map(|()| opened),
        Err(failure) => Err(failure),
    };
    let Opening { acting: _acting, running, arrival } = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            info!("push: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    let path = escape(arrival.target.path().as_os_str().as_bytes());
    transfer_ended("push", &path, take(link, arrival, &running, session).await)
}

async fn take(
    link: &mut SessionLink,
    arrival: TreeArrival,
    running: &Running,
    session: &Session,
) -> Result<String, TransferError> {
    let mut counts = Counts::default();
    let cancel = &running.cancel;
    let settled = tokio::select! {
        done = receive_tree(link, arrival, &Logged, cancel, &mut counts) => done?,
        never = stopping(session, cancel) => match never {},
    };
    let Counts { sent, moved, .. } = counts;
    let Settled { files, bytes, .. } = settled;
    Ok(format!("{files} files of {bytes} bytes, of which {moved} came, as {sent}"))
}

/// Waits until an older transfer, which has been told to stop, has let go of the root.
async fn lock(target: &TreeTarget) -> Result<(), Failure> {
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
    acting: Acting,
    running: Running,
    arrival: TreeArrival,
}

fn open(push: PushTree, session: &Session) -> Result<Opening, Failure> {
    let bad = |why: String| Failure::request(Cause::BadRequest(why));
    let PushTree { dest, root, options, placement, user } = push;
    let filter = Filter::new(&options.rules, &options.only).map_err(|why| bad(why.to_string()))?;
    let finish = account::finish(&placement).map_err(|why| bad(why.to_string()))?;
    let acting = Acting::begin(session, user.as_deref())?;
    let user = &acting.user;
    let owner = Owner { key: session.key.id, user: user.uid };
    let target = if options.dry_run {
        TreeTarget::look(user.home(), &dest, owner)?
    } else {
        TreeTarget::open(user.home(), &dest, owner)?
    };
    let key = session.key.id;
    let running = session.agent.transfers.begin(target.id()?, format!("{TREE} {key}"));
    let avoid = Avoid::new();
    let arrival = TreeArrival { target, root, options, filter, finish, avoid };
    Ok(Opening { acting, running, arrival })
}
