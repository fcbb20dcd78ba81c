//! What every part of lariat stands on: names, units, private files, texts made harmless, TOML with positions.
//!
//! Nothing here opens a socket, knows a message, or knows what any one file holds.

pub mod certificate;
pub mod clock;
pub mod escape;
pub mod lock;
pub mod name;
pub mod os_error;
pub mod private;
pub mod script;
pub mod secret;
pub mod toml_file;
pub mod units;
