//! Sends a file: its chunks, then those whose hashes differ at the receiver, then Complete.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::lanes::SendFile;
use super::pace::Pace;
use super::queue::{LaneProgress, SentChunk};
use super::receiver_message::ReceiverMessage;
use crate::cancel::Cancel;
use crate::chunk::encode::Encoder;
use crate::chunk::hash;
use crate::chunk::reconcile::{Reconcile, indices, missing};
use crate::chunk::rehash;
use crate::chunk::sum::sum;
use crate::error::TransferError;
use crate::lanes::Lanes;
use crate::page_buffer::PageBuffer;
use crate::progress::{Again, Progress};
use crate::source::Source;
use crate::source::{SinceOpened, SummedChunk};
use crate::transferred::Transferred;
use lariat_wire::limits::CHUNK;
use lariat_wire::link::Writer;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::transfer::{
    Begun, ChunkHead, Complete, Encoding, Hash, Have, LiteralHead, Range, Sending, Sum,
};

/// A chunk as it was read: what a second read is compared with.
#[derive(Clone, Copy)]
enum AsRead {
    Not,
    /// It was sent.
    Sent(Sum),
    /// It was compared with the receiver's.
    Compared(Hash),
}

impl AsRead {
    /// Whether these bytes are those of chunk `index`.
    fn is(self, index: u64, seed: u64, bytes: &[u8]) -> bool {
        match self {
            Self::Not => false,
            Self::Sent(first) => sum(seed, bytes) == first,
            Self::Compared(first) => hash::chunk(index, bytes) == first,
        }
    }
}

/// The sender of one file.
pub(crate) struct Sender<'a, S> {
    pub(super) writer: &'a mut Writer<WriteHalf<S>>,
    pub(super) source: &'a mut Source,
    /// How it was asked to send.
    pub(super) how: Sending,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    encoder: Encoder,
    pub(super) pace: Pace,
    pub(super) buffer: PageBuffer,
    /// What is known of each chunk.
    read: Vec<AsRead>,
    sent: &'a mut Transferred,
    /// The lanes that send a part of it.
    pub(super) shared: Option<Lanes<SendFile>>,
}

/// Counts what lanes have sent, even when the sender is dropped in its middle.
impl<S> Drop for Sender<'_, S> {
    fn drop(&mut self) {
        let progress = |file: &mut SendFile| file.queue.progress();
        let shared = self.shared.take().and_then(|lanes| lanes.with(progress));
        let LaneProgress { sent, taken, .. } = shared.unwrap_or_default();
        self.sent.sent += sent;
        self.sent.moved += taken.iter().map(|chunk| chunk.len).sum::<u64>();
    }
}

impl<'a, S: AsyncRead + AsyncWrite> Sender<'a, S> {
    pub(crate) fn new(
        writer: &'a mut Writer<WriteHalf<S>>,
        source: &'a mut Source,
        how: Sending,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
        sent: &'a mut Transferred,
    ) -> Result<Self, TransferError> {
        let encoder = Encoder::new(how.compress).map_err(|error| source.read_error(&error))?;
        let offer = source.offer();
        let chunks = usize::try_from(offer.chunks()).unwrap_or(usize::MAX);
        if chunks > hash::MAX_CHUNKS {
            let why = "the file is larger than a transfer can be".to_owned();
            return Err(source.failure(Cause::BadRequest(why)).into());
        }
        let buffer = PageBuffer::new(offer.size.map_or(CHUNK, |size| rehash::chunk_len(size, 0)));
        sent.size = offer.size.unwrap_or_default();
        let pace = Pace::new(how.rate, Instant::now());
        let read = vec![AsRead::Not; chunks];
        let shared = None;
        Ok(Self {
            writer,
            source,
            how,
            progress,
            cancel,
            encoder,
            pace,
            buffer,
            read,
            sent,
            shared,
        })
    }

