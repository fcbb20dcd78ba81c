//! lariat, the controller: a command on the admin's own machine.

mod bundle;
mod capture;
mod cli;
mod commands;
mod context;
mod demo;
mod error;
mod fanout;
mod fleet;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod home;
mod inventory;
mod jobs;
mod json_lines;
mod key;
mod local;
mod outages;
mod output;
mod request_check;
mod runtime;
mod shell_word;
mod status;
mod stdio;
mod target;
mod template;
mod text_file;
mod tilde;
mod transfer;

pub use cli::main;
