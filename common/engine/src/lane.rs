//! Serves a further connection of a transfer, at either end.

use std::sync::atomic::AtomicU64;

use lariat_wire::link::Link;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::TransferError;
use crate::lanes::{Joined, Lanes, Work};
use crate::offload::unexpected;
use crate::receive::{self, ReceiveFile, Receiving};
use crate::send::{self, SendFile, SendOptions};
use crate::tree::{self, ReceiveTree, SendTree, TreeArrival, TreeSource};

/// The lanes of a transfer that this end sends. Clones are the same lanes; they serve one attempt after another.
#[derive(Clone, Default)]
pub struct SendLanes {
    file: Lanes<SendFile>,
    tree: Lanes<SendTree>,
}

/// The lanes of a transfer that this end receives. Clones are the same lanes; they serve one attempt after another.
#[derive(Clone, Default)]
pub struct ReceiveLanes {
    file: Lanes<ReceiveFile>,
    tree: Lanes<ReceiveTree>,
}

impl SendLanes {
    /// Waits until an attempt has begun, even if it is over already. Cancel-safe.
    #[cfg(test)]
    pub(crate) async fn begun(&self) {
        begun(&self.file, &self.tree).await;
    }

    /// Waits until lanes can join an attempt. Cancel-safe.
    pub async fn opened(&self) {
        opened(&self.file, &self.tree).await;
    }

    /// Ends all lanes.
    pub fn close(&self) {
        self.file.close();
        self.tree.close();
    }

    /// Asks the lane with this number to end once everything in transit on it has arrived.
    pub fn retire(&self, number: u8) {
        self.file.retire(number);
        self.tree.retire(number);
    }

    /// Allows the lanes to carry a part of a file.
    #[must_use]
    pub fn carry(&self, how: impl Into<SendOptions>) -> SendOptions {
        how.into().on_lanes(self.file.clone())
    }

    /// Allows the lanes to carry a part of a tree.
    #[must_use]
    pub fn carry_tree(&self, source: TreeSource) -> TreeSource {
        source.on_lanes(self.tree.clone(), self.file.clone())
    }
}

impl ReceiveLanes {
    /// Waits until an attempt has begun, even if it is over already. Cancel-safe.
    #[cfg(test)]
    pub(crate) async fn begun(&self) {
        begun(&self.file, &self.tree).await;
    }

    /// Waits until lanes can join an attempt. Cancel-safe.
    pub async fn opened(&self) {
        opened(&self.file, &self.tree).await;
    }

    /// Ends all lanes.
    pub fn close(&self) {
        self.file.close();
        self.tree.close();
    }

    /// Asks the lane with this number to end once everything in transit on it has arrived.
    pub fn retire(&self, number: u8) {
        self.file.retire(number);
        self.tree.retire(number);
    }

    /// Allows the lanes to receive a part of a file.
    #[must_use]
    pub fn bring(&self, into: impl Into<Receiving>) -> Receiving {
        into.into().on_lanes(self.file.clone())
    }

    /// Allows the lanes to receive a part of a tree.
    #[must_use]
    pub fn bring_tree(&self, arrival: TreeArrival) -> TreeArrival {
        arrival.on_lanes(self.tree.clone(), self.file.clone())
    }
}

/// Sends a part of a transfer on this connection, as its lane of this number, until the transfer is over or the
/// lane is retired. Adds to `taken` what the receiver acknowledges.
///
/// A failure of this end fails the whole transfer, and is reported on its first connection.
pub async fn send_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    lanes: &SendLanes,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    match join(link, &lanes.file, &lanes.tree, number).await? {
        Some(Either::File(joined)) => {
            send::send_lane(link, &joined, &mut 0, taken).await.map(|_end| ())
        }
        Some(Either::Tree(joined)) => tree::send_lane(link, &joined, number, taken).await,
        None => Ok(()),
    }
}

/// Receives a part of a transfer on this connection, as its lane of this number, until the transfer is over or
/// the sender ends the lane. Adds to `taken` what has arrived.
///
/// A failure of this end fails the whole transfer, and is reported on its first connection.
pub async fn receive_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    lanes: &ReceiveLanes,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    match join(link, &lanes.file, &lanes.tree, number).await? {
        Some(Either::File(joined)) => receive::receive_lane(link, joined, taken).await,
        Some(Either::Tree(joined)) => tree::receive_lane(link, &joined, number, taken).await,
        None => Ok(()),
    }
}

/// A lane that has joined the transfer of a file or of a tree.
enum Either<F: Work, T: Work> {
    File(Joined<F>),
    Tree(Joined<T>),
}

/// Joins an attempt, whether it transfers a file or a tree. Nothing is sent before.
async fn join<S: AsyncRead + AsyncWrite, F: Work, T: Work>(
    link: &mut Link<S>,
    file: &Lanes<F>,
    tree: &Lanes<T>,
    number: u8,
) -> Result<Option<Either<F, T>>, TransferError> {
    tokio::select! {
        biased;
        // First, for a tree may also share a file with its lanes.
        joined = tree.join(number) => Ok(joined.map(Either::Tree)),
        joined = file.join(number) => Ok(joined.map(Either::File)),
        error = unexpected(link) => Err(error),
    }
}

async fn opened<F: Work, T: Work>(file: &Lanes<F>, tree: &Lanes<T>) {
    tokio::select! {
        () = file.opened() => {}
        () = tree.opened() => {}
    }
}

#[cfg(test)]
async fn begun<F: Work, T: Work>(file: &Lanes<F>, tree: &Lanes<T>) {
    tokio::select! {
        () = file.begun() => {}
        () = tree.begun() => {}
    }
}
