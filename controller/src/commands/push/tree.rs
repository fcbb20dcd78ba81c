//! A directory of a push.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_client::transfer::{AttemptError, Moved, Streams, TreePush, tree_destination};
use lariat_client::{HostHandle, Session};
use lariat_engine::tree::{Earlier, Filter};
use lariat_wire::protocol::tree::PushTree;

use crate::error::CliError;
use crate::progress::ItemProgress;
use crate::transfer::{HERE, Item, Listing, Remarks, TransferOptions, TreeWatch};

/// A directory that is sent.
pub(super) struct PushedTree {
    push: TreePush,
    /// The operation, as the prefix of errors.
    what: String,
    listing: Listing,
    remarks: Remarks,
}

impl PushedTree {
    pub(super) fn open(
        source: &OsStr,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
        (only, earlier): (&[Vec<u8>], Earlier),
        what: &str,
        listing: Listing,
    ) -> Result<Self, CliError> {
        let tree = options.tree();
        let filter = Filter::new(&tree.rules, only)?.after(earlier);
        let dest = tree_destination(source.as_bytes(), dest, !only.is_empty())?;
        let (overrides, user) = (options.overrides(), user.map(ToOwned::to_owned));
        let push = TreePush::open(source, dest, tree, filter, overrides, user, options.sending());
        let push = push.map_err(|error| CliError::from(error).during(HERE))?;
        Ok(Self { push, what: what.to_owned(), listing, remarks: Remarks::default() })
    }

    /// Uses this many connections to the host.
    pub(super) fn over(self, streams: Streams, host: &HostHandle) -> Self {
        Self { push: self.push.over(streams, host), ..self }
    }
}

impl Item for PushedTree {
    type Request = PushTree;

    fn request(&self) -> &PushTree {
        &self.push.request
    }

    fn name(&self) -> &[u8] {
        self.push.source()
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        progress: &ItemProgress<'_>,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let watch = TreeWatch::new(progress, &self.what, &self.listing);
        let watch = watch.knowing(self.push.avoided().said_by_host());
        let done = self.push.attempt(session, &watch, moved).await;
        self.remarks = watch.into_remarks();
        done
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
