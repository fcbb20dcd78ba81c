//! One tree that comes: the loop between the network and the threads that decide and write.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::filter::Filter;
use super::finish::After;
use super::large_file::Alone;
use super::manifest::{BadManifest, Decided, Manifest};
use super::pack;
use super::receive::TreeArrival;
use super::replace::Replacements;
use super::shared::{Said, Shared, Wanted};
use super::target::TreeTarget;
use super::workers::Workers;
use super::write::Job;
use super::{Counts, Side, Watch};
use crate::attributes;
use crate::encode::Decoder;
use crate::error::failed;
use crate::{Cancel, TransferError};
use lariat_wire::limits::CHUNK;
use lariat_wire::link::{Frame, Link, LinkError};
use lariat_wire::memory::{Charge, Memory, NoMemory};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::transfer::LiteralHead;
use lariat_wire::protocol::tree::{
    Begin, Changed, Changes, End, Entries, Entry, MAX_ENTRIES, Missed, PackedHead, Settled, WINDOW,
};
use lariat_wire::protocol::{Kind, Message};

/// Bytes that an entry of the weight 1 takes until it is settled: its name, its directory's, and what it
/// brings, in up to three places.
const WEIGHT: usize = 1024;

/// A tree that comes. When this is dropped, however it ended, nothing is written any more, and no file of
/// it waits for its name: what comes next must find it so.
pub(super) struct Receiving<'a> {
    // First of all, so that the threads have ended when the next is dropped.
    workers: Workers,
    replacements: Arc<Replacements>,
    shared: Arc<Shared>,
    filter: Option<Filter>,
    dry_run: bool,
    max_delete: Option<u64>,
    watch: &'a dyn Watch,
    cancel: &'a Cancel,
    counts: &'a mut Counts,
    said: mpsc::UnboundedReceiver<Said>,
    /// Files that were wanted and have not come.
    wanted: HashMap<u64, Wanted>,
    /// Of entries that are not settled.
    weight: usize,
    /// For the memory that they take.
    charge: Charge,
    /// What the sender said at its end.
    end: Option<End>,
    after: Option<Box<After>>,
    decoder: Decoder,
    settled: Settled,
}

impl<'a> Receiving<'a> {
    pub(super) fn start(
        arrival: TreeArrival,
        watch: &'a dyn Watch,
        cancel: &'a Cancel,
        counts: &'a mut Counts,
        memory: &Memory,
    ) -> std::io::Result<Self> {
        let TreeArrival { target, root, options, filter, finish, avoid } = arrival;
        let TreeTarget { path, state, .. } = &target;
        let (path, state) = (path.clone(), *state);
        if root.metadata.acls == Acls::Dropped {
            watch.acl_dropped(b"");
        }
        let (tell, said) = mpsc::unbounded_channel();
        let mask = attributes::mode_mask(options.preserve);
        let shared = Arc::new(Shared::new(target, finish, mask, tell)?);
        let replacements = Arc::new(Replacements::new(Arc::clone(&shared)));
        let (dry_run, max_delete) = (options.dry_run, options.max_delete);
        let decider =
            Manifest::new(Arc::clone(&shared), options, filter.clone(), avoid, root, state, memory);
        let workers = Workers::start(decider, &shared, &replacements)?;
        Ok(Self {
            shared,
            replacements,
            filter: Some(filter),
            dry_run,
            max_delete,
            watch,
            cancel,
            counts,
            said,
            workers,
            wanted: HashMap::new(),
            weight: 0,
            charge: memory.charge(),
            end: None,
            after: None,
            decoder: Decoder::new(),
            settled: Settled { path, files: 0, bytes: 0, done: Changed::default() },
        })
    }

    pub(super) async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<Settled, TransferError> {
        loop {
            tokio::select! {
                biased;
                error = link.writer.drive() => return Err(error.into()),
                cause = self.cancel.cancelled() => {
                    let path = Some(self.settled.path.clone());
                    return Err(Failure { action: Action::Write, path, cause }.into());
                }
                Some(said) = self.said.recv() => match said {
                    Said::Deletes(changes, told) => {
                        changes.iter().for_each(|change| self.watch.changed(change));
                        if self.watch.tells_sender() {
                            link.send(&Changes { changes }).await?;
                        }
                        // Fails only when it has ended by itself.
                        let _ = told.send(());
                    }
                    said => {
                        if self.said(link, said)? {
                            return Ok(self.settled.clone());
                        }
                    }
                },
                frame = link.reader.next() => {
                    let frame = frame?.ok_or(LinkError::Cut)?;
                    self.frame(link, frame).await?;
                }
            }
        }
    }

