//! Jobs: every command runs under a supervisor process of its own, which owns its pipes, the tail of
//! its output and its exit, and outlives the agent.
//!
//! ```text
//! session ── jobs::Jobs::start ── socket ── supervisor ── pipes ── command
//!        └── reads the output's tail ── file ──┘
//! ```
//!
//! The output's bytes take one way, from the command's pipe into a file in memory (or on disk, once
//! that is full), which the agent reads; control goes over a unix socket. The agent holds nothing of a
//! job but the two.
//!
//! Invariant: a job's directory with its record is there before its command is started, and a job id is
//! given out once: a command runs at most once.

pub mod channel;
pub mod supervise;

mod alive;
mod cgroup;
mod connection;
mod directory;
mod find;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod log;
mod log_reader;
mod name;
pub(crate) mod raw;
mod record;
mod released;
mod ring;
mod room;
mod scope;
mod settings;
mod spawner;
mod spool;
mod spool_file;
mod start;
mod stream;
pub mod words;

pub use connection::{Commands, Event, Events};
pub use find::{Found, JobStatus};
pub use log_reader::LogReader;
pub use name::JobName;
pub use record::{Record, State};
pub(crate) use settings::OWN_BINARY;
pub use settings::Settings;
pub use start::{Jobs, StartError, boot_id};
pub use stream::Stream;
