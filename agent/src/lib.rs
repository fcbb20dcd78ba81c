//! The agent: what runs on every host and does there what controllers with the right keys ask for.

pub mod jobs;
