//! Receives one file of a tree that does not fit a pack, by the engine for single files.

use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::decided::Wanted;
use super::replacements::{Replacement, Replacements};
use super::shared::{LastDirectory, Shared};
use super::watch::{Counts, FileProgress, Side, Watch};
use crate::cancel::Cancel;
use crate::destination::Place;
use crate::error::TransferError;
use crate::error::failed;
use crate::file::Busy;
use crate::file::CommitOptions;
use crate::file::commit::{Landing, Sync};
use crate::file::unfinished::Opened;
use crate::offload::offload;
use crate::receive;
use crate::receive::Receiver;
use crate::receive::Target;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Metadata;
use lariat_wire::protocol::transfer::{Complete, Offer};
use lariat_wire::protocol::tree::Missed;
use lariat_wire::protocol::{Kind, Message};

/// A file that the sender has begun.
pub(super) struct LargeFile<'a> {
    pub(super) shared: &'a Shared,
    pub(super) replacements: &'a Replacements,
    pub(super) watch: &'a dyn Watch,
    pub(super) cancel: &'a Cancel,
    pub(super) counts: &'a mut Counts,
    pub(super) number: u64,
    pub(super) offer: Offer,
}

/// Why a file did not arrive, and at which end.
type Missing = (Failure, Side);

fn here(failure: Failure) -> Missing {
    (failure, Side::Here)
}

impl LargeFile<'_> {
    /// Receives the file. Returns how many files arrived, and their bytes.
    pub(super) async fn receive<S: AsyncRead + AsyncWrite>(
        mut self,
        link: &mut Link<S>,
        mut wanted: Wanted,
    ) -> Result<(u64, u64), TransferError> {
        let Metadata { mode, mtime, .. } = self.offer.metadata;
        self.shared.as_read(&mut wanted.attributes, mode, mtime);
        let overrides = &self.shared.overrides;
        let options = CommitOptions::within(overrides, wanted.attributes.clone());
        let opened = self.open(&wanted);
        let mut transferred = Transferred::default();
        let done = if wanted.difference {
            self.difference(link, opened, &wanted, &options, &mut transferred).await
        } else {
            let sync = if wanted.replaces { Sync::First } else { Sync::WithTree };
            self.content(link, opened, options, sync, &mut transferred).await
        };
        self.counts.sent += transferred.sent;
        self.counts.moved += transferred.moved;
        match done? {
            Ok(()) => {
                self.landed(wanted);
                Ok((1, transferred.size))
            }
            Err((failure, side)) => {
                self.shared.note_missed();
                self.watch.missed(&failure, side);
                Ok((0, 0))
            }
        }
    }

    /// Records a complete file: it has its name, or waits until the directory of that name is removed.
    fn landed(&self, wanted: Wanted) {
        let Wanted { directory, name, clears, linked, .. } = wanted;
        if clears {
            let (staged, backup) = (self.shared.stage(&name), self.shared.overrides.backup);
            self.replacements.add(Replacement { directory, staged, name, clears, backup, linked });
        } else {
            self.shared.arrived(linked);
        }
    }

    fn open(&self, wanted: &Wanted) -> Result<Opened, Failure> {
        let path = self.shared.shown(&wanted.directory, &wanted.name);
        let directory = LastDirectory::default().open_to_change(self.shared, &wanted.directory)?;
        let directory =
            directory.as_fd().try_clone_to_owned().map_err(failed(Action::Open, &path))?;
        let directory_path = self.shared.path_of(&wanted.directory);
        let place = Place::within(directory.into(), directory_path, wanted.name.to_vec());
        let staged = || Landing::Staged(self.shared.stage(&wanted.name));
        let landing = if wanted.clears { staged() } else { Landing::Final };
        let in_place = self.shared.overrides.in_place && wanted.replaces && !wanted.clears;
        let (owner, offer) = (self.shared.owner, &self.offer);
        Opened::open_replacing(place, landing, owner, offer, Busy::Refuse, in_place)
    }

    /// Receives a file of which a part exists, by the dialogue of a single file. A failure during it ends the
    /// connection.
    async fn difference<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        opened: Result<Opened, Failure>,
        wanted: &Wanted,
        options: &CommitOptions,
        transferred: &mut Transferred,
    ) -> Result<Result<(), Missing>, TransferError> {
        let opened = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let number = Some(self.number);
                link.outbox().post(&Missed { number, failure: failure.clone() })?;
                return Ok(Err(here(failure)));
            }
        };
        let (target, progress) = (Target::File(Box::new(opened)), FileProgress(self.watch));
        let done =
            receive(link, target, &self.offer, options, &progress, self.cancel, transferred).await;
        if let Err(TransferError::Local(failure) | TransferError::Remote(failure)) = &done {
            self.counts.abort(crate::confined::join(&wanted.directory, &wanted.name), failure);
        }
        done.map(Ok)
    }

    /// Receives a file of which nothing exists. The sender does not wait for its end.
    async fn content<S: AsyncRead + AsyncWrite>(
        &self,
        link: &mut Link<S>,
        opened: Result<Opened, Failure>,
        options: CommitOptions,
        sync: Sync,
        transferred: &mut Transferred,
    ) -> Result<Result<(), Missing>, TransferError> {
        let progress = FileProgress(self.watch);
        let receiver = opened.and_then(|mut opened| {
            (opened.have, opened.begun, opened.basis) = (Vec::new(), None, None);
            let target = Target::File(Box::new(opened));
            Receiver::new(target, &self.offer, &progress, self.cancel, transferred)
        });
        let mut receiver = match receiver {
            Ok(receiver) => receiver,
            Err(failure) => {
                send_missed(link, &failure)?;
                discard(link).await?;
                return Ok(Err(here(failure)));
            }
        };
        let outbox = link.outbox().clone();
        let taken = tokio::select! {
            biased;
            error = link.writer.drive() => Err(error.into()),
            taken = receiver.run(&mut link.reader, &outbox, None) => taken,
        };
        let is_complete = receiver.is_complete;
        let Target::File(opened) = receiver.into_target() else {
            return Err(Failure::request(Cause::Internal).into());
        };
        let file = opened.file;
        match taken {
            Ok(complete) => {
                let work = move |done: oneshot::Sender<_>| {
                    // Fails only when the transfer is over.
                    let _ = done.send(file.commit(complete, &options, sync));
                };
                // What arrives meanwhile belongs to other files and is read later.
                let meanwhile = async { link.writer.drive().await.into() };
                let done = offload("commit", work, meanwhile).await?;
                if let Err(failure) = &done {
                    send_missed(link, failure)?;
                }
                Ok(done.map(drop).map_err(here))
            }
            Err(TransferError::Missed(failure)) => {
                file.abandon(&failure.cause);
                Ok(Err((failure, Side::There)))
            }
            Err(TransferError::Local(failure)) if self.cancel.cause().is_none() => {
                file.abandon(&failure.cause);
                send_missed(link, &failure)?;
                if !is_complete {
                    discard(link).await?;
                }
                Ok(Err(here(failure)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Reports to the sender what can't be received.
fn send_missed<S: AsyncRead + AsyncWrite>(
    link: &Link<S>,
    failure: &Failure,
) -> Result<(), LinkError> {
    link.outbox().post(&Missed { number: None, failure: failure.clone() })
}

/// Discards what the sender sends of a file that can't be received.
async fn discard<S: AsyncRead + AsyncWrite>(link: &mut Link<S>) -> Result<(), TransferError> {
    loop {
        match link.next().await?.ok_or(LinkError::Cut)?.kind {
            Kind::Chunk => {}
            Complete::KIND | Missed::KIND => return Ok(()),
            Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}
