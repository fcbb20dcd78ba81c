//! A file of a push.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_client::transfer::{AttemptError, FilePush, Moved, Streams, file_destination};
use lariat_client::{HostHandle, Session};
use lariat_engine::Source;
use lariat_wire::protocol::failure::{Cause, FileKind};
use lariat_wire::protocol::metadata::{Acls, Preserve};
use lariat_wire::protocol::transfer::{Destination, Push};

use super::stdin::STDIN;
use crate::error::CliError;
use crate::progress::ItemProgress;
use crate::transfer::{Item, Listing, Remarks, TransferOptions, TreeWatch, said};

/// A file that is sent.
pub(super) struct Pushed {
    push: FilePush,
    /// The operation, as the prefix of notes.
    what: String,
    listing: Listing,
}

impl Pushed {
    /// Sends `file`, which was opened as `source`.
    pub(super) fn new(
        source: &OsStr,
        file: Source,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
        what: &str,
        listing: &Listing,
    ) -> Result<Self, CliError> {
        let dest = destination(source, dest)?;
        // A stream has no attributes that could be preserved.
        let preserve = if source == STDIN { Preserve::default() } else { options.preserve() };
        let (overrides, user) = (options.overrides(), user.map(ToOwned::to_owned));
        let mut push = FilePush::new(file, dest, preserve, overrides, user, options.sending())?;
        push.request.dry_run = options.dry_run;
        Ok(Self { push, what: what.to_owned(), listing: listing.clone() })
    }

    /// Uses this many connections to the host.
    pub(super) fn over(self, streams: Streams, host: &HostHandle) -> Self {
        Self { push: self.push.over(streams, host), ..self }
    }
}

impl Item for Pushed {
    type Request = Push;

    fn request(&self) -> &Push {
        &self.push.request
    }

    fn name(&self) -> &[u8] {
        called(&self.push.request.dest)
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        progress: &ItemProgress<'_>,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        if self.push.request.dry_run {
            let watch = TreeWatch::new(progress, &self.what, &self.listing);
            return self.push.dry_run(session, &watch, moved).await;
        }
        self.push.attempt(session, progress, moved).await
    }

    fn said(&self, error: AttemptError, in_place: bool) -> CliError {
        said_of(&self.push.request.dest, error, in_place)
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        !self.push.is_stream()
    }

    fn can_be_left(&self) -> bool {
        !self.push.is_stream()
    }

    fn remarks(&mut self) -> Remarks {
        let mut remarks = Remarks::default();
        if self.push.request.offer.metadata.acls == Acls::Dropped {
            remarks.acl_dropped(&self.what, b"");
        }
        remarks
    }
}

/// The hint if stdin has no file name at its destination.
const NAME_IT: &str = "lariat push - HOST:/DIR/NAME";

/// The destination of a file. Stdin has no name of its own, so the destination must contain one.
pub(super) fn destination(source: &OsStr, dest: &[u8]) -> Result<Destination, CliError> {
    if source != STDIN {
        return Ok(file_destination(source.as_bytes(), dest)?);
    }
    let dest = Destination { path: dest.to_vec(), name: Vec::new() };
    if dest.is_inside() {
        return Err(CliError::new("stdin needs a name at its destination").hint(NAME_IT));
    }
    Ok(dest)
}

/// The file's name in progress messages.
pub(super) fn called(dest: &Destination) -> &[u8] {
    let last = dest.path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    if dest.name.is_empty() { last } else { &dest.name }
}

/// Words the error of a file. Only the agent knows whether stdin's destination is a directory.
fn said_of(dest: &Destination, error: AttemptError, in_place: bool) -> CliError {
    match error {
        AttemptError::Refused(failure)
            if dest.name.is_empty() && failure.cause == Cause::NotAFile(FileKind::Directory) =>
        {
            CliError::new(format!("{failure}, and stdin needs a name in it")).hint(NAME_IT)
        }
        error => said(error, in_place),
    }
}