    /// Sends everything, then what is posted, until something fails.
    pub(super) async fn run(
        &mut self,
        have: &Have,
        received: mpsc::UnboundedReceiver<ReceiverMessage>,
        lanes: Option<&Lanes<SendFile>>,
    ) -> TransferError {
        let sent = match self.source.take_stream() {
            Some(stream) => self.stream(stream).await,
            None => self.file(have, received, lanes).await,
        };
        match sent {
            Ok(()) => self.writer.drive().await.into(),
            Err(error) => error,
        }
    }

    /// Sends a file of which the receiver has nothing, from its first byte to Complete.
    pub(crate) async fn whole(
        &mut self,
        lanes: Option<&Lanes<SendFile>>,
    ) -> Result<(), TransferError> {
        if let Some(stream) = self.source.take_stream() {
            return self.stream(stream).await;
        }
        let (_, nothing) = mpsc::unbounded_channel();
        self.file(&Have::default(), nothing, lanes).await
    }

    async fn file(
        &mut self,
        have: &Have,
        mut received: mpsc::UnboundedReceiver<ReceiverMessage>,
        lanes: Option<&Lanes<SendFile>>,
    ) -> Result<(), TransferError> {
        let hash = if self.how.hash { Some(self.start_hash()?) } else { None };
        let chunks = self.source.offer().chunks();
        let compared = have.compared();
        if let Some(basis) = have.basis {
            let all = [Range { first: 0, count: chunks }];
            let mut reconcile = Reconcile::new(&all);
            if let Some(begun) = have.begun {
                self.rest(begun).await?;
            }
            self.delta(basis, &compared, &mut received, &mut reconcile).await?;
            // All hashes of this end are known: a channel that has ended.
            let ours = mpsc::channel(1).1;
            self.compare(reconcile, ours, &mut received).await?;
        } else {
            // Both ends hash the old chunks while the new ones are sent.
            let ours = self.rehash(&have.chunks)?;
            let mut reconcile = Reconcile::new(&compared);
            if let Some(begun) = have.begun {
                reconcile.ours(begun.chunk, self.rest(begun).await?);
            }
            let missing = missing(&compared, chunks);
            match lanes {
                Some(lanes) => self.share(missing, lanes).await?,
                None => self.chunks(&missing).await?,
            }
            self.compare(reconcile, ours, &mut received).await?;
            if let Some(lanes) = lanes {
                self.settle(lanes).await?;
            }
        }
        if let Some(hash) = hash {
            self.sent.hash = Some(self.hashed(hash).await?);
        }
        self.check_source().await?;
        let size = self.source.offer().size.unwrap_or_default();
        self.complete(size)
    }

    /// Starts to hash the whole file, on a separate thread that ends early if the result is dropped.
    fn start_hash(&self) -> Result<oneshot::Receiver<io::Result<Hash>>, TransferError> {
        let (hash, hashed) = oneshot::channel();
        let work = self.source.whole_hash();
        let work = move || {
            let done = work(&|| !hash.is_closed());
            // Fails only when the transfer is over.
            let _ = hash.send(done);
        };
        let spawned = std::thread::Builder::new().name("hash".to_owned()).spawn(work);
        spawned.map_err(|error| self.source.read_error(&error))?;
        Ok(hashed)
    }

    async fn hashed(
        &mut self,
        hashed: oneshot::Receiver<io::Result<Hash>>,
    ) -> Result<Hash, TransferError> {
        let hash = tokio::select! {
            biased;
            hash = hashed => hash.map_err(|_| self.source.failure(Cause::Internal))?,
            error = self.writer.drive() => return Err(error.into()),
        };
        hash.map_err(|error| self.source.read_error(&error).into())
    }

