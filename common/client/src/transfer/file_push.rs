//! A file that goes to a host.

use lariat_base::name::TransferId;
use lariat_base::secret::NoRandomness;
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
    /// The request.
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
        self.request.offer.size.is_none()
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
            Ok(_) => Ok(()),
            Err(TransferError::Remote(failure)) if moved.had.is_none() => {
                Err(AttemptError::refused(failure))
            }
            Err(error) => Err(AttemptError::Transfer(error)),
        }
    }
}
