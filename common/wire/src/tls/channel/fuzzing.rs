//! A connection whose peer is a fuzzer.

use std::task::{Context, Poll, Waker};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::OkmBlock;
use tokio::io::{AsyncReadExt, join, sink};

use super::{Channel, Content, MAX_CONTENT, OVERHEAD, Opener, READ_FEW, RecordEvent, Sealer};

/// Reads what a peer that knows the keys sends. `script` is a list of pieces, each after its kind (raw bytes,
/// or the content of a sealed alert, handshake message or data record) and its length.
///
/// # Panics
/// If the reader gets anything but the data records up to the first fault.
pub fn read_records(mut script: &[u8]) {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("it is one of TLS 1.3");
    let secret = || OkmBlock::new(&[7; 32]);
    let opener = Opener::new(suite, secret(), 0).expect("the cipher is known");
    let [mut peer, sealer] =
        [(); 2].map(|()| Sealer::new(suite, secret(), 0).expect("the cipher is known"));
    let (mut stream, mut data) = (Vec::new(), Vec::new());
    while let Some((&[kind, low, high], rest)) = script.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len()).min(MAX_CONTENT);
        let (piece, rest) = rest.split_at(len);
        script = rest;
        let kind = match kind % 4 {
            0 => {
                stream.extend_from_slice(piece);
                continue;
            }
            1 => Content::Alert,
            2 => Content::Handshake,
            _ => Content::Data,
        };
        let start = stream.len();
        stream.resize(start + OVERHEAD + len, 0);
        peer.seal(kind, piece, &mut stream[start..]);
        if kind == Content::Data {
            data.extend_from_slice(piece);
        }
        if let Ok(RecordEvent::Update { .. }) = RecordEvent::of(kind, piece) {
            peer.update();
        }
    }
    let mut channel = Channel {
        stream: join(stream.as_slice(), sink()),
        opener,
        sealer,
        incoming: vec![0; READ_FEW],
        raw: 0..0,
        content: 0..0,
        fruitless: 0,
        closed: false,
        bad: None,
        outgoing: Vec::new(),
        pending: 0..0,
        closing: false,
        update_asked: false,
    };
    let mut read = Vec::new();
    let reading = std::pin::pin!(channel.read_to_end(&mut read));
    let polled = reading.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(_)), "everything has come already");
    assert!(data.starts_with(&read), "what was sealed is what is read");
}
