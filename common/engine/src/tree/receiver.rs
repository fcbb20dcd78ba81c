//! Receives a tree: the loop between the connection and the threads that compare and write.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::arrival::TreeArrival;
use super::arrivals::Arrivals;
use super::content_receiver::{ContentReceiver, unasked};
use super::decided::{BadManifest, Decided};
use super::deferred::Deferred;
use super::event::{Brought, Event};
use super::filter::Filter;
use super::finish::Finish;
use super::manifest::Manifest;
use super::receive_lanes::OpenLanes;
use super::replacements::Replacements;
use super::shared::Shared;
use super::target::TreeTarget;
use super::watch::{Counts, Side, Watch};
use super::workers::Workers;
use crate::cancel::Cancel;
use crate::chunk::encode::Decoder;
use crate::error::TransferError;
use crate::error::failed;
use crate::metadata::attributes;
use lariat_wire::link::{Frame, Link, LinkError};
use lariat_wire::memory::{Charge, Memory, NoMemory};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::tree::{
    Begin, Changed, Changes, End, Entries, Entry, MAX_ENTRIES, Missed, Settled, WINDOW,
};
use lariat_wire::protocol::{Kind, Message};

/// Bytes that an entry of weight 1 takes until it is settled: its name, its directory's and its attributes, in up
/// to three places.
const WEIGHT_BYTES: usize = 1024;

/// The receiver of one tree. A drop waits until nothing is written any more and no file waits for its final
/// rename, so that a next attempt finds the tree at rest.
pub(super) struct Receiver<'a> {
    // The first fields: lanes and threads end before the next ones are dropped.
    _lanes: Option<OpenLanes>,
    workers: Workers,
    arrivals: Arc<Arrivals>,
    filter: Option<Filter>,
    dry_run: bool,
    max_delete: Option<u64>,
    watch: &'a dyn Watch,
    cancel: &'a Cancel,
    counts: &'a mut Counts,
    events: mpsc::UnboundedReceiver<Event>,
    /// For the memory of entries that are not settled.
    charge: Charge,
    /// The sender's last message.
    end: Option<End>,
    /// What is left to do, once the manifest is complete.
    deferred: Option<Box<Deferred>>,
    decoder: Decoder,
    settled: Settled,
}

