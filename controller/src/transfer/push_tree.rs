//! A directory that goes to a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::name::TransferId;
use lariat_client::Session;
use lariat_engine::tree::{Avoid, Counts, Filter, TreeSource, send_tree};
use lariat_engine::{Cancel, TransferError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::Sending;
use lariat_wire::protocol::tree::PushTree;

use super::{
    Bar, Broken, Item, Listing, Moved, Remarks, TransferOptions, TreeBar, tree_destination,
};
use crate::error::CliError;

/// Files of a directory that have ended a connection, and are not tried again.
#[derive(Default)]
pub(crate) struct Avoided {
    /// Why, by their paths.
    pub(crate) files: Avoid,
    /// Those of the reasons that the host gave.
    pub(crate) there: Vec<Failure>,
}

pub(crate) struct PushedTree {
    source: PathBuf,
    request: PushTree,
    sending: Sending,
    filter: Filter,
    avoided: Avoided,
    /// What is being done, as errors begin.
    what: String,
    listing: Listing,
    remarks: Remarks,
}

impl PushedTree {
    pub(crate) fn open(
        source: &OsStr,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
        only: &[Vec<u8>],
        what: &str,
        listing: Listing,
    ) -> Result<Self, CliError> {
        let path = Path::new(source);
        let tree = options.tree();
        let filter = Filter::new(&tree.rules, only)?;
        let dest = tree_destination(source.as_bytes(), dest, !only.is_empty())?;
        let root = TreeSource::open(path, tree.clone(), filter.clone())?.root().clone();
        let (overrides, user) = (options.overrides(), user.map(ToOwned::to_owned));
        let request = PushTree {
            transfer: TransferId::generate()?,
            dest,
            root,
            options: tree,
            overrides,
            user,
        };
        Ok(Self {
            source: path.to_owned(),
            request,
            sending: options.sending(),
            filter,
            avoided: Avoided::default(),
            what: what.to_owned(),
            listing,
            remarks: Remarks::default(),
        })
    }
}

impl Item for PushedTree {
    type Request = PushTree;

    fn request(&self) -> &PushTree {
        &self.request
    }

    fn name(&self) -> &[u8] {
        self.source.as_os_str().as_bytes()
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let options = self.request.options.clone();
        let source = TreeSource::open(&self.source, options, self.filter.clone());
        let source = source.map_err(Broken::Here)?;
        let watch = TreeBar::new(bar, &self.what, &self.listing).knowing(&self.avoided.there);
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let (link, avoid, how) = (&mut session.link, self.avoided.files.clone(), self.sending);
        let done = send_tree(link, source, avoid, how, &watch, &never, &mut counts).await;
        *moved = (&counts).into();
        self.remarks = watch.into_remarks();
        match done {
            Ok(settled) => {
                moved.settled(&settled);
                Ok(())
            }
            Err(error) => Err(broken(error, counts, &mut self.avoided)),
        }
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        true
    }

    fn can_be_left(&self) -> bool {
        true
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}

/// What is to be done about a tree that has broken off: a file that ended the connection is not tried
/// again, and the rest goes on.
pub(crate) fn broken(error: TransferError, counts: Counts, avoided: &mut Avoided) -> Broken {
    if let Some((path, failure)) = counts.aborted_by {
        if matches!(error, TransferError::Remote(_)) {
            avoided.there.push(failure.clone());
        }
        if avoided.files.insert(path, failure).is_none() {
            return Broken::Spoiled;
        }
    }
    match error {
        TransferError::Remote(failure) if counts.moved == 0 => Broken::refused(failure),
        error => Broken::Transfer(error),
    }
}
