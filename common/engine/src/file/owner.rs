//! Whose transfer it is, and what it does about another one to the same destination.

use lariat_base::name::KeyId;

/// Whose partial a file is: another key or user has a partial of its own.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The key that requested the transfer.
    pub key: KeyId,
    /// The user whose files are written.
    pub user: u32,
}

/// What to do while another transfer holds the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Wait for it: it has been ordered to stop.
    Wait,
    /// Fail.
    Refuse,
}
