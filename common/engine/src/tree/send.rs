//! The sender of a tree: the manifest and contents go out while answers come in, none waits for another.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::avoid::Avoid;
use super::content::{Content, FirstContent, LargeSource};
use super::content_sender::{ContentSender, Messages, SentContent};
use super::reader;
use super::receiver_messages::ReceiverMessages;
use super::send_lanes::{Contents, OpenLanes, Reports, SendTree};
use super::unsettled::Unsettled;
use super::walk::{TreeSource, Walked};
use super::watch::{Counts, FileProgress, Watch};
use crate::cancel::Cancel;
use crate::confined::join;
use crate::error::TransferError;
use crate::error::failed;
use crate::lanes::Lanes;
use crate::send::{Pace, check_have, send_failure, send_having};
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::transfer::{Have, Sending};
use lariat_wire::protocol::tree::{Begin, End, MAX_MESSAGE_WEIGHT, Missed, Settled, WINDOW, What};

/// Sends a tree whose root was sent already, and returns when all of it is on the receiver's disk. What can't be
/// read or written is reported to `watch`, and the rest continues; files in `avoid` are not tried. `counts` is
/// counted up during the transfer, also if this fails.
///
/// After an error the connection must be ended.
pub async fn send_tree<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: TreeSource,
    avoid: Avoid,
    how: Sending,
    watch: &dyn Watch,
    cancel: &Cancel,
    counts: &mut Counts,
) -> Result<Settled, TransferError> {
    let outcome = match start(link.outbox().memory(), source, avoid, how, watch, cancel, counts) {
        Ok((walked, first, mut tree)) => tree.run(link, walked, first).await,
        Err(failure) => Err(failure.into()),
    };
    if let Err(TransferError::Local(failure)) = &outcome {
        send_failure(link, failure).await;
    }
    outcome
}

type Started<'a> = (mpsc::Receiver<Walked>, mpsc::Receiver<FirstContent>, Tree<'a>);

fn start<'a>(
    memory: &Memory,
    mut source: TreeSource,
    avoid: Avoid,
    how: Sending,
    watch: &'a dyn Watch,
    cancel: &'a Cancel,
    counts: &'a mut Counts,
) -> Result<Started<'a>, Failure> {
    let root = Arc::clone(&source.path);
    let broken = failed(Action::Read, &root);
    let (preserve, seed) = (source.options().preserve, source.options().seed);
    if source.root().metadata.acls == Acls::Dropped {
        watch.acl_dropped(b"");
    }
    let (directory, path) = (Arc::clone(&source.directory), Arc::clone(&root));
    let reader::Started { want, contents, first } =
        reader::start(directory, path, preserve, avoid).map_err(&broken)?;
    let (contents, pace) = (Contents::new(contents), Pace::new(how.rate, Instant::now()));
    let (files, asking) = (source.file_lanes.clone(), want.clone());
    let (read, paced, path) = (contents.clone(), pace.clone(), Arc::clone(&root));
    let shared = SendTree::new(files, read, asking, how, seed, paced, path);
    let closed = source.lanes.take().map(|lanes| (lanes, shared));
    let walked = source.walk(memory).map_err(&broken)?;
    let sender = ContentSender::new(how, seed, pace, watch, cancel).map_err(&broken)?;
    let messages = ReceiverMessages { watch, counts, unsettled: Unsettled::new(want), whole: true };
    let tree =
        Tree { path: root.to_vec(), how, cancel, messages, contents, sender, closed, lanes: None };
    Ok((walked, first, tree))
}

struct Tree<'a> {
    path: Vec<u8>,
    how: Sending,
    cancel: &'a Cancel,
    messages: ReceiverMessages<'a>,
    contents: Contents,
    sender: ContentSender<'a>,
    /// Lanes, until the first content is sent: then the other end knows of the transfer.
    closed: Option<(Lanes<SendTree>, SendTree)>,
    lanes: Option<OpenLanes>,
}

