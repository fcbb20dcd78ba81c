//! Target expressions, paths on hosts, and names folded into an expression.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lariat_controller::fuzzing::targets(bytes));
