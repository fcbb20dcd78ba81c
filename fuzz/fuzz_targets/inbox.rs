//! Frames on the socket between the agent and a supervisor, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lariat_agent::jobs::fuzzing::inbox(bytes));
