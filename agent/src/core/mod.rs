//! The agent and its sessions as data, permits as the capability to serve a request, and events as the only
//! record of what happens.

mod act_as;
mod activity;
mod again;
mod agent;
mod can;
mod counters;
mod ending;
mod event;
mod job_ends;
mod looked_up;
mod outcome;
mod permit;
mod session;

pub use act_as::ActAs;
pub use activity::{Activity, Doing, Present, Transfer};
pub use again::{Again, still_permitted, until_next_date};
pub use agent::{Agent, Reloaded, effective, own_files, store};
pub use can::{Answer, Way};
pub use counters::Counters;
pub use event::Event;
pub use job_ends::JobEnds;
pub use looked_up::at_login;
pub use outcome::{Digests, Done, Outcome};
pub use permit::{Permit, decide, refuse};
pub use session::Session;