impl<'a> Receiver<'a> {
    pub(super) fn start(
        arrival: TreeArrival,
        watch: &'a dyn Watch,
        cancel: &'a Cancel,
        counts: &'a mut Counts,
        memory: &Memory,
    ) -> std::io::Result<Self> {
        let TreeArrival {
            target,
            root,
            options,
            filter,
            overrides,
            avoid,
            brought,
            lanes,
            file_lanes,
        } = arrival;
        let TreeTarget { path, state, .. } = &target;
        let (path, state) = (path.clone(), *state);
        if root.metadata.acls == Acls::Dropped {
            watch.acl_dropped(b"");
        }
        let (reports, events) = mpsc::unbounded_channel();
        let mask = attributes::mode_mask(options.preserve);
        let shared = Arc::new(Shared::new(target, overrides, mask, reports)?);
        let replacements = Arc::new(Replacements::new(Arc::clone(&shared)));
        let (dry_run, max_delete, seed) = (options.dry_run, options.max_delete, options.seed);
        let manifest =
            Manifest::new(Arc::clone(&shared), options, filter.clone(), avoid, root, state, memory)
                .after(brought);
        let workers = Workers::start(manifest, &shared, &replacements)?;
        let arrivals = Arrivals::new(shared, replacements, workers.jobs.clone(), seed, file_lanes);
        let arrivals = Arc::new(arrivals);
        Ok(Self {
            _lanes: lanes.map(|lanes| OpenLanes::new(lanes, Arc::clone(&arrivals))),
            arrivals,
            filter: Some(filter),
            dry_run,
            max_delete,
            watch,
            cancel,
            counts,
            events,
            workers,
            charge: memory.charge(),
            end: None,
            deferred: None,
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
                Some(event) = self.events.recv() => match event {
                    Event::Deletes(changes, sent) => {
                        changes.iter().for_each(|change| self.watch.changed(change));
                        if self.watch.tells_sender() {
                            link.send(&Changes { changes }).await?;
                        }
                        // Fails only when the thread has ended.
                        let _ = sent.send(());
                    }
                    event => {
                        if self.event(link, event)? {
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

    /// Handles the event of a thread, and returns whether it was the last one.
    fn event<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        event: Event,
    ) -> Result<bool, TransferError> {
        match event {
            Event::Decided(decided) => self.decided(link, decided)?,
            Event::Bad(BadManifest::Wrong(why)) => return Err(TransferError::misbehaved(why)),
            Event::Bad(BadManifest::TooMuch) => return Err(Failure::from(NoMemory).into()),
            Event::Listed(deferred) => {
                if !self.arrivals.is_complete() {
                    return Err(TransferError::misbehaved("it left wanted files out"));
                }
                self.deferred = Some(deferred);
                self.workers.jobs.close();
            }
            Event::Written(files, bytes) => {
                self.settled.files += files;
                self.settled.bytes += bytes;
                self.settled.done.files += files;
            }
            Event::Missed(failure) => {
                self.watch.missed(&failure, Side::Here);
                link.outbox().post(&Missed { number: None, failure })?;
            }
            Event::Brought(Brought { files, bytes, sent, moved }) => {
                self.arrived(files, bytes);
                self.counts.sent += sent;
                self.counts.moved += moved;
            }
            Event::Told(tell) => tell(self.watch),
            Event::Failed(failure) => return Err(failure.into()),
            Event::WriterEnded => {
                if self.workers.writer_ended() {
                    self.finish()?;
                }
            }
            Event::Finished(linked, done) => {
                self.settled.files += linked;
                self.settled.done += done;
                return Ok(true);
            }
            Event::Deletes(..) => {}
        }
        Ok(false)
    }

    fn decided<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        decided: Decided,
    ) -> Result<(), TransferError> {
        let Decided {
            answers,
            wanted,
            weight,
            changes,
            skipped,
            taken,
            without_acl,
            files,
            bytes,
            done,
        } = decided;
        self.settled.done += done;
        self.arrivals.want(wanted, weight);
        self.settled.files += files;
        self.settled.bytes += bytes;
        self.watch.had(bytes);
        if let Some(answers) = answers {
            link.outbox().post(&answers)?;
        }
        changes.iter().for_each(|change| self.watch.changed(change));
        skipped.iter().for_each(|(path, kind)| self.watch.skipped(path, *kind));
        taken.iter().for_each(|path| self.watch.taken(path));
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

    /// Starts the thread that finishes the tree.
    fn finish(&mut self) -> Result<(), TransferError> {
        let (Some(deferred), Some(filter)) = (self.deferred.take(), self.filter.take()) else {
            return Err(Failure::request(Cause::Internal).into());
        };
        let whole = self.end.is_some_and(|end| end.whole);
        let Arrivals { shared, replacements, .. } = &*self.arrivals;
        let (shared, replacements) = (Arc::clone(shared), Arc::clone(replacements));
        let (dry_run, most) = (self.dry_run, self.max_delete);
        let work = move || {
            let finish = Finish::new(&shared, &filter, most);
            let (linked, done) = if dry_run {
                (0, finish.dry_run(&deferred, whole))
            } else {
                finish.run(&deferred, &replacements, whole)
            };
            shared.report(Event::Finished(linked, done));
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
            Kind::Pack => self.contents().pack(link).await,
            Begin::KIND => {
                let (files, bytes) = self.contents().large_file(link).await?;
                self.arrived(files, bytes);
                Ok(())
            }
            Missed::KIND => {
                let Missed { number, failure } = link.reader.message()?;
                if let Some(number) = number {
                    self.arrivals.take(number).ok_or_else(unasked)?;
                }
                self.arrivals.shared.note_missed();
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
        let weight = self.arrivals.add_weight(entries.entries.iter().map(Entry::weight).sum());
        if weight > WINDOW {
            return Err(TransferError::misbehaved("it sent more entries than may be unsettled"));
        }
        self.charge.at_least(weight * WEIGHT_BYTES).map_err(Failure::from)?;
        let Some(manifest) = &self.workers.entries else {
            return Err(TransferError::misbehaved("its manifest goes on after its end"));
        };
        let gone = |_| TransferError::from(Failure::request(Cause::Internal));
        manifest.send(entries).await.map_err(gone)
    }

    /// What receives contents on this connection.
    fn contents(&mut self) -> ContentReceiver<'_> {
        ContentReceiver {
            arrivals: &self.arrivals,
            decoder: &mut self.decoder,
            watch: self.watch,
            cancel: self.cancel,
            counts: self.counts,
        }
    }

    /// Counts files that have arrived by themselves.
    fn arrived(&mut self, files: u64, bytes: u64) {
        self.settled.done.files += files;
        self.settled.files += files;
        self.settled.bytes += bytes;
    }
}
