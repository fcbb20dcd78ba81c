//! The real `lariatd` against a controller that a test implements frame by frame.

mod attach;
mod greeting;
mod handover;
mod jobs;
mod lanes;
mod lifecycle;
mod limits;
mod local;
mod reload;
mod session;
mod tree;
mod unauthenticated;