impl Tree<'_> {
    async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        mut walked: mpsc::Receiver<Walked>,
        mut first: mpsc::Receiver<FirstContent>,
    ) -> Result<Settled, TransferError> {
        let (mut walking, mut ended) = (true, false);
        loop {
            if !walking && !ended && self.messages.unsettled.is_empty() {
                link.outbox().post(&End { whole: self.messages.whole })?;
                ended = true;
            }
            let room = self.messages.unsettled.weight() + MAX_MESSAGE_WEIGHT <= WINDOW;
            tokio::select! {
                biased;
                cause = self.cancel.cancelled() => return Err(self.failure(cause).into()),
                frame = link.reader.next() => {
                    let kind = frame?.ok_or(LinkError::Cut)?.kind;
                    if kind == Settled::KIND && ended {
                        return Ok(link.reader.message()?);
                    }
                    self.messages.handle(kind, &link.reader)?;
                }
                reports = OpenLanes::reports(self.lanes.as_mut()) => self.reported(reports)?,
                walk = walked.recv(), if walking && room => match walk {
                    Some(walk) => self.walked(link, walk).await?,
                    None => walking = false,
                },
                content = first.recv(), if !ended => match content {
                    Some(content) => self.first_content(link, content).await?,
                    None => return Err(self.failure(Cause::Internal).into()),
                },
                content = self.contents.next(), if !ended => match content {
                    Some(content) => self.content(link, content).await?,
                    None => return Err(self.failure(Cause::Internal).into()),
                },
                error = link.writer.drive() => return Err(error.into()),
            }
        }
    }

    /// Sends what the walk has found.
    async fn walked<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        walked: Walked,
    ) -> Result<(), TransferError> {
        match walked {
            Walked::Entries(directory, entries) => {
                link.outbox().post(&entries)?;
                self.messages.watch.listed(entries.size());
                for entry in &entries.entries {
                    if entry.metadata.acls == Acls::Dropped {
                        self.messages.watch.acl_dropped(&join(&directory, &entry.name));
                    }
                    if let What::Other(kind) = entry.what {
                        self.messages.watch.skipped(&join(&directory, &entry.name), kind);
                    }
                }
                self.messages.unsettled.sent(directory, entries.entries);
            }
            Walked::Missed(failure) => {
                self.messages.whole = false;
                self.messages.missed(link, None, failure)?;
            }
        }
        self.messages.during(&mut link.reader, link.writer.flush()).await??;
        Ok(())
    }

    /// Takes over what lanes have sent.
    fn reported(&mut self, reports: Reports) -> Result<(), Failure> {
        let Reports { files, weight, sent, told, missed, failure } = reports;
        told.into_iter().for_each(|tell| tell(self.messages.watch));
        self.messages.has_sent(sent);
        self.messages.unsettled.settled(files, weight);
        self.messages.whole &= !missed;
        failure.map_or(Ok(()), Err)
    }

    /// Lets lanes join, if they don't yet.
    fn open_lanes(&mut self) {
        if let Some((lanes, tree)) = self.closed.take() {
            self.lanes = Some(OpenLanes::new(lanes, tree));
        }
    }

    /// Sends what the reader has read.
    async fn content<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        content: Content,
    ) -> Result<(), TransferError> {
        self.open_lanes();
        match content {
            Content::Pack(body, wants) => {
                self.sender.pack(link, &mut self.messages, &body, wants.len()).await?;
                let weight = wants.iter().map(|want| want.weight).sum();
                self.messages.unsettled.settled(wants.len(), weight);
            }
            Content::Whole(LargeSource { want, source, path, acl_dropped }) => {
                if acl_dropped {
                    self.messages.watch.acl_dropped(&path);
                }
                let (messages, number) = (&mut self.messages, want.number);
                self.sender.whole(link, messages, number, *source, None).await?;
                self.messages.unsettled.settled(1, want.weight);
            }
        }
        Ok(())
    }

    /// Sends what no other connection can carry.
    async fn first_content<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        content: FirstContent,
    ) -> Result<(), TransferError> {
        let weight = match content {
            FirstContent::Missed(want, failure) => {
                self.messages.missed(link, Some(want.number), failure)?;
                want.weight
            }
            FirstContent::Shared(LargeSource { want, source, path, acl_dropped }) => {
                self.open_lanes();
                if acl_dropped {
                    self.messages.watch.acl_dropped(&path);
                }
                let lanes = self.lanes.as_ref().and_then(|lanes| lanes.share(want.number));
                let (messages, number) = (&mut self.messages, want.number);
                self.sender.whole(link, messages, number, *source, lanes.as_ref()).await?;
                want.weight
            }
            FirstContent::Difference(large) => {
                let weight = large.want.weight;
                self.exchange(link, large).await?;
                weight
            }
        };
        self.messages.unsettled.settled(1, weight);
        Ok(())
    }

    /// Sends a file of which the receiver has a part, by the dialogue of a single file.
    async fn exchange<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        LargeSource { want, mut source, path, acl_dropped }: LargeSource,
    ) -> Result<(), TransferError> {
        if acl_dropped {
            self.messages.watch.acl_dropped(&path);
        }
        link.outbox().post(&Begin { number: want.number, offer: source.offer().clone() })?;
        let have = loop {
            let frame = link.next().await?.ok_or(LinkError::Cut)?;
            match frame.kind {
                Have::KIND => break link.reader.message()?,
                // The receiver refuses this file; the next one follows.
                Missed::KIND if self.messages.refused(&link.reader, want.number)? => return Ok(()),
                // `refused` has handled it.
                Missed::KIND => {}
                kind => self.messages.handle(kind, &link.reader)?,
            }
        };
        check_have(&have, &source)?;
        let (progress, mut sent) = (FileProgress(self.messages.watch), Transferred::default());
        let done = {
            let (how, cancel) = (self.how, self.cancel);
            send_having(link, &mut source, &have, how, &progress, cancel, &mut sent).await
        };
        self.messages.has_sent(SentContent { sent: sent.sent, moved: sent.moved });
        if let Err(TransferError::Local(failure) | TransferError::Remote(failure)) = &done {
            self.messages.counts.abort(path, failure);
        }
        done.map(drop)
    }

    fn failure(&self, cause: Cause) -> Failure {
        Failure { action: Action::Read, path: Some(self.path.clone()), cause }
    }
}
