//! Connections through a host, for as long as a program lasts. Each is a request of its own on a session of its own, so
//! that one that is slow holds up no other; sessions are used again.

mod listen;
mod pool;

pub use listen::{Heard, listen};
pub use pool::{Opened, Pool};
