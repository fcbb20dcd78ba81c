//! Streams of several encodings, cut at every byte, both ways.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::decoder::StreamDecoder;
use super::encoder::StreamEncoder;
use super::{Decoded, Encoded, HostEncoding};

const NAMES: [&str; 9] = [
    "gbk",
    "gb18030",
    "big5",
    "shift_jis",
    "iso-2022-jp",
    "euc-kr",
    "latin1",
    "utf-16le",
    "utf-16be",
];

fn encoding(name: &str) -> HostEncoding {
    name.parse().unwrap()
}

fn encode(name: &str, parts: &[&[u8]]) -> (Vec<u8>, u64) {
    let (mut encoder, mut bytes) = (StreamEncoder::new(encoding(name)), Vec::new());
    parts.iter().for_each(|part| encoder.push(part, &mut bytes));
    encoder.end(&mut bytes);
    (bytes, encoder.replaced())
}

fn decode(name: &str, parts: &[&[u8]]) -> (String, u64) {
    let (mut decoder, mut text) = (StreamDecoder::new(encoding(name)), String::new());
    parts.iter().for_each(|part| decoder.push(part, &mut text));
    decoder.end(&mut text);
    (text, decoder.replaced())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn known_texts_have_their_bytes() {
    for (name, text, bytes) in [
        ("gbk", "中文a", &b"\xd6\xd0\xce\xc4a"[..]),
        ("gb18030", "😀", b"\x94\x39\xfc\x36"),
        ("shift_jis", "日本", b"\x93\xfa\x96\x7b"),
        ("iso-2022-jp", "日a", b"\x1b$BF|\x1b(Ba"),
        ("latin1", "größe", b"gr\xf6\xdfe"),
        ("utf-16le", "a😀", b"a\0\x3d\xd8\0\xde"),
        ("utf-16be", "aé", b"\0a\0\xe9"),
        ("utf-8", "é", b"\xc3\xa9"),
    ] {
        assert_eq!(encode(name, &[text.as_bytes()]), (bytes.to_vec(), 0), "{name}");
        assert_eq!(decode(name, &[bytes]), (text.to_owned(), 0), "{name}");
    }
}

#[test]
fn a_byte_order_mark_is_no_text() {
    let plain = ("a".to_owned(), 0);
    assert_eq!(decode("utf-16le", &[b"\xff\xfea\0"]), plain);
    assert_eq!(decode("utf-16", &[b"\xfe", b"\xff\0a"]), plain, "it says the order");
    assert_eq!(decode("utf-8", &[b"\xef\xbb", b"\xbfa"]), plain);
    assert_eq!(decode("latin1", &[b"\xff\xfea"]), ("ÿþa".to_owned(), 0), "these are letters");
    assert_eq!(encode("gbk", &[b"\xef\xbb", b"\xbfa"]), (b"a".to_vec(), 0));
    assert_eq!(encode("gbk", &["a\u{feff}".as_bytes()]), (b"a?".to_vec(), 1));
}

#[test]
fn what_is_lost_is_replaced_and_counted() {
    assert_eq!(decode("gbk", &[b"a\xff", b"b\xd6"]), ("a\u{fffd}b\u{fffd}".to_owned(), 2));
    assert_eq!(decode("utf-16le", &[b"a\0\0"]), ("a\u{fffd}".to_owned(), 1));
    assert_eq!(decode("utf-16le", &[b"\0\xd8a\0"]), ("\u{fffd}a".to_owned(), 1));
    assert_eq!(encode("latin1", &["€中".as_bytes()]), (b"\x80?".to_vec(), 1));
    assert_eq!(encode("latin1", &[b"a\xff\xe4", b"b\xe4\xb8"]), (b"a??b?".to_vec(), 3));
    assert_eq!(encode("utf-16le", &[b"\xff"]), (b"?\0".to_vec(), 1));
    // The encoder leaves its two-byte state before it.
    let (bytes, replaced) = encode("iso-2022-jp", &["日😀本".as_bytes()]);
    assert_eq!((decode("iso-2022-jp", &[&bytes]), replaced), (("日?本".to_owned(), 0), 1));
}

#[test]
fn a_stream_that_follows_another_begins_anew() {
    let (mut decoder, mut text) = (StreamDecoder::new(encoding("utf-16le")), String::new());
    for stream in [&b"\xff\xfea\0b"[..], b"\xff\xfec\0", b""] {
        decoder.push(stream, &mut text);
        decoder.end(&mut text);
    }
    assert_eq!((text.as_str(), decoder.replaced()), ("a\u{fffd}c", 1));
}

/// A destination that takes few bytes at a time, and often none.
#[derive(Default)]
struct Slow {
    taken: Vec<u8>,
    was_busy: bool,
    shut_down: bool,
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.was_busy = !self.was_busy;
        if self.was_busy {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = bytes.len().min(3);
        self.taken.extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

#[test]
fn bytes_count_as_written_once_their_text_is() {
    block_on(async {
        let mut decoded = Decoded::new(encoding("gbk"), Slow::default());
        let (text, mut written) = ("中文\n".repeat(9000), Vec::new());
        let (bytes, _) = encode("gbk", &[text.as_bytes()]);
        let mut left = &bytes[..];
        while !left.is_empty() {
            // Another length each time, as from a ring buffer.
            let len = left.len().min(1 + (left.len() * 7919) % 40_000);
            let taken = decoded.write(&left[..len]).await.unwrap();
            left = &left[taken..];
            written.append(&mut decoded.destination().taken);
            let (upto, _) = decode("gbk", &[&bytes[..bytes.len() - left.len()]]);
            assert!(written.len() >= upto.trim_end_matches('\u{fffd}').len());
        }
        assert!(written == text.as_bytes());
        decoded.write_all(b"\xd6").await.unwrap();
        decoded.shutdown().await.unwrap();
        assert_eq!(decoded.replaced(), 1);
        assert!(decoded.destination().shut_down);
        assert_eq!(decoded.into_destination().taken, "\u{fffd}".as_bytes());
    });
}

#[test]
fn stdin_is_encoded_to_its_end_and_counted() {
    block_on(async {
        let text = "日本語\n".repeat(5000) + "😀\u{e9}" + "日";
        let source = &text.as_bytes()[..text.len() - 1];
        for piece in [1, 7, 100_000] {
            let replaced = Arc::new(AtomicU64::new(0));
            let mut stdin = Encoded::new(source, encoding("shift_jis"), &replaced);
            let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
            loop {
                match stdin.read(&mut buffer).await.unwrap() {
                    0 => break,
                    len => all.extend_from_slice(&buffer[..len]),
                }
            }
            let (expected, _) = decode("shift_jis", &[&all]);
            assert_eq!(expected, "日本語\n".repeat(5000) + "???");
            assert_eq!(replaced.load(Ordering::Relaxed), 3);
            assert_eq!(stdin.read(&mut buffer).await.unwrap(), 0);
        }
        let mut all = Vec::new();
        Encoded::plain(source).read_to_end(&mut all).await.unwrap();
        assert_eq!(all, source);
    });
}

/// Texts of characters that an encoding has.
fn text_in(name: &'static str) -> impl Strategy<Value = String> {
    let letters = "az0 \n\u{e9}\u{df}中文字符日本語カナ한글😀";
    let fits = move |letter: &char| encode(name, &[letter.to_string().as_bytes()]).1 == 0;
    let letters: Vec<char> = letters.chars().filter(fits).collect();
    prop::collection::vec(prop::sample::select(letters), 0..12)
        .prop_map(|all| all.into_iter().collect())
}

fn named() -> impl Strategy<Value = (&'static str, String)> {
    prop::sample::select(&NAMES[..]).prop_flat_map(|name| (Just(name), text_in(name)))
}

proptest! {
    #[test]
    fn a_text_comes_out_right_wherever_it_is_cut((name, text) in named()) {
        let (bytes, lost) = encode(name, &[text.as_bytes()]);
        prop_assert_eq!(lost, 0);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            prop_assert_eq!(decode(name, &[front, back]), (text.clone(), 0));
        }
        for cut in 0..=text.len() {
            let (front, back) = text.as_bytes().split_at(cut);
            prop_assert_eq!(encode(name, &[front, back]), (bytes.clone(), 0));
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(decode(name, &single), (text.clone(), 0));
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(encode(name, &single), (bytes.clone(), 0));
    }

    #[test]
    fn bytes_that_are_no_text_lose_the_same_wherever_they_are_cut(
        name in prop::sample::select(&NAMES[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        cut in 0_usize..40,
    ) {
        let (front, back) = bytes.split_at(cut.min(bytes.len()));
        prop_assert_eq!(decode(name, &[front, back]), decode(name, &[&bytes]));
        prop_assert_eq!(encode(name, &[front, back]), encode(name, &[&bytes]));
    }
}
