//! What every part of lariat builds on: names, units, private files, escaped text, TOML with positions.
//!
//! Nothing here opens a socket, or knows a message or the content of any one file.

pub mod audit;
pub mod certificate;
pub mod clock;
pub mod date;
pub mod escape;
pub mod file_sum;
pub mod lock;
pub mod name;
pub mod near;
pub mod os_error;
pub mod private;
pub mod quantity;
pub mod script;
pub mod secret;
pub mod spare;
pub mod toml_file;
mod toml_words;
pub mod units;
