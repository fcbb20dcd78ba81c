//! Datagrams of those who look for hosts, and of hosts that answer.
#![no_main]

use lariat_wire::discover::{Answer, Probe};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(probe) = Probe::decode(bytes) {
        assert!(probe.encode() == bytes);
    }
    if let Ok(answer) = Answer::decode(bytes) {
        assert!(answer.encode().is_some_and(|again| again == bytes));
    }
});
