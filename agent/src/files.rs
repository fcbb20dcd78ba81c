//! The only way from a path on the wire to a descriptor.
//!
//! Every path that a request names is opened here, with this process's rights and relative to the user's
//! home. The transfer engine works on the descriptors.

mod way;

use std::convert::Infallible;
use std::ffi::OsStr;
use std::future::pending;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lariat_base::name::{KeyId, TransferId};
use lariat_engine::account;
use lariat_engine::confined::{Base, Dir};
use lariat_engine::destination::Place;
use lariat_engine::tree::{Avoid, FileDryRun, Filter, TreeArrival, TreeSource, TreeTarget};
use lariat_engine::{
    Busy, Cancel, CommitOptions, Namespaces, Opened, Owner, Partial, ReceiveLanes, Receiving,
    ResolvedOverrides, SendLanes, Source, Target,
};
use lariat_wire::protocol::clean::Clean;
use lariat_wire::protocol::failure::{Action, Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Destination, Overrides, Push};
use lariat_wire::protocol::tree::PushTree;
use tokio::sync::watch;

use crate::lanes::{Joinable, Lanes, TransferLanes};
use crate::meter::Meter;
use crate::policy::{Confinement, path};
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
    /// The directory that the work is confined to.
    pub root: Option<Confinement>,
    /// The transfers that write with the same rights.
    pub transfers: Transfers,
    /// The transfers that have further connections. A worker's has none: a lane would need a worker of its own.
    pub lanes: Lanes,
    /// Where a transfer counts how far it has come.
    pub meter: Arc<Meter>,
    /// Why the work is to end, if it is.
    pub stop: watch::Receiver<Option<Cause>>,
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
    pub(crate) joinable: Joinable,
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
    /// Waits until the work is to end, and returns why. Cancel-safe.
    pub(crate) async fn stopped(&self) -> Cause {
        match self.stop.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(cause)) => cause.clone(),
            // The sender is gone, so no request to stop can come.
            Ok(None) | Err(_) => pending().await,
        }
    }

    /// Cancels the transfer when the work is to end, then stays pending until the transfer has noticed.
    pub(crate) async fn stopping(&self, cancel: &Cancel) -> Infallible {
        cancel.cancel(self.stopped().await);
        pending().await
    }

    fn owner(&self) -> Owner {
        Owner { key: self.key, user: self.uid }
    }

    /// Where the paths of a request begin. A root is opened for each request, with this process's rights.
    fn base(&self) -> Result<Base, Failure> {
        let Some(confinement) = &self.root else { return Ok(Base::at(&self.home)) };
        let path = confinement.root.as_bytes();
        let base = Base::confined(Path::new(OsStr::from_bytes(path)));
        base.map_err(|error| Failure::io(Action::Open, path, &error))
    }

    /// A path of the request, as it is opened: below the root, if there is one.
    fn below(&self, path: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let Some(confinement) = &self.root else { return Ok(path) };
        let whole = path::absolute(Some(self.home.as_os_str().as_bytes()), &path);
        let below = whole.as_deref().and_then(|whole| confinement.root.relative(whole));
        below.map(<[u8]>::to_vec).ok_or_else(|| {
            // The decision was made on the same path.
            Failure { path: Some(path), ..Failure::request(Cause::Internal) }
        })
    }

    fn destination(&self, dest: Destination) -> Result<Destination, Failure> {
        Ok(Destination { path: self.below(dest.path)?, ..dest })
    }

    fn overrides(&self, overrides: &Overrides) -> Result<ResolvedOverrides, Failure> {
        let overrides = account::resolve(overrides).map_err(bad)?;
        let spaces = if self.root.is_some() { Namespaces::User } else { Namespaces::All };
        Ok(ResolvedOverrides { spaces, ..overrides })
    }

    /// Opens a file's destination, and cancels an older transfer to it.
    pub(crate) fn receive(&self, push: &Push) -> Result<ReceivedFile, Failure> {
        let overrides = self.overrides(&push.overrides)?;
        let commit = CommitOptions::new(&overrides, push.preserve, push.offer.metadata.clone());
        let dest = self.destination(push.dest.clone())?;
        let place = Place::resolve(&self.base()?, &dest)?;
        let path = place.path();
        let bytes = path.as_os_str().as_bytes();
        let id = place.id().map_err(|error| Failure::io(Action::Open, bytes, &error))?;
        let running = self.transfers.begin(id, Partial::name(&place, self.owner()));
        let opened =
            Opened::open(place, self.owner(), &push.offer, Busy::Wait, overrides.in_place)?;
        let (lanes, joinable) = self.receive_lanes(push.transfer);
        let target = lanes.bring(Target::File(Box::new(opened)));
        Ok(ReceivedFile { running, joinable, target, commit })
    }

    /// Opens a tree's destination, and cancels an older transfer to it.
    pub(crate) fn receive_tree(&self, push: PushTree) -> Result<ReceivedTree, Failure> {
        let PushTree { transfer, dest, root, options, overrides, user: _ } = push;
        let filter = Filter::new(&options.rules, &options.only).map_err(bad)?;
        let overrides = self.overrides(&overrides)?;
        let (base, dest) = (self.base()?, self.destination(dest)?);
        let target = if options.dry_run {
            TreeTarget::open_dry_run(&base, &dest, self.owner())?
        } else {
            TreeTarget::open(&base, &dest, self.owner())?
        };
        target.check_delete(&self.home, &options)?;
        let running = self.transfers.begin(target.id()?, format!("{TREE} {}", self.key));
        let (lanes, joinable) = self.receive_lanes(transfer);
        let arrival = TreeArrival::new(target, root, options, filter, overrides, Avoid::new());
        let arrival = lanes.bring_tree(arrival);
        Ok(ReceivedTree { running, joinable, arrival })
    }

    /// Prepares the dry run of a file.
    pub(crate) fn look(&self, push: Push) -> Result<FileDryRun, Failure> {
        let Push { dest, offer, overrides, preserve, .. } = push;
        let overrides = self.overrides(&overrides)?;
        let (base, dest) = (self.base()?, self.destination(dest)?);
        Ok(FileDryRun { base, dest, offer, preserve, overrides })
    }

    /// Opens a pull's source.
    pub(crate) fn send(&self, pull: &Pull) -> Result<Sent, Failure> {
        let (base, path) = (self.base()?, self.below(pull.source.clone())?);
        let Some(options) = &pull.tree else {
            return Ok(Sent::File(Box::new(Source::open_at(&base, &path, Preserve::default())?)));
        };
        let filter = Filter::new(&options.rules, &options.only).map_err(bad)?;
        match Source::open_at(&base, &path, options.preserve) {
            Err(Failure { cause: Cause::NotAFile(FileKind::Directory), .. }) => {
                let tree = TreeSource::open_at(&base, &path, options.clone(), filter)?;
                Ok(Sent::Tree(Box::new(tree)))
            }
            Ok(_) if filter.excludes_file(Path::new(OsStr::from_bytes(&pull.source))) => {
                Ok(Sent::LeftOut)
            }
            source => Ok(Sent::File(Box::new(source?))),
        }
    }

    /// The lanes of a transfer that comes here.
    fn receive_lanes(&self, transfer: TransferId) -> (ReceiveLanes, Joinable) {
        let lanes = ReceiveLanes::default();
        let of = TransferLanes::Receives(lanes.clone());
        (lanes, self.lanes.register(self.key, transfer, of))
    }

    /// The lanes of a transfer that goes from here.
    pub(crate) fn send_lanes(&self, transfer: TransferId) -> (SendLanes, Joinable) {
        let lanes = SendLanes::default();
        let of = TransferLanes::Sends(lanes.clone());
        (lanes, self.lanes.register(self.key, transfer, of))
    }

    /// Opens the directory to clean.
    pub(crate) fn clean(&self, clean: &Clean) -> Result<(Dir, Owner), Failure> {
        let opened = Dir::open_at(&self.base()?, &self.below(clean.path.clone())?);
        let root = opened.map_err(|error| Failure::io(Action::Open, &clean.path, &error))?;
        Ok((root, self.owner()))
    }
}
