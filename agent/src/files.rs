//! The only way from a path on the wire to a descriptor.
//!
//! Every path that a request names is opened here, with this process's rights and relative to the user's
//! home. The transfer engine works on the descriptors.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::pending;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lariat_base::name::KeyId;
use lariat_engine::account;
use lariat_engine::confined::Dir;
use lariat_engine::destination::Place;
use lariat_engine::tree::{Avoid, FileDryRun, Filter, TreeArrival, TreeSource, TreeTarget};
use lariat_engine::{
    Busy, Cancel, CommitOptions, Opened, Owner, Partial, ReceiveLanes, Receiving, SendLanes,
    SendOptions, Source, Target,
};
use lariat_wire::protocol::clean::Clean;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::Push;
use lariat_wire::protocol::tree::PushTree;
use tokio::sync::watch;

use crate::lanes::{Joinable, Lanes, TransferLanes};
use crate::transfers::{Running, Transfers};

/// Stands for the partial's name when a tree's transfer is registered.
const TREE: &str = "tree";

/// Opens files for one key, as one user. The process already has that user's rights.
pub struct Files {
    /// The key that made the request.
    pub key: KeyId,
    /// The id of the user that the work is done as.
    pub uid: u32,
    /// Where relative paths begin.
    pub home: PathBuf,
    /// The transfers that write with the same rights.
    pub transfers: Transfers,
    /// The transfers that have further connections. A worker's has none: a lane would need a worker of its own.
    pub lanes: Lanes,
    /// Becomes true when the work is to end.
    pub stop: watch::Receiver<bool>,
}

/// An opened destination for a file.
pub(crate) struct ReceivedFile {
    pub(crate) running: Running,
    pub(crate) joinable: Joinable,
    pub(crate) target: Receiving,
    pub(crate) commit: CommitOptions,
}

/// An opened destination for a tree.
pub(crate) struct ReceivedTree {
    pub(crate) running: Running,
    pub(crate) arrival: TreeArrival,
}

/// What a pull's source is.
pub(crate) enum Sent {
    File(Box<Source>),
    /// A file that the filter excludes.
    LeftOut,
    Tree(Box<TreeSource>),
}

#[allow(clippy::needless_pass_by_value, reason = "map_err passes it by value")]
fn bad(why: impl ToString) -> Failure {
    Failure::request(Cause::BadRequest(why.to_string()))
}

impl Files {
    /// Waits until the work is to end. Cancel-safe.
    pub(crate) async fn stopped(&self) {
        if self.stop.clone().wait_for(|&stop| stop).await.is_err() {
            // The sender is gone, so no request to stop can come.
            pending::<()>().await;
        }
    }

    /// Cancels the transfer when the work is to end, then stays pending until the transfer has noticed.
    pub(crate) async fn stopping(&self, cancel: &Cancel) -> Infallible {
        self.stopped().await;
        cancel.cancel(Cause::Stopping);
        pending().await
    }

    fn owner(&self) -> Owner {
        Owner { key: self.key, user: self.uid }
    }

    fn path(&self, path: &[u8]) -> PathBuf {
        self.home.join(OsStr::from_bytes(path))
    }

    /// Opens a file's destination, and cancels an older transfer to it.
    pub(crate) fn receive(&self, push: &Push) -> Result<ReceivedFile, Failure> {
        let overrides = account::resolve(&push.overrides).map_err(bad)?;
        let commit = CommitOptions::new(&overrides, push.preserve, push.offer.metadata.clone());
        let place = Place::resolve(&self.home, &push.dest)?;
        let path = place.path();
        let bytes = path.as_os_str().as_bytes();
        let id = place.id().map_err(|error| Failure::io(Action::Open, bytes, &error))?;
        let running = self.transfers.begin(id, Partial::name(&place, self.owner()));
        let opened =
            Opened::open(place, self.owner(), &push.offer, Busy::Wait, overrides.in_place)?;
        let lanes = ReceiveLanes::default();
        let joinable = TransferLanes::Receives(lanes.clone());
        let joinable = self.lanes.register(self.key, push.transfer, joinable);
        let target = Receiving::from(Target::File(Box::new(opened))).on_lanes(lanes);
        Ok(ReceivedFile { running, joinable, target, commit })
    }

    /// Opens a tree's destination, and cancels an older transfer to it.
    pub(crate) fn receive_tree(&self, push: PushTree) -> Result<ReceivedTree, Failure> {
        let PushTree { transfer: _, dest, root, options, overrides, user: _ } = push;
        let filter = Filter::new(&options.rules, &options.only).map_err(bad)?;
        let overrides = account::resolve(&overrides).map_err(bad)?;
        let target = if options.dry_run {
            TreeTarget::open_dry_run(&self.home, &dest, self.owner())?
        } else {
            TreeTarget::open(&self.home, &dest, self.owner())?
        };
        target.check_delete(&self.home, &options)?;
        let running = self.transfers.begin(target.id()?, format!("{TREE} {}", self.key));
        let avoid = Avoid::new();
        let arrival = TreeArrival { target, root, options, filter, overrides, avoid };
        Ok(ReceivedTree { running, arrival })
    }

    /// Prepares the dry run of a file.
    pub(crate) fn look(&self, push: Push) -> Result<FileDryRun, Failure> {
        let Push { dest, offer, overrides, preserve, .. } = push;
        let overrides = account::resolve(&overrides).map_err(bad)?;
        Ok(FileDryRun { base: self.home.clone(), dest, offer, preserve, overrides })
    }

    /// Opens a pull's source.
    pub(crate) fn send(&self, pull: &Pull) -> Result<Sent, Failure> {
        let path = self.path(&pull.source);
        let Some(options) = &pull.tree else {
            return Ok(Sent::File(Box::new(Source::open(&path, Preserve::default())?)));
        };
        let filter = Filter::new(&options.rules, &options.only).map_err(bad)?;
        match Source::open(&path, options.preserve) {
            Err(Failure { cause: Cause::NotAFile(FileKind::Directory), .. }) => {
                let tree = TreeSource::open(&path, options.clone(), filter)?;
                Ok(Sent::Tree(Box::new(tree)))
            }
            Ok(_) if filter.excludes_file(&path) => Ok(Sent::LeftOut),
            source => Ok(Sent::File(Box::new(source?))),
        }
    }

    /// How a pull's file is sent: over the pull's connection, and those that join it.
    pub(crate) fn sending(&self, pull: &Pull) -> (SendOptions, Joinable) {
        let lanes = SendLanes::default();
        let joinable = TransferLanes::Sends(lanes.clone());
        let joinable = self.lanes.register(self.key, pull.transfer, joinable);
        (SendOptions::from(pull.sending).on_lanes(lanes), joinable)
    }

    /// Opens the directory to clean.
    pub(crate) fn clean(&self, clean: &Clean) -> Result<(Dir, Owner), Failure> {
        let opened = Dir::open(&self.path(&clean.path));
        let root = opened.map_err(|error| Failure::io(Action::Open, &clean.path, &error))?;
        Ok((root, self.owner()))
    }
}
