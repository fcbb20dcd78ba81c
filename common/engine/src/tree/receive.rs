//! The receiver of a tree, from its root to the last word.

use tokio::io::{AsyncRead, AsyncWrite};

use super::filter::Filter;
use super::read::Avoid;
use super::receiving::Receiving;
use super::target::TreeTarget;
use super::{Counts, Watch};
use crate::receive::give_up;
use crate::{Cancel, ResolvedOverrides, TransferError};
use lariat_wire::link::Link;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::tree::{Entry, Settled, TreeOptions};

/// A tree that is about to be received.
pub struct TreeArrival {
    /// Where to.
    pub target: TreeTarget,
    /// The root, as its sender describes it.
    pub root: Entry,
    /// What both ends agreed on.
    pub options: TreeOptions,
    /// What is left out.
    pub filter: Filter,
    /// What files get beyond their content.
    pub finish: ResolvedOverrides,
    /// What is not tried again.
    pub avoid: Avoid,
}

/// Receives a tree, and returns when all of it is on disk, but for what `watch` was told. `counts`
/// counts as it goes, also when this fails.
///
/// After an error the connection must be ended.
pub async fn receive_tree<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    arrival: TreeArrival,
    watch: &dyn Watch,
    cancel: &Cancel,
    counts: &mut Counts,
) -> Result<Settled, TransferError> {
    let path = arrival.target.path.clone();
    let outcome = match Receiving::start(arrival, watch, cancel, counts, link.outbox().memory()) {
        Ok(mut receiving) => receiving.run(link).await,
        Err(error) => Err(Failure::io(Action::Request, &path, &error).into()),
    };
    match outcome {
        Ok(settled) => {
            link.send(&settled).await?;
            Ok(settled)
        }
        Err(error) => Err(give_up(link, error).await),
    }
}
