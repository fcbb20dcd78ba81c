//! Entries for fuzzers to parsers that are private.

pub use crate::commands::read_plan as plan;
pub use crate::target::fuzzing::targets;
