//! A dry run of a file that would go to a host.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use lariat_base::name::TransferId;
use lariat_client::Session;
use lariat_client::transfer::{AttemptError, Moved};
use lariat_engine::tree::{UNREAD_HASH, await_dry_run, describe, describe_stream};
use lariat_engine::{Source, TransferError};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::tree::{Entry, PushTree, What};

use super::file::{called, destination, said_of};
use super::stdin::{STDIN, now};
use crate::error::CliError;
use crate::transfer::{Bar, Item, Listing, TransferOptions, TreeBar};

/// A file that would go there.
pub(super) struct Looked {
    request: PushTree,
    source: OsString,
    hashed: Hashed,
    /// What is being done, as errors begin.
    what: String,
    listing: Listing,
}

/// The source's description with its hash: one for all hosts, made when the first asks for it.
#[derive(Clone, Default)]
pub(super) struct Hashed(Arc<OnceLock<Result<Entry, Failure>>>);

impl Hashed {
    fn describe(&self, source: &OsStr, root: Entry) -> Result<Entry, Failure> {
        let describe = || {
            if source == STDIN {
                let what = What::File { size: 0, hash: Some(UNREAD_HASH), linked: false };
                return Ok(Entry { what, ..root });
            }
            // What preserve beside the content was described already.
            let file = Source::open(Path::new(source), Preserve::default())?;
            let what = describe(&file, true)?.what;
            Ok(Entry { what, ..root })
        };
        self.0.get_or_init(describe).clone()
    }
}

/// Describes a source to the hosts that it would go to. Stdin is not read.
pub(super) fn described(source: &OsStr, options: &TransferOptions) -> Result<Entry, CliError> {
    if source == STDIN {
        return Ok(describe_stream(now()));
    }
    let file = Source::open(Path::new(source), options.preserve())?;
    Ok(describe(&file, options.checksum)?)
}

impl Looked {
    /// Asks about `source`, which was described as `root`.
    pub(super) fn new(
        source: &OsStr,
        root: Entry,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
        hashed: &Hashed,
        (what, listing): (&str, &Listing),
    ) -> Result<Self, CliError> {
        let hashed = hashed.clone();
        let dest = destination(source, dest)?;
        let (overrides, user) = (options.overrides(), user.map(ToOwned::to_owned));
        let request = PushTree {
            transfer: TransferId::generate()?,
            dest,
            root,
            options: options.tree(),
            overrides,
            user,
        };
        let (what, listing) = (what.to_owned(), listing.clone());
        Ok(Self { request, source: source.to_owned(), hashed, what, listing })
    }
}

impl Item for Looked {
    type Request = PushTree;

    fn request(&self) -> &PushTree {
        &self.request
    }

    fn name(&self) -> &[u8] {
        called(&self.request.dest)
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let watch = TreeBar::new(bar, &self.what, &self.listing);
        let (source, hashed) = (self.source.clone(), self.hashed.clone());
        let root = self.request.root.clone();
        let hashed = move || hashed.describe(&source, root);
        let settled = await_dry_run(&mut session.link, &watch, hashed).await;
        let settled = settled.map_err(|error| match error {
            TransferError::Remote(failure) => AttemptError::refused(failure),
            error => AttemptError::Transfer(error),
        })?;
        moved.settled(&settled);
        Ok(())
    }

    fn said(&self, error: AttemptError) -> CliError {
        said_of(&self.request.dest, error)
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        true
    }

    fn can_be_left(&self) -> bool {
        true
    }
}
