//! An authenticated connection.

use std::time::Duration;

use lariat_wire::link::Link;
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
    /// Closes the connection in order. Whether the agent sees that changes nothing.
    pub async fn leave(mut self) {
        let _ = timeout(GOODBYE, self.link.writer.finish()).await;
    }
}
