//! A file that is sent to a host.

use lariat_base::name::TransferId;
use lariat_base::secret::NoRandomness;
use lariat_engine::tree::{Watch, send_dry_run};
use lariat_engine::{Cancel, Progress, SendLanes, Source, TransferError, Transferred, send};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{Destination, Done, Overrides, Push, Sending};

use super::error::AttemptError;
use super::lanes::{Ends, LanePool, Streams};
use super::moved::{Counting, Moved};
use super::observed::Observed;
use crate::connect::Session;
use crate::host::HostHandle;

/// A file that is sent to a host.
pub struct FilePush {
    file: Source,
    /// The request. If it is made a dry run, [`Self::dry_run`] is an attempt at it.
    pub request: Push,
    sending: Sending,
    lanes: Option<LanePool>,
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
        Ok(Self { file, request, sending, lanes: None })
    }

    /// Uses this many connections. A stream uses one.
    #[must_use]
    pub fn over(mut self, streams: Streams, host: &HostHandle) -> Self {
        if !self.is_stream() {
            let transfer = self.request.transfer;
            self.lanes = LanePool::new(host, streams, transfer, Ends::Sends(SendLanes::default()));
        }
        self
    }

    /// Whether the file is a stream, which can't be read again.
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
        let (never, observed) = (Cancel::default(), Observed::new(progress));
        let as_moved = |sent: &Transferred| Moved { had: observed.had(), ..(*sent).into() };
        let mut counting = Counting::new(moved, as_moved);
        LanePool::begin(&mut self.lanes, session);
        let (link, file, lanes) = (&mut session.link, &mut self.file, &mut self.lanes);
        let how = match lanes.as_ref().map(LanePool::ends) {
            Some(Ends::Sends(lanes)) => lanes.carry(self.sending),
            _ => self.sending.into(),
        };
        // Under a limit of the rate, more connections would gain nothing.
        let may_grow = self.sending.rate.is_none();
        let done = tokio::select! {
            biased;
            done = send(link, file, how, &observed, &never, &mut counting.counts) => done,
            never = LanePool::manage(lanes, || observed.left(), may_grow) => match never {},
        };
        drop(counting);
        LanePool::tell(lanes, moved);
        if done.is_ok() {
            LanePool::close(lanes).await;
        }
        match done {
            Ok(Done { hash: None, .. }) if self.request.overrides.verify => {
                let why = "it did not read the file back";
                Err(AttemptError::Transfer(TransferError::misbehaved(why)))
            }
            done => done.map(drop).map_err(|error| given_up(error, moved)),
        }
    }

    /// One attempt at a dry run, whose result is reported to `watch`.
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
