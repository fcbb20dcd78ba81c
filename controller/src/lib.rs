//! lariat, the controller: a command on the admin's own machine.

mod bundle;
mod can;
mod capture;
mod cli;
mod commands;
mod completion;
mod confirm;
mod context;
mod demo;
mod discover;
mod enrollment;
mod error;
mod fanout;
mod fleet;
mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod help_order;
mod home;
mod host_keys;
mod inventory;
mod jobs;
mod json_lines;
mod key;
mod known_jobs;
mod known_keys;
mod local;
mod new_home;
mod outages;
mod output;
mod overview;
mod park;
mod progress;
mod request_check;
mod revocations;
mod rotation;
mod rules;
mod runtime;
mod seen;
mod settle;
mod shell_word;
mod signal_name;
mod ssh;
mod status;
mod stdio;
mod target;
mod template;
mod text_file;
mod tilde;
mod transfer;
mod usage;
mod via;
mod way;

pub use cli::main;
