//! Further connections of a transfer, its *lanes*.
//!
//! ```text
//! sender                                receiver
//!                   Lane (the controller's, on a connection of its own)
//!   Chunk...                          →
//!                                     ←   Taken...
//! ```
//!
//! A lane carries chunks that neither end had when the transfer began. Everything else is said on the transfer's
//! first connection.

use lariat_base::name::TransferId;
use serde::{Deserialize, Serialize};

use crate::protocol::invalid::Invalid;
use crate::protocol::verb::Verb;

/// Most connections of one transfer, the first included.
pub const MAX_STREAMS: u8 = 8;

/// Adds this connection to a transfer of the same key that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The transfer.
    pub transfer: TransferId,
    /// Which way its content goes.
    pub way: Way,
    /// Numbers the lanes of a transfer, from 1 and below [`MAX_STREAMS`]. A lane replaces an older one of the
    /// same number, whose connection has broken.
    pub number: u8,
}

/// Which way a transfer's content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// To the host.
    Push,
    /// From the host.
    Pull,
}

/// Acknowledges chunks of a lane: they are verified and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How many, from the lane's first on.
    pub chunks: u64,
}

impl Lane {
    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        if (1..MAX_STREAMS).contains(&self.number) { Ok(()) } else { Err(Invalid::Lane) }
    }

    /// The verb that it needs: that of the transfer.
    pub fn verb(&self) -> Verb {
        match self.way {
            Way::Push => Verb::Push,
            Way::Pull => Verb::Pull,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connection_is_no_lane_and_seven_more_are_the_most() {
        let lane = |number| Lane { transfer: TransferId([1; 16]), way: Way::Push, number };
        for number in 0..=u8::MAX {
            assert_eq!(lane(number).check().is_ok(), (1..=7).contains(&number), "{number}");
        }
    }
}
