//! The request that goes out together with the login.

use lariat_wire::link::{LinkError, Outbox, message_frame};
use lariat_wire::protocol::{Kind, Message};

/// A first request of any type, so that connecting is compiled once, and not for each of them.
pub(crate) trait First: Send + Sync {
    /// The kind of its message.
    fn kind(&self) -> Kind;

    /// Its frame, as the connection's first request.
    fn frame(&self) -> Result<Vec<u8>, LinkError>;

    /// Begins it on a connection.
    fn begin(&self, outbox: &Outbox) -> Result<(), LinkError>;
}

impl<M: Message> First for M {
    fn kind(&self) -> Kind {
        M::KIND
    }

    fn frame(&self) -> Result<Vec<u8>, LinkError> {
        message_frame(1, self)
    }

    fn begin(&self, outbox: &Outbox) -> Result<(), LinkError> {
        outbox.begin(self)
    }
}