    /// What a thread says. Gives whether that was the end.
    fn said<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        said: Said,
    ) -> Result<bool, TransferError> {
        match said {
            Said::Decided(decided) => self.decided(link, decided)?,
            Said::Bad(BadManifest::Wrong(why)) => return Err(TransferError::misbehaved(why)),
            Said::Bad(BadManifest::TooMuch) => return Err(Failure::from(NoMemory).into()),
            Said::Listed(after) => {
                if !self.wanted.is_empty() {
                    return Err(TransferError::misbehaved("it left wanted files out"));
                }
                self.after = Some(after);
                self.workers.jobs = None;
            }
            Said::Written(files, bytes) => {
                self.settled.files += files;
                self.settled.bytes += bytes;
                self.settled.done.files += files;
            }
            Said::Missed(failure) => {
                self.watch.missed(&failure, Side::Here);
                link.outbox().post(&Missed { number: None, failure })?;
            }
            Said::WriterEnded => {
                if self.workers.writer_ended() {
                    self.finish()?;
                }
            }
            Said::Finished(linked, done) => {
                self.settled.files += linked;
                self.settled.done += done;
                return Ok(true);
            }
            Said::Deletes(..) => {}
        }
        Ok(false)
    }

    fn decided<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        decided: Decided,
    ) -> Result<(), TransferError> {
        let Decided { answers, wanted, weight, changes, skipped, without_acl, files, bytes, done } =
            decided;
        self.settled.done += done;
        self.weight -= weight;
        self.wanted.extend(wanted);
        self.settled.files += files;
        self.settled.bytes += bytes;
        self.watch.had(bytes);
        if let Some(answers) = answers {
            link.outbox().post(&answers)?;
        }
        changes.iter().for_each(|change| self.watch.changed(change));
        skipped.iter().for_each(|(path, kind)| self.watch.skipped(path, *kind));
        without_acl.iter().for_each(|path| self.watch.acl_dropped(path));
        if !self.watch.tells_sender() {
            return Ok(());
        }
        let mut changes = changes.into_iter();
        while changes.len() > 0 {
            // Each has a path of up to twice the longest.
            let changes = changes.by_ref().take(MAX_ENTRIES / 16).collect();
            link.outbox().post(&Changes { changes })?;
        }
        Ok(())
    }

    /// Does what must come last.
    fn finish(&mut self) -> Result<(), TransferError> {
        let (Some(after), Some(filter)) = (self.after.take(), self.filter.take()) else {
            return Err(Failure::request(Cause::Internal).into());
        };
        let whole = self.end.is_some_and(|end| end.whole);
        let (shared, replacements) = (Arc::clone(&self.shared), Arc::clone(&self.replacements));
        let (dry_run, most) = (self.dry_run, self.max_delete);
        let work = move || {
            let (linked, done) = if dry_run {
                (0, after.look(&shared, &filter, whole, most))
            } else {
                after.run(&shared, &replacements, &filter, whole, most)
            };
            shared.say(Said::Finished(linked, done));
        };
        let failed = failed(Action::Request, &self.settled.path);
        Ok(self.workers.spawn("finish", work).map_err(failed)?)
    }

    async fn frame<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        frame: Frame,
    ) -> Result<(), TransferError> {
        match frame.kind {
            Entries::KIND => self.entries(link.reader.message()?).await,
            Kind::Pack => self.pack(link).await,
            Begin::KIND => self.begin(link).await,
            Missed::KIND => {
                let Missed { number, failure } = link.reader.message()?;
                if let Some(number) = number {
                    self.take(number)?;
                }
                self.shared.note_missed();
                self.watch.missed(&failure, Side::There);
                Ok(())
            }
            End::KIND => {
                self.end = Some(link.reader.message()?);
                self.workers.entries = None;
                Ok(())
            }
            Failure::KIND => Err(TransferError::Remote(link.reader.message()?)),
            other => Err(LinkError::Unexpected(other).into()),
        }
    }

    async fn entries(&mut self, entries: Entries) -> Result<(), TransferError> {
        entries.check().map_err(|_| TransferError::misbehaved("it sent a name that can't be"))?;
        self.watch.listed(entries.size());
        self.weight += entries.entries.iter().map(Entry::weight).sum::<usize>();
        if self.weight > WINDOW {
            return Err(TransferError::misbehaved("it sent more entries than may be unsettled"));
        }
        self.charge.at_least(self.weight * WEIGHT).map_err(Failure::from)?;
        let Some(decider) = &self.workers.entries else {
            return Err(TransferError::misbehaved("its manifest goes on after its end"));
        };
        let gone = |_| TransferError::from(Failure::request(Cause::Internal));
        decider.send(entries).await.map_err(gone)
    }

    async fn pack<S: AsyncRead + AsyncWrite>(
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
            Ok(()) => pack::files(&body).map_err(bad)?,
            // What came whole is not asked for again.
            Err(_) => pack::whole(&body[..came]),
        };
        let mut files = Vec::new();
        for (head, range) in packed {
            let wanted: (Wanted, PackedHead, _) = (self.take(head.number)?, head, range);
            files.push(wanted);
        }
        self.counts.sent += (sent - link.reader.bulk_left()) as u64;
        let moved: u64 = files.iter().map(|(_, head, _)| u64::from(head.len)).sum();
        self.counts.moved += moved;
        self.watch.moved(moved);
        let Some(jobs) = &self.workers.jobs else {
            return Err(TransferError::misbehaved("it sends files after its end"));
        };
        let gone = |_| TransferError::from(Failure::request(Cause::Internal));
        jobs.send(Job { body, files }).await.map_err(gone)?;
        done
    }

    /// A file comes that does not fit a pack.
    async fn begin<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<(), TransferError> {
        let Begin { number, offer } = link.reader.message()?;
        let wanted = self.take(number)?;
        // One whose size nobody knows before its end comes whole.
        if offer.check().is_err() || offer.size.is_none() && wanted.difference {
            return Err(TransferError::misbehaved("it offers a file that can't be"));
        }
        let alone = Alone {
            shared: &self.shared,
            replacements: &self.replacements,
            watch: self.watch,
            cancel: self.cancel,
            counts: self.counts,
            number,
            offer,
        };
        let (files, bytes) = alone.receive(link, wanted).await?;
        self.settled.done.files += files;
        self.settled.files += files;
        self.settled.bytes += bytes;
        Ok(())
    }

    /// A file that was wanted has come, or will not.
    fn take(&mut self, number: u64) -> Result<Wanted, TransferError> {
        let unasked = TransferError::misbehaved("it sent a file that nobody asked for");
        let wanted = self.wanted.remove(&number).ok_or(unasked)?;
        self.weight -= wanted.weight;
        Ok(wanted)
    }
}
