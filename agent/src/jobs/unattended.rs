//! What is kept of jobs that no session follows.

/// What is kept of a job that no session follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unattended {
    /// What the audit is to say at its end.
    pub audit: Vec<u8>,
    /// The request that started it, if it is this request that leaves it.
    pub request: Option<Vec<u8>>,
}
