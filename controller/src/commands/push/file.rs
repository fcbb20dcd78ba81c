//! A file that goes to a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_base::name::TransferId;
use lariat_client::Session;
use lariat_engine::{Cancel, Source, TransferError, Transferred, send};
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::{Acls, Preserve};
use lariat_wire::protocol::transfer::{Destination, Push, Sending};

use super::STDIN;
use crate::error::CliError;
use crate::transfer::{Bar, Broken, Item, Moved, Remarks, TransferOptions, file_destination};

/// A file that goes there.
pub(super) struct Pushed {
    file: Source,
    /// It is read as it comes, and can't be read again.
    once: bool,
    request: Push,
    sending: Sending,
    /// What is being done, as remarks begin.
    what: String,
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
    ) -> Result<Self, CliError> {
        let dest = destination(source, dest)?;
        let (offer, overrides) = (file.offer().clone(), options.overrides());
        // A stream has nothing that could travel.
        let preserve = if source == STDIN { Preserve::default() } else { options.preserve() };
        let user = user.map(ToOwned::to_owned);
        let request = Push {
            transfer: TransferId::generate()?,
            dest,
            offer,
            overrides,
            preserve,
            dry_run: false,
            user,
        };
        let once = request.offer.size.is_none();
        Ok(Self { file, once, request, sending: options.sending(), what: what.to_owned() })
    }
}

impl Item for Pushed {
    type Request = Push;

    fn request(&self) -> &Push {
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
        let (never, mut sent) = (Cancel::default(), Transferred::default());
        let file = &mut self.file;
        let done = send(&mut session.link, file, self.sending, bar, &never, &mut sent).await;
        *moved = sent.into();
        match (done, bar.has_begun()) {
            (Ok(_), _) => Ok(()),
            (Err(TransferError::Remote(failure)), false) => {
                Err(refused(&self.request.dest, failure))
            }
            (Err(error), _) => Err(Broken::Transfer(error)),
        }
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        !self.once
    }

    fn can_be_left(&self) -> bool {
        !self.once
    }

    fn remarks(&mut self) -> Remarks {
        let mut remarks = Remarks::default();
        if self.request.offer.metadata.acls == Acls::Dropped {
            remarks.acl_dropped(&self.what, b"");
        }
        remarks
    }
}

/// What to do where stdin would go into a directory.
const NAME_IT: &str = "lariat push - HOST:/FOLDER/NAME";

/// Where a file goes. Stdin has no name of its own, so the destination must be one.
pub(super) fn destination(source: &OsStr, dest: &[u8]) -> Result<Destination, CliError> {
    if source != STDIN {
        return file_destination(source.as_bytes(), dest);
    }
    let dest = Destination { path: dest.to_vec(), name: Vec::new() };
    if dest.is_inside() {
        return Err(CliError::new("stdin needs a name at its destination").hint(NAME_IT));
    }
    Ok(dest)
}

/// What a file is called while it moves.
pub(super) fn called(dest: &Destination) -> &[u8] {
    let last = dest.path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    if dest.name.is_empty() { last } else { &dest.name }
}

/// What the agent said before anything moved. Only it knows whether stdin's destination is a directory.
pub(super) fn refused(dest: &Destination, failure: Failure) -> Broken {
    if dest.name.is_empty() && failure.cause == Cause::NotAFile(FileKind::Directory) {
        let why = "stdin needs a name in it";
        return Broken::Misused(CliError::new(format!("{failure}, and {why}")).hint(NAME_IT));
    }
    Broken::refused(failure)
}
