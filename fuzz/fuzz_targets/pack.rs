//! Small files of a tree in one body.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| lariat_engine::fuzzing::pack(body));
