//! A file that goes to a host.

use lariat_base::name::TransferId;
use lariat_base::secret::NoRandomness;
use lariat_engine::tree::{Watch, send_dry_run};
use lariat_engine::{Cancel, Progress, Source, TransferError, Transferred, send};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{Destination, Done, Overrides, Push, Sending};

use super::error::AttemptError;
use super::moved::Moved;
use super::observed::Observed;
use crate::connect::Session;

/// A file that goes to a host.
pub struct FilePush {
    file: Source,
    /// The request. If it is made a dry run, [`Self::dry_run`] is an attempt at it.
    pub request: Push,
    sending: Sending,
}

impl FilePush {
    /// Sends `file`, which is open.
    pub fn new(
        file: Source,
        dest: Destination,
        preserve: Preserve,
        overrides: Overrides,
        user: Option<String>,
        sending: Sending,
    ) -> Result<Self, NoRandomness> {
        let (transfer, offer) = (TransferId::generate()?, file.offer().clone());
        let request = Push { transfer, dest, offer, overrides, preserve, dry_run: false, user };
        Ok(Self { file, request, sending })
    }

    /// Whether the file is read as it comes, and can't be read again.
    pub fn is_stream(&self) -> bool {
        self.request.offer.size.is_none() && !self.request.dry_run
    }

    /// One attempt: see [`Transfer::attempt`](super::Transfer::attempt).
    pub async fn attempt(
        &mut self,
        session: &mut Session,
        progress: &dyn Progress,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let (never, mut sent) = (Cancel::default(), Transferred::default());
        let observed = Observed::new(progress);
        let (link, file) = (&mut session.link, &mut self.file);
        let done = send(link, file, self.sending, &observed, &never, &mut sent).await;
        *moved = Moved { had: observed.had(), ..sent.into() };
        match done {
            Ok(Done { hash: None, .. }) if self.request.overrides.verify => {
                let why = "it did not read the file back";
                Err(AttemptError::Transfer(TransferError::misbehaved(why)))
            }
            done => done.map(drop).map_err(|error| given_up(error, moved)),
        }
    }

    /// One attempt at a dry run, whose result `watch` is told.
    pub async fn dry_run(
        &self,
        session: &mut Session,
        watch: &dyn Watch,
        moved: &mut Moved,
    ) -> Result<(), AttemptError> {
        let done = send_dry_run(&mut session.link, &self.file, watch).await;
        *moved = done.map_err(|error| given_up(error, moved))?.into();
        Ok(())
    }
}

fn given_up(error: TransferError, moved: &Moved) -> AttemptError {
    match error {
        TransferError::Remote(failure) if moved.had.is_none() => AttemptError::refused(failure),
        error => AttemptError::Transfer(error),
    }
}
