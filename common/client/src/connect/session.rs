//! An authenticated connection.

use std::time::Duration;

use lariat_base::certificate::CertificateInfo;
use lariat_wire::limits::PROBE_AFTER;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::hello::Welcome;
use lariat_wire::protocol::{Kind, Message};
use tokio::time::timeout;

use crate::broken::Broken;
use crate::dial::BoxStream;

/// Time limit for closing a connection in order.
const GOODBYE: Duration = Duration::from_secs(1);

/// An authenticated connection on which the first request was sent.
pub struct Session {
    /// Both directions.
    pub link: Link<BoxStream>,
    /// The agent's answer to the login.
    pub welcome: Welcome,
    /// The host's certificate; `None` for the agent on this machine, which has none.
    pub certificate: Option<CertificateInfo>,
    /// How long the login took to be answered: at least a round trip. Zero over a unix socket.
    pub(crate) round_trip: Duration,
}

impl Session {
    /// A connection on which a frame of the kind `first` is on its way, if any.
    pub(crate) fn new(stream: BoxStream, welcome: Welcome, first: Option<Kind>) -> Self {
        // A ping is no request.
        let request = u16::from(first.is_some_and(|kind| !kind.is_session()));
        let mut link = Link::with_memory(stream, request, Memory::default());
        link.reader.ping_after(PROBE_AFTER);
        Self { link, welcome, certificate: None, round_trip: Duration::ZERO }
    }

    /// Reads the message that answers a request or a ping, or the failure in its place. A pong may arrive after the
    /// current request has ended.
    pub async fn answer<A: Message>(&mut self) -> Result<A, Broken> {
        loop {
            let frame = self.link.next().await?;
            let reader = &mut self.link.reader;
            match frame.map(|frame| frame.kind) {
                Some(kind) if kind == A::KIND => return Ok(reader.message()?),
                Some(Kind::Failed) => return Err(Broken::Failed(reader.message()?)),
                Some(other) => return Err(LinkError::Unexpected(other).into()),
                None if A::KIND.is_session() && reader.take_finished() => {}
                None => return Err(LinkError::Cut.into()),
            }
        }
    }

    /// Closes the connection in order. A failure has no consequences.
    pub async fn leave(mut self) {
        let _ = timeout(GOODBYE, self.link.writer.finish()).await;
        // A unix socket that is closed with unread bytes is reset, and the agent would take that for a cut.
        if self.certificate.is_none() {
            self.link.drain(GOODBYE).await;
        }
    }
}
