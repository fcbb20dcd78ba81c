//! The real `lariat` on its own, and against an agent that a test plays.

mod fleet;
mod run;
