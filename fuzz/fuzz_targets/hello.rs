//! What unauthenticated peers may say: every greeting's decoder, on any bytes.
#![no_main]

use lariat_wire::protocol::hello::{Challenge, Denied, Login, Welcome};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(challenge) = Challenge::decode(bytes) {
        assert_eq!(challenge.encode(), bytes);
    }
    let _ = (Login::decode(bytes), Denied::decode(bytes));
    if let Ok(welcome) = Welcome::decode(bytes) {
        assert_eq!(welcome.encode(), bytes);
    }
});
