//! Plans for `lariat batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lariat_controller::fuzzing::plan(text));
