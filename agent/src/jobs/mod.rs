//! Jobs: every command runs under a supervisor process, which owns its pipes, the tail of its output and its
//! exit, and outlives the agent.
//!
//! ```text
//! session ── jobs::Jobs::start ── socket ── supervisor ── pipes ── command
//!        └── reads the output's tail ── file ──┘
//! ```
//!
//! Output is moved from the command's pipe to a file in memory (or on disk, once that is full), which the agent
//! reads; control messages use a unix socket. The agent holds nothing else of a job.
//!
//! Invariant: a job's directory with its record exists before its command is started, and a job id is used
//! once: a command runs at most once.

pub mod channel;
pub mod supervise;

mod alive;
mod audited;
mod cgroup;
mod clone;
mod connection;
mod directory;
mod end;
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
pub(crate) mod scope;
mod settings;
mod spawner;
mod spool;
mod spool_file;
mod start;
mod stream;
mod unattended;
pub mod words;

pub use audited::Unaudited;
pub use connection::{Commands, Event, Events};
pub use find::{Found, JobStatus};
pub use log_reader::LogReader;
pub use name::JobName;
pub use record::{Record, State};
pub(crate) use settings::OWN_BINARY;
pub use settings::Settings;
pub use start::{Jobs, StartError, boot_id};
pub use stream::Stream;
pub use unattended::Unattended;
