//! The receiver of a tree, from its root to the last message.

use tokio::io::{AsyncRead, AsyncWrite};

use super::arrival::TreeArrival;
use super::receiver::Receiver;
use super::watch::{Counts, Watch};
use crate::cancel::Cancel;
use crate::error::TransferError;
use crate::receive::give_up;
use lariat_wire::link::Link;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::tree::Settled;

/// Receives a tree, and returns when all of it is on disk except for what was reported to `watch`. `counts` is
/// counted up during the transfer, also if this fails.
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
    let outcome = match Receiver::start(arrival, watch, cancel, counts, link.outbox().memory()) {
        Ok(mut receiver) => receiver.run(link).await,
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
