//! Every control message's decoder and checks, on any bytes; the first two say which.
#![no_main]

use lariat_wire::protocol::{Kind, decode_any};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, payload)) = bytes.split_first_chunk::<2>() else { return };
    if let Ok(kind) = Kind::try_from(u16::from_le_bytes(*kind)) {
        let message = decode_any(kind, payload);
        assert_eq!(message.is_some(), !kind.is_bulk() && !kind.is_hello(), "{kind:?}");
    }
});