    /// Sends a stream, chunk after chunk. Its size is known at its end.
    async fn stream(
        &mut self,
        mut stream: mpsc::Receiver<io::Result<Vec<u8>>>,
    ) -> Result<(), TransferError> {
        let mut size = 0;
        let mut index = 0;
        let mut hasher = self.how.hash.then(blake3::Hasher::new);
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = stream.recv() => chunk,
                error = self.writer.drive() => return Err(error.into()),
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|error| self.source.read_error(&error))?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            size += chunk.len() as u64;
            self.sent.size = size;
            self.read.push(AsRead::Not);
            let sum = sum(self.source.offer().seed, &chunk);
            self.send_chunk(index, &chunk, sum).await?;
            index += 1;
        }
        self.sent.hash = hasher.map(|hasher| hasher.finalize().into());
        self.complete(size)
    }

    /// Makes sure that the chunks sent are the file's content at one instant. A file that was touched meanwhile
    /// is read again: if each chunk is the same both times, all of them existed between the two reads.
    async fn check_source(&mut self) -> Result<(), TransferError> {
        if self.source.since_opened()? == SinceOpened::Unchanged {
            return Ok(());
        }
        let (count, offer) = (self.read.len() as u64, self.source.offer());
        let all = if count == 0 { vec![] } else { vec![Range { first: 0, count }] };
        let (read, seed) = (std::mem::take(&mut self.read), offer.seed);
        let is_same = move |index, bytes: &[u8]| {
            let first = usize::try_from(index).ok().and_then(|index| read.get(index));
            first.is_some_and(|first| first.is(index, seed, bytes))
        };
        let (file, size) = (self.source.file().clone(), offer.size.unwrap_or_default());
        let again = rehash::each(file, size, all, is_same);
        let mut again = again.map_err(|error| self.source.read_error(&error))?;
        for _ in 0..count {
            let second = tokio::select! {
                biased;
                second = again.recv() => second,
                error = self.writer.drive() => return Err(error.into()),
            };
            let (_, is_same) = second.ok_or_else(|| self.source.failure(Cause::Internal))?;
            if !is_same.map_err(|error| self.source.read_error(&error))? {
                return Err(self.source.failure(Cause::SourceChanged).into());
            }
            if let Some(cause) = self.cancel.cause() {
                return Err(self.source.failure(cause).into());
            }
        }
        Ok(())
    }

    fn complete(&mut self, size: u64) -> Result<(), TransferError> {
        Ok(self.writer.outbox().post(&Complete { size, hash: self.sent.hash })?)
    }

    fn rehash(&self, chunks: &[Range]) -> Result<mpsc::Receiver<rehash::Rehashed>, TransferError> {
        let size = self.source.offer().size.unwrap_or_default();
        let file = self.source.file().clone();
        rehash::start(file, size, chunks.to_vec()).map_err(|e| self.source.read_error(&e).into())
    }

    /// Compares the hashes of both ends, and sends the chunks that differ.
    async fn compare(
        &mut self,
        mut reconcile: Reconcile,
        mut ours: mpsc::Receiver<rehash::Rehashed>,
        received: &mut mpsc::UnboundedReceiver<ReceiverMessage>,
    ) -> Result<(), TransferError> {
        loop {
            // Whatever was compared before the first wait counts too.
            while let Some(index) = reconcile.next_differing() {
                self.progress.again(Again::Differs, 1);
                self.chunk(index).await?;
            }
            if reconcile.is_done() {
                return Ok(());
            }
            tokio::select! {
                Some((index, hash)) = ours.recv() => {
                    let hash = hash.map_err(|error| self.source.read_error(&error))?;
                    self.set_hash(index, hash);
                    reconcile.ours(index, hash);
                }
                Some(message) = received.recv() => match message {
                    ReceiverMessage::Hashes(hashes) => reconcile.add_theirs(hashes)?,
                    ReceiverMessage::Pieces(_) => {
                        return Err(TransferError::misbehaved("its basis goes on after its end"));
                    }
                },
                error = self.writer.drive() => return Err(error.into()),
            }
        }
    }

    async fn chunks(&mut self, ranges: &[Range]) -> Result<(), TransferError> {
        for index in indices(ranges) {
            self.chunk(index).await?;
        }
        Ok(())
    }

    async fn chunk(&mut self, index: u64) -> Result<(), TransferError> {
        self.chunk_like(index, None).await
    }

    /// Sends a chunk, of which the receiver may have bytes with the sum `before`.
    pub(super) async fn chunk_like(
        &mut self,
        index: u64,
        before: Option<Sum>,
    ) -> Result<(), TransferError> {
        let buffer = std::mem::take(&mut self.buffer);
        let SummedChunk { bytes, sum } = self.source.chunk(index, buffer)?;
        if let Some(before) = before {
            if before != sum {
                return Err(self.source.failure(Cause::SourceChanged).into());
            }
            self.progress.again(Again::Lane, 1);
        }
        let done = self.send_chunk(index, &bytes, sum).await;
        self.buffer = bytes.into_buffer();
        done
    }

    /// Sends the rest of a chunk whose beginning the receiver has. Returns the chunk's hash.
    async fn rest(&mut self, begun: Begun) -> Result<Hash, TransferError> {
        let buffer = std::mem::take(&mut self.buffer);
        let SummedChunk { bytes, .. } = self.source.chunk(begun.chunk, buffer)?;
        let hash = hash::chunk(begun.chunk, &bytes);
        self.set_hash(begun.chunk, hash);
        let rest = bytes.get(begun.len as usize..).unwrap_or_default();
        let (encoding, body) = self.encoder.encode(rest);
        let sum = sum(self.source.offer().seed, rest);
        let head = ChunkHead { index: begun.chunk, sum, encoding: encoding as u8 }.encode();
        self.writer.bulk(Kind::Chunk, &head, body).await?;
        let (rest, body) = (rest.len() as u64, body.len() as u64);
        self.progress.again(Again::Cut, 1);
        self.moved(rest, body).await?;
        self.buffer = bytes.into_buffer();
        Ok(hash)
    }

    /// Sends one chunk.
    async fn send_chunk(
        &mut self,
        index: u64,
        bytes: &[u8],
        sum: Sum,
    ) -> Result<(), TransferError> {
        self.set(index, AsRead::Sent(sum));
        // The length of a stream's last chunk is that of its body, which must not be encoded.
        let short = self.source.offer().size.is_none() && bytes.len() < CHUNK;
        let (encoding, body) =
            if short { (Encoding::Raw, bytes) } else { self.encoder.encode(bytes) };
        let head = ChunkHead { index, sum, encoding: encoding as u8 }.encode();
        self.writer.bulk(Kind::Chunk, &head, body).await?;
        let body = body.len() as u64;
        self.moved(bytes.len() as u64, body).await
    }

    /// Sends a literal.
    pub(super) async fn literal(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let len = u32::try_from(bytes.len()).expect("a literal is at most a chunk");
        let sum = sum(self.source.offer().seed, bytes);
        let (encoding, body) = self.encoder.encode(bytes);
        let head = LiteralHead { len, sum, encoding: encoding as u8 }.encode();
        self.writer.bulk(Kind::Literal, &head, body).await?;
        let body = body.len() as u64;
        self.moved(bytes.len() as u64, body).await
    }

    /// Counts what was sent, keeps to the rate, and fails if the transfer was cancelled.
    async fn moved(&mut self, bytes: u64, body: u64) -> Result<(), TransferError> {
        self.sent.sent += body;
        self.sent.moved += bytes;
        self.progress.moved(bytes);
        if let Some(cause) = self.cancel.cause() {
            return Err(self.source.failure(cause).into());
        }
        if let Some(wait) = self.pace.sent(body, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Counts what lanes have sent.
    pub(super) fn lanes_sent(&mut self, LaneProgress { sent, again, taken }: LaneProgress) {
        self.sent.sent += sent;
        if again > 0 {
            self.progress.again(Again::Lane, again);
        }
        for SentChunk { index, sum, len, .. } in taken {
            self.set(index, AsRead::Sent(sum));
            self.sent.moved += len;
            self.progress.moved(len);
        }
    }

    /// Reports bytes that the receiver copies from its basis.
    pub(super) fn reused(&self, bytes: u64) {
        self.progress.moved(bytes);
    }

    /// Records the hash of a chunk that the receiver's is compared with.
    pub(super) fn set_hash(&mut self, index: u64, hash: Hash) {
        self.set(index, AsRead::Compared(hash));
    }

    fn set(&mut self, index: u64, read: AsRead) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(place) = self.read.get_mut(index) {
            *place = read;
        }
    }
}
