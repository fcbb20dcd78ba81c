//! TLS records from a peer that knows the keys, and from one that does not.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| lariat_wire::tls::read_records(script));
