//! Receives contents of a tree on a further connection.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};

use super::arrivals::Arrivals;
use super::content_receiver::ContentReceiver;
use super::event::{Brought, Event};
use super::lane_watch::{LaneWatch, Told};
use super::receive_lanes::ReceiveTree;
use super::watch::Counts;
use crate::cancel::Cancel;
use crate::chunk::encode::Decoder;
use crate::error::TransferError;
use crate::lanes::Joined;
use crate::receive::LaneChunks;
use lariat_wire::link::{Frame, Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{Part, Taken};
use lariat_wire::protocol::tree::Begin;
use lariat_wire::protocol::{Kind, Message};

/// Receives contents until the transfer is over or the sender ends the lane. Adds them to `taken`.
pub(crate) async fn receive_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    joined: &Joined<ReceiveTree>,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let (mut count, mut last) = (0, false);
    let mut lane = ReceiveLane { joined, number, decoder: Decoder::new(), part: None };
    loop {
        let frame = tokio::select! {
            biased;
            () = joined.over() => return Ok(()),
            error = link.writer.drive() => return Err(error.into()),
            () = joined.retired(), if !last => {
                last = true;
                link.outbox().post(&Taken { count, last })?;
                continue;
            }
            frame = link.reader.next() => frame?,
        };
        let Some(frame) = frame else { return Ok(()) };
        if frame.kind == Part::KIND {
            lane.part = Some((link.reader.message::<Part>()?.number, None));
            continue;
        }
        let Some(()) = lane.content(link, frame).await? else { return Ok(()) };
        count += 1;
        taken.fetch_add(1, Ordering::Relaxed);
        link.outbox().post(&Taken { count, last })?;
    }
}

struct ReceiveLane<'a> {
    joined: &'a Joined<ReceiveTree>,
    number: u8,
    decoder: Decoder,
    /// The file whose chunks come, and once it was joined, what takes them.
    part: Option<(u64, Option<LaneChunks>)>,
}

impl ReceiveLane<'_> {
    /// Receives a content. `None` if the transfer is over.
    async fn content<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        frame: Frame,
    ) -> Result<Option<()>, TransferError> {
        let Self { joined, number, decoder, part } = self;
        let Some(inside) = joined.with(|tree, _| tree.enter()) else { return Ok(None) };
        let arrivals = inside.arrivals();
        let shared = &arrivals.shared;
        let watch = LaneWatch(|told: Told| shared.report(Event::Told(told)));
        let (cancel, mut counts) = (Cancel::default(), Counts::default());
        let receiving = async {
            let (watch, cancel, counts) = (&watch, &cancel, &mut counts);
            if frame.kind == Kind::Chunk {
                return chunk(link, arrivals, frame, part, *number).await.map(|()| (0, 0));
            }
            *part = None;
            let mut receiver = ContentReceiver { arrivals, decoder, watch, cancel, counts };
            match frame.kind {
                Kind::Pack => receiver.pack(link).await.map(|()| (0, 0)),
                Begin::KIND => receiver.whole_file(link).await,
                Failure::KIND => Err(TransferError::Remote(link.reader.message()?)),
                other => Err(LinkError::Unexpected(other).into()),
            }
        };
        let done = {
            let mut receiving = std::pin::pin!(receiving);
            tokio::select! {
                biased;
                done = &mut receiving => done,
                () = joined.over() => {
                    if frame.kind != Begin::KIND {
                        return Ok(None);
                    }
                    // Pending files are written first, because the next attempt must find them.
                    cancel.cancel(Cause::Superseded);
                    receiving.await
                }
            }
        };
        let (files, bytes) = match &done {
            Ok(arrived) => *arrived,
            Err(_) => (0, 0),
        };
        let Counts { sent, moved, .. } = counts;
        shared.report(Event::Brought(Brought { files, bytes, sent, moved }));
        match done {
            // The transfer is over, or another connection receives the file.
            Err(TransferError::Local(_)) if cancel.cause().is_some() => Ok(None),
            Err(TransferError::Local(failure)) => {
                shared.report(Event::Failed(failure.clone()));
                Err(failure.into())
            }
            done => done.map(|_| Some(())),
        }
    }
}

/// Takes a chunk of a file that all connections share.
async fn chunk<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    arrivals: &Arrivals,
    frame: Frame,
    part: &mut Option<(u64, Option<LaneChunks>)>,
    lane: u8,
) -> Result<(), TransferError> {
    let Some((number, chunks)) = part else {
        return Err(LinkError::Unexpected(Kind::Chunk).into());
    };
    if chunks.is_none() {
        *chunks = arrivals.join(*number, lane).await.and_then(LaneChunks::new);
    }
    let taken = match chunks {
        Some(chunks) => chunks.take(&mut link.reader, frame).await,
        None => link.reader.skip_bulk().await.map_err(TransferError::from),
    };
    match taken {
        // It is the file's, which the first connection is told.
        Err(TransferError::Local(_)) => Ok(()),
        taken => taken,
    }
}
