//! A file or a directory of a pull, as an item of a transfer.

use lariat_client::Session;
use lariat_client::transfer::{AttemptError, Fetch, Moved};
use lariat_wire::protocol::pull::Pull;

use super::stdout::STDOUT;
use crate::error::CliError;
use crate::progress::ItemProgress;
use crate::transfer::{Item, Listing, Remarks, TreeWatch, glob_hint, said};

/// A file or a directory that is fetched.
pub(super) struct Pulled {
    fetch: Fetch,
    /// The operation, as the prefix of errors.
    what: String,
    listing: Listing,
    remarks: Remarks,
}

impl Pulled {
    pub(super) fn new(fetch: Fetch, what: &str, listing: &Listing) -> Self {
        let (what, listing) = (what.to_owned(), listing.clone());
        Self { fetch, what, listing, remarks: Remarks::default() }
    }
}

impl Item for Pulled {
    type Request = Pull;

    fn request(&self) -> &Pull {
        self.fetch.request()
    }

    fn name(&self) -> &[u8] {
        if self.fetch.is_stream() { STDOUT } else { &self.fetch.request().source }
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        progress: &ItemProgress<'_>,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let watch = TreeWatch::new(progress, &self.what, &self.listing);
        let watch = watch.knowing(self.fetch.avoided().said_by_host());
        let done = self.fetch.attempt(session, progress, &watch, moved).await;
        self.remarks = watch.into_remarks();
        if self.fetch.has_dropped_acl() {
            self.remarks.acl_dropped(&self.what, b"");
        }
        done
    }

    fn said(&self, error: AttemptError, in_place: bool) -> CliError {
        glob_hint(&self.fetch.request().source, said(error, in_place), true)
    }

    fn can_go_on(&self, moved: &Moved) -> bool {
        self.fetch.can_go_on(moved)
    }

    fn can_be_left(&self) -> bool {
        !self.fetch.is_stream()
    }

    fn remarks(&mut self) -> Remarks {
        std::mem::take(&mut self.remarks)
    }
}
