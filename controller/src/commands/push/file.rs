//! A file that goes to a host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_common::protocol::metadata::Travels;
use lariat_common::protocol::transfer::{Destination, Push, Sending};
use lariat_common::transfer::{Cancel, Sent, Source, TransferError, send};

use super::STDIN;
use crate::connect::Session;
use crate::error::CliError;
use crate::transfer::{Bar, Broken, Item, Moved, TransferOptions, base_name};

/// A file that goes there.
pub(super) struct Pushed {
    file: Source,
    /// It is read as it comes, and can't be read again.
    once: bool,
    request: Push,
    sending: Sending,
}

impl Pushed {
    /// Sends `file`, which was opened as `source`.
    pub(super) fn new(
        source: &OsStr,
        file: Source,
        dest: &[u8],
        user: Option<&str>,
        options: &TransferOptions,
    ) -> Result<Self, CliError> {
        let dest = destination(source, dest)?;
        let (offer, placement) = (file.offer().clone(), options.placement());
        // A stream has nothing that could travel.
        let travels = if source == STDIN { Travels::default() } else { options.travels() };
        let user = user.map(ToOwned::to_owned);
        let request = Push { dest, offer, placement, travels, user };
        let once = request.offer.size.is_none();
        Ok(Self { file, once, request, sending: options.sending() })
    }
}

impl Item for Pushed {
    type Request = Push;

    fn request(&self) -> &Push {
        &self.request
    }

    fn name(&self) -> &[u8] {
        &self.request.dest.name
    }

    async fn attempt(
        &mut self,
        session: &mut Session,
        bar: &Bar,
        moved: &mut Moved,
    ) -> Result<(), Broken> {
        let (never, mut sent) = (Cancel::default(), Sent::default());
        let file = &mut self.file;
        let done = send(&mut session.link, file, self.sending, bar, &never, &mut sent).await;
        *moved = sent.into();
        match (done, bar.has_begun()) {
            (Ok(_), _) => Ok(()),
            (Err(TransferError::Remote(failure)), false) => Err(Broken::refused(failure)),
            (Err(error), _) => Err(Broken::Transfer(error)),
        }
    }

    fn can_go_on(&self, _: &Moved) -> bool {
        !self.once
    }
}

/// Where a file goes.
pub(super) fn destination(source: &OsStr, dest: &[u8]) -> Result<Destination, CliError> {
    let stdin = source == STDIN;
    let name = if stdin { name_for_stdin(dest)? } else { base_name(source.as_bytes(), dest)? };
    Ok(Destination { path: dest.to_vec(), name: name.to_vec() })
}

/// Stdin has no name of its own, so the destination must be one.
fn name_for_stdin(dest: &[u8]) -> Result<&[u8], CliError> {
    let inside = Destination { path: dest.to_vec(), name: Vec::new() }.is_inside();
    base_name(dest, b"").ok().filter(|_| !inside).ok_or_else(|| {
        CliError::new("stdin needs a name at its destination")
            .hint("lariat push - HOST:/FOLDER/NAME")
    })
}
