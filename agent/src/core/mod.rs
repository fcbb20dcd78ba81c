//! What the agent is made of: the agent itself and its sessions as data, permits as the leave to act, and
//! events as the one record of what happens.

mod agent;
mod event;
mod permit;
mod session;

pub use agent::{Agent, Reloaded};
pub use event::{Event, Outcome};
pub use permit::{ActAs, Permit, decide, refuse};
pub use session::Session;
