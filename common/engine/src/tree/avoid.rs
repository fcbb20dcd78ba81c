//! Files that a repeated attempt does not try again.

use std::collections::HashMap;

use lariat_wire::protocol::failure::Failure;

/// Files, by their paths relative to the root, and why each failed.
pub type Avoid = HashMap<Vec<u8>, Failure>;
