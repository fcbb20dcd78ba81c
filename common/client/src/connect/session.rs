//! An authenticated connection.

use std::time::Duration;

use lariat_wire::limits::PROBE_AFTER;
use lariat_wire::link::Link;
use lariat_wire::memory::Memory;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::hello::Welcome;
use tokio::time::timeout;

use crate::dial::BoxStream;

/// How long the agent may take to hear that the client leaves.
const GOODBYE: Duration = Duration::from_secs(1);

/// An authenticated connection whose first request is on its way.
pub struct Session {
    /// Both directions.
    pub link: Link<BoxStream>,
    /// What the agent said when the login held.
    pub welcome: Welcome,
}

impl Session {
    /// A connection on which `first` is on its way.
    pub(crate) fn new<M: Message>(stream: BoxStream, welcome: Welcome, _first: &M) -> Self {
        // A ping is no request.
        let request = u16::from(!M::KIND.is_session());
        let mut link = Link::with_memory(stream, request, Memory::default());
        link.reader.ping_after(PROBE_AFTER);
        Self { link, welcome }
    }

    /// Closes the connection in order. Whether the agent sees that changes nothing.
    pub async fn leave(mut self) {
        let _ = timeout(GOODBYE, self.link.writer.finish()).await;
    }
}
