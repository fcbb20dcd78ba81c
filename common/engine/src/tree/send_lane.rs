//! Sends contents of a tree on a further connection.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};

use super::content::{Content, LargeSource};
use super::content_sender::{ContentSender, Messages, SentContent};
use super::lane_watch::{LaneWatch, Told};
use super::send_lanes::{Contents, SendTree};
use super::watch::{Side, Watch};
use crate::cancel::Cancel;
use crate::error::TransferError;
use crate::lanes::{Joined, Lanes};
use crate::send::{self, LaneEnd, SendFile};
use lariat_wire::link::{Link, LinkError, Reader};
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::transfer::{Part, Taken};
use lariat_wire::protocol::tree::Missed;
use lariat_wire::protocol::{Kind, Message};

/// Sends contents until the transfer is over or the lane is retired. Adds to `taken` the contents that the receiver
/// acknowledges.
pub(crate) async fn send_lane<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    joined: &Joined<SendTree>,
    number: u8,
    taken: &AtomicU64,
) -> Result<(), TransferError> {
    let share = |tree: &mut SendTree, _| {
        let (contents, files) = (tree.contents.clone(), tree.file_lanes.clone());
        (contents, files, tree.how, tree.seed, tree.pace.clone(), tree.path.clone())
    };
    let Some((contents, files, how, seed, pace, path)) = joined.with(share) else { return Ok(()) };
    let watch = LaneWatch(|told: Told| {
        joined.with(|tree, _| tree.reports().told.push(told));
        joined.announce();
    });
    let never = Cancel::default();
    let sender = ContentSender::new(how, seed, pace, &watch, &never);
    let sender = sender.map_err(|error| Failure::io(Action::Read, &path, &error))?;
    let messages = LaneMessages { joined, watch: &watch, taken, acknowledged: 0 };
    let mut lane = SendLane { joined, number, contents, files, sender, messages };
    let done = tokio::select! {
        biased;
        () = joined.over() => Ok(()),
        done = lane.run(link) => done,
    };
    if let Err(TransferError::Local(failure)) = &done {
        joined.with(|tree, _| tree.reports().failure = Some(failure.clone()));
        joined.announce();
    }
    done
}

struct SendLane<'a> {
    joined: &'a Joined<SendTree>,
    number: u8,
    contents: Contents,
    /// The lanes as those of a file whose chunks they share.
    files: Lanes<SendFile>,
    sender: ContentSender<'a>,
    messages: LaneMessages<'a>,
}

impl SendLane<'_> {
    async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<(), TransferError> {
        loop {
            let is_retired = self.joined.is_retired();
            let is_idle = self.joined.with(|tree, lane| tree.is_idle(lane)) != Some(false);
            if is_retired && is_idle {
                return Ok(());
            }
            let is_sharing = self.files.with(|_| ()).is_some();
            if is_sharing && is_idle {
                if self.part(link).await? {
                    continue;
                }
                return Ok(());
            }
            let takes_more = !is_retired && !is_sharing;
            let content = tokio::select! {
                biased;
                frame = link.reader.next() => match frame? {
                    Some(frame) => {
                        self.messages.handle(frame.kind, &link.reader)?;
                        continue;
                    }
                    None => return Ok(()),
                },
                () = self.joined.retired(), if !is_retired => continue,
                () = self.files.opened(), if takes_more => continue,
                content = self.contents.next(), if takes_more => content,
                error = link.writer.drive() => return Err(error.into()),
            };
            // Without a reader the transfer is over.
            let Some(content) = content else { return Ok(()) };
            if !self.content(link, content).await? {
                return Ok(());
            }
        }
    }

    /// Sends chunks of a file that all connections share. Returns `false` if the lane is to end: what it was sent of a
    /// file that is given up may be acknowledged later.
    async fn part<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
    ) -> Result<bool, TransferError> {
        let Some(part) = self.files.join(self.number).await else { return Ok(true) };
        let Some(number) = self.joined.with(|tree, _| tree.shared) else { return Ok(false) };
        link.outbox().post(&Part { number })?;
        let LaneMessages { acknowledged, taken, .. } = &mut self.messages;
        let sent = send::send_lane(link, &part, acknowledged, taken).await;
        if part.is_retired() {
            self.joined.retire();
        }
        match sent {
            // It is the file's, and the first connection tells the receiver.
            Err(TransferError::Local(_)) => Ok(false),
            sent => Ok(sent? == LaneEnd::Acknowledged),
        }
    }

    /// Sends a content. Returns `false` if another lane has replaced this one.
    async fn content<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        content: Content,
    ) -> Result<bool, TransferError> {
        let took = |wants| self.joined.with(|tree, lane| tree.took(lane, wants)) == Some(true);
        match content {
            Content::Pack(body, wants) => {
                let files = wants.len();
                if !took(wants) {
                    return Ok(false);
                }
                self.sender.pack(link, &mut self.messages, &body, files).await?;
            }
            Content::Whole(LargeSource { want, source, path, acl_dropped }) => {
                let number = want.number;
                if !took(vec![want]) {
                    return Ok(false);
                }
                if acl_dropped {
                    self.messages.watch.acl_dropped(&path);
                }
                self.sender.whole(link, &mut self.messages, number, *source, None).await?;
            }
        }
        Ok(true)
    }
}

/// The dialogue of a lane.
struct LaneMessages<'a> {
    joined: &'a Joined<SendTree>,
    watch: &'a dyn Watch,
    taken: &'a AtomicU64,
    acknowledged: u64,
}

impl Messages for LaneMessages<'_> {
    fn handle<R: AsyncRead>(
        &mut self,
        kind: Kind,
        reader: &Reader<ReadHalf<R>>,
    ) -> Result<(), TransferError> {
        match kind {
            Taken::KIND => {
                let Taken { count, last } = reader.message()?;
                let not_sent =
                    TransferError::misbehaved("it has taken contents that were not sent");
                let Some(more) = count.checked_sub(self.acknowledged) else { return Err(not_sent) };
                if let Some(Err(_)) = self.joined.with(|tree, lane| tree.acknowledge(lane, more)) {
                    return Err(not_sent);
                }
                self.joined.announce();
                self.acknowledged = count;
                self.taken.fetch_add(more, Ordering::Relaxed);
                if last {
                    self.joined.retire();
                }
                Ok(())
            }
            Missed::KIND => {
                self.watch.missed(&reader.message::<Missed>()?.failure, Side::There);
                Ok(())
            }
            Failure::KIND => Err(TransferError::Remote(reader.message()?)),
            other => Err(LinkError::Unexpected(other).into()),
        }
    }

    fn missed<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &Link<S>,
        number: Option<u64>,
        failure: Failure,
    ) -> Result<(), LinkError> {
        self.joined.with(|tree, _| tree.reports().missed = true);
        self.watch.missed(&failure, Side::Here);
        link.outbox().post(&Missed { number, failure })
    }

    fn ends(&mut self, content: SentContent) {
        self.joined.with(|tree, lane| tree.sent(lane, content));
    }

    fn has_sent(&mut self, _content: SentContent) {}
}
