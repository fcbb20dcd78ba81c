//! Directory trees: a manifest streams one way, answers say what is wanted, contents follow.
//!
//! Both ends: [`order`] defines the order of a manifest, [`filter`] what is excluded from it, [`pack`] how small
//! files are sent together.
//!
//! The sender is [`send`](mod@send). [`walk`] lists directories and [`reader`] reads files, each on a thread of its
//! own; [`unsettled`] has the entries without an answer or content, and [`receiver_messages`] handles what
//! the receiver says meanwhile.
//!
//! The receiver is [`receiver`]. Its threads are in [`workers`]: [`manifest`] and [`compare`] decide
//! what is wanted, [`writer`] and [`replacements`] put small files in their places, [`large_file`] uses the
//! engine for single files, and [`finish`] does at the end what was [`deferred`], [`removal`] included.
//!
//! On each connection [`content_sender`] and [`content_receiver`] move packs and large files. On further
//! connections [`send_lane`](mod@send_lane) takes contents that [`send_lanes`] shares, and
//! [`receive_lane`](mod@receive_lane) passes them to the same [`arrivals`].
//!
//! An entry is forgotten when it is settled, except for directories, whose times are set last, and links,
//! which are made last.

mod arrival;
mod arrivals;
mod avoid;
mod brought;
mod changed_disks;
mod compare;
mod content;
mod content_receiver;
mod content_sender;
mod decided;
mod deferred;
mod delete_report;
mod dry_run;
mod event;
mod filter;
mod finish;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod lane_watch;
mod large_file;
mod manifest;
mod order;
mod pack;
mod reader;
mod receive;
mod receive_lane;
mod receive_lanes;
mod receiver;
mod receiver_messages;
mod removal;
mod replacements;
mod send;
mod send_lane;
mod send_lanes;
mod shared;
mod snapshot;
mod staging;
mod target;
mod unsettled;
mod verdict;
mod walk;
mod watch;
mod workers;
mod working_directory;
mod writer;

pub use arrival::TreeArrival;
pub use avoid::Avoid;
pub use brought::Brought;
pub use dry_run::{FileDryRun, receive_dry_run, send_dry_run};
pub use filter::{BadGlob, Earlier, Filter};
pub use receive::receive_tree;
pub(crate) use receive_lane::receive_lane;
pub(crate) use receive_lanes::ReceiveTree;
pub use send::send_tree;
pub(crate) use send_lane::send_lane;
pub(crate) use send_lanes::SendTree;
pub use target::TreeTarget;
pub use walk::TreeSource;
pub use watch::{Counts, Side, Watch};

#[cfg(test)]
mod tests;
