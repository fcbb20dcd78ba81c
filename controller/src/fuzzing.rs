//! Fuzzing entry points for private parsers.

pub use crate::commands::read_plan as plan;
pub use crate::target::fuzzing::targets;
