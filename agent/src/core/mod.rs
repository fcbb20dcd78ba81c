//! The agent and its sessions as data, permits as the capability to serve a request, and events as the only
//! record of what happens.

mod agent;
mod event;
mod permit;
mod session;

pub use agent::{Agent, Reloaded};
pub use event::{Event, Outcome};
pub use permit::{ActAs, Permit, decide, refuse};
pub use session::Session;
