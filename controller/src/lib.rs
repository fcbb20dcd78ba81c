//! The controller: what `lariat` does.

pub mod connect;
