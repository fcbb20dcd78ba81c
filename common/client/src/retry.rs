//! Decides which requests are sent again, and when.
//!
//! A request that was not sent yet is retried after any failure, until the host has been unreachable for too
//! long. After a request was sent the caller decides: it repeats requests that may be executed twice, and
//! queries the outcome of all others first.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::hello::ANSWERS_UNKNOWN;
use tokio::time::{sleep, timeout};

use crate::backoff::{Backoff, is_broken_connection, may_be_there, may_come_back};
use crate::broken::Broken;
use crate::connect::{ConnectError, First, Session, Stage};
use crate::host::HostHandle;
use crate::watch::Watched;

/// Time limit for the answer to a short request, on an existing connection.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a connection may be silent before the request is sent again on another one.
const SECOND_AFTER: Duration = Duration::from_millis(2500);

/// Connections in a row that an older agent may end when it gets a request, before it counts as one that does not
/// know the request.
const MOST_ENDED: u32 = 2;

/// Why a host gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The host was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the agent reported a failure.
    #[error("{place}: {error}")]
    Broken {
        /// The host.
        host: HostName,
        /// The host, and how it was to be reached.
        place: String,
        /// The cause.
        #[source]
        error: Broken,
    },
}

/// The connections to a host, one at a time, for one piece of work.
pub struct Retry<'a> {
    host: &'a HostHandle,
    backoff: Backoff,
    /// A connection that is ready for the next request.
    ready: Option<Session>,
    /// Connections that an older agent has ended when it got the request.
    ended: u32,
}

impl<'a> Retry<'a> {
    /// Starts without a connection.
    pub fn new(host: &'a HostHandle) -> Self {
        Self { host, backoff: Backoff::new(host.reconnect()), ready: None, ended: 0 }
    }

    /// Begins another piece of work, with a fresh time limit.
    pub fn anew(&mut self) {
        self.backoff = Backoff::new(self.host.reconnect());
    }

    /// Keeps a connection that is ready for another request.
    pub fn keep(&mut self, session: Session) {
        self.ready = Some(session);
    }

    /// Closes the remaining connection in order.
    pub async fn finish(mut self) {
        if let Some(session) = self.ready.take() {
            session.leave().await;
        }
    }

    /// Returns a connection on which `request` was sent. Updates `stage` during the current attempt.
    pub async fn ask<M: Message>(
        &mut self,
        request: &M,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        self.ask_first(request, stage).await
    }

    /// How long the connection may be missing, if it was lost.
    fn lost(&self) -> Option<Duration> {
        let host = self.host;
        (host.outage().is_on() && host.is_met()).then(|| host.reconnect())
    }

    async fn ask_first(
        &mut self,
        request: &dyn First,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        if let Some(session) = self.ready.take()
            && request.begin(session.link.outbox()).is_ok()
        {
            stage.set(Stage::Answer);
            return Ok(session);
        }
        let (began, lost) = (Instant::now(), self.lost());
        loop {
            let error = match self.host.connect(request, stage).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let again = if self.host.is_awaited() { may_come_back } else { may_be_there };
            let is_late = began.elapsed() >= self.host.asking_limit();
            if error.may_have_asked() || !again(&error) || is_late {
                return Err(error);
            }
            if !self.broke(false).await {
                return Err(error.after_loss(lost));
            }
        }
    }

    /// Returns a connection on which `request`, which may be repeated, was sent. It is sent again where the agent
    /// may have received it already.
    pub async fn ask_again<M: Message>(&mut self, request: &M) -> Result<Session, ConnectError> {
        self.ask_noting(request, &Cell::default()).await
    }

    /// Sends a request that may be repeated, and sets `sent` where the agent may have received it although no
    /// connection came of it.
    async fn ask_noting(
        &mut self,
        request: &dyn First,
        sent: &Cell<bool>,
    ) -> Result<Session, ConnectError> {
        loop {
            let error = match self.ask_first(request, &Cell::new(Stage::Connect)).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if !error.may_have_asked() {
                return Err(error);
            }
            sent.set(true);
            if !may_come_back(&error) {
                return Err(error);
            }
            let lost = self.lost();
            if !self.broke(false).await {
                return Err(error.after_loss(lost));
            }
        }
    }

