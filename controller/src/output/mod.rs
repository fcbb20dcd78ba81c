//! All output to the user: results on stdout, everything else on stderr.

pub(crate) mod json;
pub(crate) mod notes;
pub(crate) mod printer;
pub(crate) mod quantity;
mod results;
pub(crate) mod screened;
pub(crate) mod style;
pub(crate) mod table;

pub(crate) use notes::{error, note};
pub(crate) use results::{bytes, line};
