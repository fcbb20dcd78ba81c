//! The real `lariat` on its own, and against a fake agent.

mod fleet;
mod run;
