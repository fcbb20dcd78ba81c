//! A session's reader, on any stream of bytes, cut into pieces as the first byte says.
#![no_main]

use lariat_wire::link::Link;
use tokio::io::{AsyncWriteExt, duplex};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let (mut peer, ours) = duplex(usize::from(piece) + 1);
        let mut link = Link::new(ours);
        let writing = async {
            let _ = peer.write_all(bytes).await;
            drop(peer);
        };
        let reading = async move {
            while let Ok(Some(_)) = link.next().await {}
            // What the peer still writes has no reader.
            drop(link);
        };
        tokio::join!(writing, reading);
    });
});