    /// Records that the connection broke; `moved` says whether it made progress. Waits until it is time for the
    /// next attempt and returns `true`, or returns `false` to give up.
    pub async fn broke(&mut self, moved: bool) -> bool {
        let (outage, now) = (self.host.outage(), Instant::now());
        let since = outage.lost(now);
        let Some(wait) = self.backoff.broke(moved, since, now) else {
            outage.give_up();
            return false;
        };
        // Clients that lost a host at the same time must not all reconnect at the same time.
        outage.during(sleep(wait.mul_f64(0.7 + 0.6 * rand::random::<f64>()))).await;
        true
    }

    /// Why a connection broke before it brought anything: an older agent ends it when it does not know the request.
    pub(crate) fn judged(&mut self, broken: Broken, session: &Session) -> Broken {
        let is_old = session.welcome.features & ANSWERS_UNKNOWN == 0;
        self.ended += u32::from(is_old && matches!(broken, Broken::Link(LinkError::Cut)));
        if self.ended < MOST_ENDED {
            return broken;
        }
        Broken::Failed(Failure::request(Cause::UnknownRequest(String::new())))
    }

    /// Replaces a silent connection. Returns `false` to give up: that has happened too often without progress.
    pub fn replaced(&mut self, session: Box<Session>, moved: bool) -> bool {
        self.ready = Some(*session);
        let now = Instant::now();
        self.backoff.broke(moved, now, now).is_some()
    }
}

impl HostHandle {
    /// The connection broke, or the agent reported a failure.
    pub fn broken(&self, error: Broken) -> AskError {
        AskError::Broken { host: self.name().clone(), place: self.route().place(), error }
    }

    /// Sends a request that may be repeated, as often as necessary until `answer` has read the answer. Also
    /// returns the connection, which can be used for another request.
    pub async fn ask<M: Message, T>(
        &self,
        request: &M,
        answer: impl AsyncFnMut(&mut Session) -> Result<T, Broken>,
    ) -> Result<(Session, T), AskError> {
        let sent = Cell::default();
        // Boxed, because it is a small part of much larger futures.
        Box::pin(self.ask_on(None, request, &sent, answer)).await
    }

    /// Sends a request that may be repeated, first on this connection if there is one. Sets `sent` where the agent
    /// may have received the request although `answer` was not called for it.
    pub async fn ask_on<M: Message, T>(
        &self,
        session: Option<Session>,
        request: &M,
        sent: &Cell<bool>,
        mut answer: impl AsyncFnMut(&mut Session) -> Result<T, Broken>,
    ) -> Result<(Session, T), AskError> {
        let mut retry = Retry::new(self);
        retry.ready = session;
        loop {
            let mut session = retry.ask_noting(request, sent).await?;
            let pulse = session.link.reader.pulse().clone();
            let answered = timeout(ANSWER, answer(&mut session));
            let broken = match self.watch(&pulse, Some(SECOND_AFTER), answered).await {
                Watched::Done(Ok(Ok(value))) => return Ok((session, value)),
                Watched::Done(Ok(Err(broken))) => broken,
                Watched::Done(Err(_)) | Watched::Silent => LinkError::Silent.into(),
                Watched::Replaced(other) => {
                    if retry.replaced(other, false) {
                        continue;
                    }
                    LinkError::Silent.into()
                }
            };
            let broken = retry.judged(broken, &session);
            let again = matches!(&broken, Broken::Link(error) if is_broken_connection(error));
            if !again || !retry.broke(false).await {
                // The connection of a request that was refused is fine.
                if matches!(broken, Broken::Failed(_)) {
                    session.leave().await;
                }
                return Err(self.broken(broken));
            }
        }
    }
}
