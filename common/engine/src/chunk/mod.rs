//! Chunks: their hashes, how their bytes are encoded, and which of them must be sent again.

pub(crate) mod encode;
pub(crate) mod hash;
pub(crate) mod reconcile;
pub(crate) mod rehash;
pub(crate) mod sparse;
pub(crate) mod sum;
pub(crate) mod whole;
