//! lariat, the controller: a command on the admin's own machine.

mod address;
mod backoff;
mod bundle;
mod cli;
mod commands;
mod connect;
mod context;
mod demo;
mod error;
mod fanout;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod home;
mod host_handle;
mod inventory;
mod jobs;
mod key;
mod outage;
mod output;
mod run;
mod runtime;
mod status;
mod stdio;
mod target;
mod template;
mod text_file;
mod tilde;
mod transfer;

pub use cli::main;
