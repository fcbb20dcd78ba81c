//! The sender of a tree: the manifest and contents go out while answers come in, none waits for another.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::avoid::Avoid;
use super::content::Content;
use super::reader;
use super::receiver_messages::ReceiverMessages;
use super::unsettled::Unsettled;
use super::walk::{TreeSource, Walked};
use super::watch::{Counts, FileProgress, Watch};
use crate::cancel::Cancel;
use crate::chunk::encode::Encoder;
use crate::chunk::sum::sum;
use crate::confined::join;
use crate::error::TransferError;
use crate::error::failed;
use crate::send::{Pace, Sender, check_have, send_failure, send_having};
use crate::source::Source;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::transfer::{Have, LiteralHead, Sending};
use lariat_wire::protocol::tree::{
    Begin, End, MAX_MESSAGE_WEIGHT, PackedHead, Settled, WINDOW, What,
};
use lariat_wire::protocol::{Kind, Message};

/// Sends a tree whose root was sent already, and returns when all of it is on the receiver's disk. What can't be
/// read or written is reported to `watch`, and the rest goes on; files in `avoid` are not tried. `counts` is
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
        Ok((walked, contents, mut tree)) => tree.run(link, walked, contents).await,
        Err(failure) => Err(failure.into()),
    };
    if let Err(TransferError::Local(failure)) = &outcome {
        send_failure(link, failure).await;
    }
    outcome
}

type Started<'a> = (mpsc::Receiver<Walked>, mpsc::Receiver<Content>, Tree<'a>);

fn start<'a>(
    memory: &Memory,
    source: TreeSource,
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
    let (want, contents) = reader::start(directory, path, preserve, avoid).map_err(&broken)?;
    let walked = source.walk(memory).map_err(&broken)?;
    let encoder = Encoder::new(how.compress).map_err(&broken)?;
    let pace = Pace::new(how.rate, Instant::now());
    let messages = ReceiverMessages { watch, counts, unsettled: Unsettled::new(want), whole: true };
    let tree = Tree { path: root.to_vec(), how, seed, cancel, messages, encoder, pace };
    Ok((walked, contents, tree))
}

struct Tree<'a> {
    path: Vec<u8>,
    how: Sending,
    /// Of the sums of packs.
    seed: u64,
    cancel: &'a Cancel,
    messages: ReceiverMessages<'a>,
    encoder: Encoder,
    pace: Pace,
}

impl Tree<'_> {
    async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        mut walked: mpsc::Receiver<Walked>,
        mut contents: mpsc::Receiver<Content>,
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
                walk = walked.recv(), if walking && room => match walk {
                    Some(walk) => self.walked(link, walk).await?,
                    None => walking = false,
                },
                content = contents.recv(), if !ended => match content {
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

    /// Sends what the reader has read.
    async fn content<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        content: Content,
    ) -> Result<(), TransferError> {
        match content {
            Content::Pack { body, files, weight } => {
                self.pack(link, &body, files).await?;
                self.messages.unsettled.settled(files, weight);
            }
            Content::Missed { number, failure, weight } => {
                self.messages.missed(link, Some(number), failure)?;
                self.messages.unsettled.settled(1, weight);
            }
            Content::Large { number, source, difference, weight, path, acl_dropped } => {
                if acl_dropped {
                    self.messages.watch.acl_dropped(&path);
                }
                let begin = Begin { number, offer: source.offer().clone() };
                link.outbox().post(&begin)?;
                let mut sent = Transferred::default();
                let done = if difference {
                    self.exchange(link, number, *source, path, &mut sent).await
                } else {
                    self.whole(link, number, *source, &mut sent).await
                };
                self.messages.counts.sent += sent.sent;
                self.messages.counts.moved += sent.moved;
                done?;
                self.messages.unsettled.settled(1, weight);
            }
        }
        Ok(())
    }

    async fn pack<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        pack: &[u8],
        files: usize,
    ) -> Result<(), TransferError> {
        let sum = sum(self.seed, pack);
        let (encoding, body) = self.encoder.encode(pack);
        let len = u32::try_from(pack.len()).expect("a pack is at most a chunk");
        let head = LiteralHead { len, sum, encoding: encoding as u8 }.encode();
        let sending = link.writer.bulk(Kind::Pack, &head, body);
        self.messages.during(&mut link.reader, sending).await??;
        let (sent, moved) = (body.len() as u64, (pack.len() - files * PackedHead::LEN) as u64);
        self.messages.counts.sent += sent;
        self.messages.counts.moved += moved;
        self.messages.watch.moved(moved);
        if let Some(wait) = self.pace.sent(sent, Instant::now()) {
            self.messages.during(&mut link.reader, tokio::time::sleep(wait)).await?;
        }
        Ok(())
    }

    /// Sends a file of which the receiver has nothing.
    async fn whole<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        number: u64,
        mut source: Source,
        sent: &mut Transferred,
    ) -> Result<(), TransferError> {
        let progress = FileProgress(self.messages.watch);
        let (how, cancel) = (self.how, self.cancel);
        let done = {
            let mut sender =
                Sender::new(&mut link.writer, &mut source, how, &progress, cancel, sent)?;
            self.messages.during(&mut link.reader, sender.whole()).await?
        };
        match done {
            Err(TransferError::Local(failure)) if self.cancel.cause().is_none() => {
                Ok(self.messages.missed(link, Some(number), failure)?)
            }
            done => done,
        }
    }

    /// Sends a file of which the receiver has a part, by the dialogue of a single file.
    async fn exchange<S: AsyncRead + AsyncWrite>(
        &mut self,
        link: &mut Link<S>,
        number: u64,
        mut source: Source,
        path: Vec<u8>,
        sent: &mut Transferred,
    ) -> Result<(), TransferError> {
        let have = loop {
            let frame = link.next().await?.ok_or(LinkError::Cut)?;
            match frame.kind {
                Have::KIND => break link.reader.message()?,
                // The receiver refuses this file; the next one follows.
                Kind::Missed if self.messages.refused(&link.reader, number)? => return Ok(()),
                kind => self.messages.handle(kind, &link.reader)?,
            }
        };
        check_have(&have, &source)?;
        let progress = FileProgress(self.messages.watch);
        let (how, cancel) = (self.how, self.cancel);
        let done = send_having(link, &mut source, &have, how, &progress, cancel, sent).await;
        if let Err(TransferError::Local(failure) | TransferError::Remote(failure)) = &done {
            self.messages.counts.abort(path, failure);
        }
        done.map(drop)
    }

    fn failure(&self, cause: Cause) -> Failure {
        Failure { action: Action::Read, path: Some(self.path.clone()), cause }
    }
}
