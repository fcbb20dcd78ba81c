//! Receives packs and large files of a tree on one connection.

use tokio::io::{AsyncRead, AsyncWrite};

use super::arrivals::Arrivals;
use super::decided::Wanted;
use super::large_file::{LargeFile, discard};
use super::pack;
use super::watch::{Counts, Watch};
use super::writer::Job;
use crate::cancel::Cancel;
use crate::chunk::encode::Decoder;
use crate::chunk::sum::sum;
use crate::confined::join;
use crate::error::TransferError;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::transfer::{LiteralHead, Offer};
use lariat_wire::protocol::tree::{Begin, PackedHead};

/// Receives contents on one connection.
pub(super) struct ContentReceiver<'a> {
    pub(super) arrivals: &'a Arrivals,
    pub(super) decoder: &'a mut Decoder,
    pub(super) watch: &'a dyn Watch,
    pub(super) cancel: &'a Cancel,
    pub(super) counts: &'a mut Counts,
}

impl ContentReceiver<'_> {
    /// Receives a pack, and hands its files over to be written.
    pub(super) async fn pack<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<(), TransferError> {
        let head = LiteralHead::decode(link.reader.bulk_array().await?);
        let len = usize::try_from(head.len).ok().filter(|&len| len <= CHUNK);
        let mut body = vec![0; len.ok_or(TransferError::misbehaved("a pack is too long"))?];
        let sent = link.reader.bulk_left();
        let (came, done) = self.decoder.body(&mut link.reader, head.encoding, &mut body).await;
        let bad = |_| TransferError::misbehaved("a pack can't be taken apart");
        let packed = match &done {
            Ok(()) if sum(self.arrivals.seed, &body) != head.sum => {
                let (path, cause) = (Some(self.arrivals.shared.path.clone()), Cause::Mismatch);
                return Err(Failure { action: Action::Verify, path, cause }.into());
            }
            Ok(()) => pack::files(&body).map_err(bad)?,
            // Complete files before the cut are not sent again.
            Err(_) => pack::whole(&body[..came]),
        };
        // There is no await from here on, so files that were taken are written even if this is cancelled.
        let slot = self.arrivals.jobs.slot().await;
        let slot = slot.ok_or(TransferError::misbehaved("it sends files after its end"))?;
        let mut files = Vec::new();
        for (head, range) in packed {
            match self.arrivals.take(head.number) {
                Some(wanted) => {
                    let file: (Wanted, PackedHead, _) = (wanted, head, range);
                    files.push(file);
                }
                None if self.arrivals.may_repeat() => {}
                None => return Err(unasked()),
            }
        }
        self.counts.sent += (sent - link.reader.bulk_left()) as u64;
        let moved: u64 = files.iter().map(|(_, head, _)| u64::from(head.len)).sum();
        self.counts.moved += moved;
        self.watch.moved(moved);
        slot.send(Job { body, files });
        done
    }

    /// Receives a file that does not fit a pack. Returns how many files have arrived, and their bytes.
    pub(super) async fn large_file<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<(u64, u64), TransferError> {
        let Begin { number, offer } = link.reader.message()?;
        if let Some(wanted) = self.arrivals.take_over(number).await {
            return self.file(link, number, offer, wanted, true).await;
        }
        self.arrivals.shares_no_more(number);
        self.repeated(link).await
    }

    /// Receives a file on a lane. It must be a file of which this end has nothing.
    pub(super) async fn whole_file<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<(u64, u64), TransferError> {
        let Begin { number, offer } = link.reader.message()?;
        let Some((claim, wanted)) = self.arrivals.claim(number, self.cancel).await else {
            return self.repeated(link).await;
        };
        if wanted.difference {
            return Err(TransferError::misbehaved("it sends a part of a file on a lane"));
        }
        let arrived = self.file(link, number, offer, wanted, false).await?;
        claim.settle();
        Ok(arrived)
    }

    async fn file<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        number: u64,
        offer: Offer,
        wanted: Wanted,
        is_shared: bool,
    ) -> Result<(u64, u64), TransferError> {
        // A file of unknown size is always sent whole.
        if offer.check().is_err() || offer.size.is_none() && wanted.difference {
            return Err(TransferError::misbehaved("it offers a file that can't be"));
        }
        if offer.metadata.acls == Acls::Dropped && !wanted.acl_reported {
            self.watch.acl_dropped(&join(&wanted.directory, &wanted.name));
        }
        let file = LargeFile {
            arrivals: self.arrivals,
            is_shared,
            watch: self.watch,
            cancel: self.cancel,
            counts: self.counts,
            number,
            offer,
        };
        file.receive(link, wanted).await
    }

    /// Drops a file that has arrived before.
    async fn repeated<S: AsyncRead + AsyncWrite>(
        &self,
        link: &mut Link<S>,
    ) -> Result<(u64, u64), TransferError> {
        if !self.arrivals.may_repeat() {
            return Err(unasked());
        }
        discard(link, self.cancel).await?;
        Ok((0, 0))
    }
}

/// The sender sent what was not wanted.
pub(super) fn unasked() -> TransferError {
    LinkError::Misbehaved("it sent a file that nobody asked for").into()
}
