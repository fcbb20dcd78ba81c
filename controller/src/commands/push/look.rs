//! A dry run of a file that would go to a host.

use std::ffi::OsStr;
use std::path::Path;

use lariat_common::protocol::tree::{Entry, PushTree};
use lariat_common::transfer::tree::{describe, describe_stream, hear_look};
use lariat_common::transfer::{Source, TransferError};

use super::STDIN;
use super::file::{called, destination, refused};
use super::load::now;
use crate::connect::Session;
use crate::error::CliError;
use crate::transfer::{Bar, Broken, Item, Listing, Moved, TransferOptions, TreeBar};

/// A file that would go there.
pub(super) struct Looked {
    request: PushTree,
    /// What is being done, as errors begin.
    what: String,
    listing: Listing,
}

/// Describes a source to the hosts that it would go to. Stdin is not read.
pub(super) fn described(source: &OsStr, options: &TransferOptions) -> Result<Entry, CliError> {
    if source == STDIN {
        return Ok(describe_stream(now()));
    }
    let file = Source::open(Path::new(source), options.travels())?;
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
        what: &str,
        listing: &Listing,
    ) -> Result<Self, CliError> {
        let dest = destination(source, dest)?;
        let (placement, user) = (options.placement(), user.map(ToOwned::to_owned));
        let request = PushTree { dest, root, options: options.tree(), placement, user };
        Ok(Self { request, what: what.to_owned(), listing: listing.clone() })
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
    ) -> Result<(), Broken> {
        let watch = TreeBar::new(bar, &self.what, &self.listing);
        let settled = hear_look(&mut session.link, &watch).await.map_err(|error| match error {
            TransferError::Remote(failure) => refused(&self.request.dest, failure),
            error => Broken::Transfer(error),
        })?;
        moved.settled(&settled);
        Ok(())
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        true
    }

    fn can_be_left(&self) -> bool {
        true
    }
}
