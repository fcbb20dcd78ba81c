//! The journal beside a partial, of any source and any length.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lariat_engine::fuzzing::journal(bytes));
