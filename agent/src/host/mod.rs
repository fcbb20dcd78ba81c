//! How the host is: read from /proc and from its file systems, without a process of its own and without waiting for
//! a disk that does not answer.

mod disks;
mod figures;
mod mounts;

pub use disks::Disks;
pub use figures::{kernel, load, memory, processors};
