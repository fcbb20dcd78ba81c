//! Receiving one file of a tree that does not fit a pack, by the engine for single files.

use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::replace::{Replacement, Replacements};
use super::shared::{LastDirectory, Shared, Wanted};
use super::{Counts, Engine, Side, Watch};
use crate::commit::{Landing, Sync};
use crate::destination::Place;
use crate::error::failed;
use crate::offload::offload;
use crate::receive::Receiver;
use crate::unfinished::Opened;
use crate::{Busy, Cancel, CommitOptions, Received, Target, TransferError, receive};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Metadata;
use lariat_wire::protocol::transfer::{Complete, Offer};
use lariat_wire::protocol::tree::Missed;
use lariat_wire::protocol::{Kind, Message};

/// One file that has been begun.
pub(super) struct Alone<'a> {
    pub(super) shared: &'a Shared,
    pub(super) replacements: &'a Replacements,
    pub(super) watch: &'a dyn Watch,
    pub(super) cancel: &'a Cancel,
    pub(super) counts: &'a mut Counts,
    pub(super) number: u64,
    pub(super) offer: Offer,
}

/// Why a file is not there, and which end says so.
type Missing = (Failure, Side);

fn here(failure: Failure) -> Missing {
    (failure, Side::Here)
}

impl Alone<'_> {
    /// Receives it. Gives how many files there are now, and their bytes.
    pub(super) async fn receive<S: AsyncRead + AsyncWrite>(
        mut self,
        link: &mut Link<S>,
        mut wanted: Wanted,
    ) -> Result<(u64, u64), TransferError> {
        let Metadata { mode, mtime, .. } = self.offer.metadata;
        self.shared.as_read(&mut wanted.attributes, mode, mtime);
        let finish = &self.shared.finish;
        let placing = CommitOptions {
            attributes: wanted.attributes.clone(),
            backup: finish.backup,
            given_mode: finish.mode.is_some(),
        };
        let opened = self.open(&wanted);
        let mut received = Received::default();
        let done = if wanted.difference {
            self.difference(link, opened, &wanted, &placing, &mut received).await
        } else {
            let sync = if wanted.replaces { Sync::First } else { Sync::WithItsTree };
            self.content(link, opened, placing, sync, &mut received).await
        };
        self.counts.sent += received.sent;
        self.counts.moved += received.moved;
        match done? {
            Ok(()) => {
                self.landed(wanted);
                Ok((1, received.size))
            }
            Err((failure, side)) => {
                self.shared.note_missed();
                self.watch.missed(&failure, side);
                Ok((0, 0))
            }
        }
    }

    /// It has its name, or waits for a directory to be removed that has it.
    fn landed(&self, wanted: Wanted) {
        let Wanted { directory, name, clears, linked, .. } = wanted;
        if clears {
            let (staged, backup) = (self.shared.stage(&name), self.shared.finish.backup);
            self.replacements.add(Replacement { directory, staged, name, clears, backup, linked });
        } else {
            self.shared.arrived(linked);
        }
    }

    fn open(&self, wanted: &Wanted) -> Result<Opened, Failure> {
        let path = self.shared.shown(&wanted.directory, &wanted.name);
        let directory = LastDirectory::default().open(self.shared, &wanted.directory)?;
        self.shared.touch(&directory).map_err(failed(Action::Open, &path))?;
        let directory =
            directory.as_fd().try_clone_to_owned().map_err(failed(Action::Open, &path))?;
        let directory_path = self.shared.path_of(&wanted.directory);
        let place = Place::within(directory.into(), directory_path, wanted.name.to_vec());
        let staged = || Landing::Staged(self.shared.stage(&wanted.name));
        let landing = if wanted.clears { staged() } else { Landing::Final };
        let in_place = self.shared.finish.in_place && wanted.replaces && !wanted.clears;
        let (owner, offer) = (self.shared.owner, &self.offer);
        Opened::open_for(place, landing, owner, offer, Busy::Refuse, in_place)
    }

    /// A file of which something is there: the dialogue of a file that goes alone. What fails once it
    /// has begun ends the connection.
    async fn difference<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        opened: Result<Opened, Failure>,
        wanted: &Wanted,
        placing: &CommitOptions,
        received: &mut Received,
    ) -> Result<Result<(), Missing>, TransferError> {
        let opened = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let number = Some(self.number);
                link.outbox().post(&Missed { number, failure: failure.clone() })?;
                return Ok(Err(here(failure)));
            }
        };
        let (target, progress) = (Target::File(Box::new(opened)), Engine(self.watch));
        let done =
            receive(link, target, &self.offer, placing, &progress, self.cancel, received).await;
        if let Err(TransferError::Local(failure) | TransferError::Remote(failure)) = &done {
            self.counts.spoil(crate::confined::join(&wanted.directory, &wanted.name), failure);
        }
        done.map(Ok)
    }

    /// A file of which nothing is there comes in one go, and nobody waits for it to be done.
    async fn content<S: AsyncRead + AsyncWrite>(
        &self,
        link: &mut Link<S>,
        opened: Result<Opened, Failure>,
        placing: CommitOptions,
        sync: Sync,
        received: &mut Received,
    ) -> Result<Result<(), Missing>, TransferError> {
        let progress = Engine(self.watch);
        let taking = opened.and_then(|mut opened| {
            (opened.have, opened.begun, opened.basis) = (Vec::new(), None, None);
            let target = Target::File(Box::new(opened));
            Receiver::new(target, &self.offer, &progress, self.cancel, received)
        });
        let mut taking = match taking {
            Ok(taking) => taking,
            Err(failure) => {
                tell(link, &failure)?;
                pass_over(link).await?;
                return Ok(Err(here(failure)));
            }
        };
        let outbox = link.outbox().clone();
        let taken = tokio::select! {
            biased;
            error = link.writer.drive() => Err(error.into()),
            taken = taking.run(&mut link.reader, &outbox, None) => taken,
        };
        let is_complete = taking.is_complete;
        let Target::File(opened) = taking.into_target() else {
            return Err(Failure::request(Cause::Internal).into());
        };
        let partial = opened.partial;
        match taken {
            Ok(size) => {
                let work = move |done: oneshot::Sender<_>| {
                    // Fails only when nobody waits for it any more.
                    let _ = done.send(partial.commit(size, &placing, sync));
                };
                // What the sender has sent meanwhile is of other files.
                let meanwhile = async { link.writer.drive().await.into() };
                let done = offload("commit", work, meanwhile).await?;
                if let Err(failure) = &done {
                    tell(link, failure)?;
                }
                Ok(done.map(drop).map_err(here))
            }
            Err(TransferError::Missed(failure)) => {
                partial.abandon(&failure.cause);
                Ok(Err((failure, Side::There)))
            }
            Err(TransferError::Local(failure)) if self.cancel.cause().is_none() => {
                partial.abandon(&failure.cause);
                tell(link, &failure)?;
                if !is_complete {
                    pass_over(link).await?;
                }
                Ok(Err(here(failure)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Tells the sender of what can't be taken.
fn tell<S: AsyncRead + AsyncWrite>(link: &Link<S>, failure: &Failure) -> Result<(), LinkError> {
    link.outbox().post(&Missed { number: None, failure: failure.clone() })
}

/// Passes over what the sender sends of a file that can't be taken.
async fn pass_over<S: AsyncRead + AsyncWrite>(link: &mut Link<S>) -> Result<(), TransferError> {
    loop {
        match link.next().await?.ok_or(LinkError::Cut)?.kind {
            Kind::Chunk => {}
            Complete::KIND | Missed::KIND => return Ok(()),
            Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}
