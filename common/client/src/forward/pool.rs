//! The sessions with one host that are ready for a connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use lariat_wire::link::LinkError;
use lariat_wire::pipe::{Carried, PipeError, pipe};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::connect::Connected;
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use lariat_wire::protocol::session::{Ping, Pong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::may_come_back;
use crate::broken::Broken;
use crate::connect::{Session, Stage};
use crate::host::HostHandle;
use crate::retry::AskError;

/// Most sessions that wait for a connection.
const MOST_IDLE: usize = 8;

/// How long a connection waits for a session while there is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the host may take to connect: several addresses may have to be tried.
const CONNECTING: Duration = Duration::from_secs(60);

/// How long the agent may take to say that it is done with a request that failed.
const FINISHING: Duration = Duration::from_secs(5);

/// How long to wait before a host without a free session is asked again.
const FULL: Duration = Duration::from_secs(5);

/// The sessions with one host that are ready for a connection.
pub struct Pool {
    host: HostHandle,
    idle: RefCell<Vec<Session>>,
    /// A session was put into `idle`: for those that wait for one.
    came: Notify,
    /// `idle` has changed: for [`Self::attend`].
    changed: Notify,
}

impl Pool {
    /// A pool without a session.
    pub fn new(host: HostHandle) -> Self {
        let (idle, came, changed) = (RefCell::default(), Notify::new(), Notify::new());
        Self { host, idle, came, changed }
    }

    /// The host.
    pub fn host(&self) -> &HostHandle {
        &self.host
    }

    /// Keeps a session that is ready for a request, or closes it if there are enough.
    async fn keep(&self, session: Session) {
        if self.idle.borrow().len() >= MOST_IDLE {
            return session.leave().await;
        }
        self.idle.borrow_mut().push(session);
        self.came.notify_one();
        self.changed.notify_one();
    }

    /// Closes the idle sessions in order.
    pub async fn leave(&self) {
        while let Some(session) = self.next_idle() {
            session.leave().await;
        }
    }

    fn next_idle(&self) -> Option<Session> {
        self.idle.borrow_mut().pop()
    }

    /// Has a session ready at any time, and answers the host on those that wait. Returns when the host is given up.
    pub async fn attend(&self) -> AskError {
        loop {
            if self.idle.borrow().is_empty() {
                match self.host.ask(&Ping { nonce: 0 }, Session::answer::<Pong>).await {
                    Ok((session, Pong { .. })) => self.keep(session).await,
                    // One that is in use will be free again.
                    Err(AskError::Broken { error: Broken::Failed(failure), .. })
                        if is_full(&failure) =>
                    {
                        let _ = timeout(FULL, self.changed.notified()).await;
                    }
                    Err(error) => return error,
                }
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.one_ended() => {}
            }
        }
    }

    /// Waits until one of the idle sessions ends, and drops it. Cancel-safe.
    async fn one_ended(&self) {
        poll_fn(|cx| {
            let mut idle = self.idle.borrow_mut();
            let before = idle.len();
            idle.retain_mut(|session| pin!(session.link.next()).poll(cx).is_pending());
            if idle.len() < before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Opens a connection by `request`, which the host answers with [`Connected`].
    ///
    /// No byte is sent before that, so a request whose session broke is made again on another one.
    pub async fn open<M: Message>(&self, request: &M) -> Result<Opened, AskError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let idle = self.next_idle();
            let was_idle = idle.is_some();
            if was_idle {
                self.changed.notify_one();
            }
            let error = match self.opened(idle, request).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let is_broken = match &error {
                AskError::Connect(error) => may_come_back(error),
                AskError::Broken { error: Broken::Link(_), .. } => true,
                AskError::Broken { error: Broken::Failed(failure), .. } => is_full(failure),
            };
            if !is_broken || Instant::now() >= deadline {
                return Err(error);
            }
            // One that waited may have broken unnoticed.
            if !was_idle && timeout_at(deadline, self.came.notified()).await.is_err() {
                return Err(error);
            }
        }
    }

    /// Carries bytes between a connection and a local stream, given as its two directions, until both have ended. Then
    /// its session is ready for another one.
    pub async fn carry<R, W>(
        &self,
        opened: Opened,
        local: (R, W),
    ) -> (Carried, Result<(), PipeError>)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut session = opened.session;
        let (carried, result) = pipe(&mut session.link, local).await;
        if result.is_ok() {
            self.keep_finished(session).await;
        }
        (carried, result)
    }

    /// Keeps the session of a request that is over, once the agent says so too. Until then the agent may have bytes that
    /// the other end of the connection takes its time for.
    async fn keep_finished(&self, mut session: Session) {
        let link = &mut session.link;
        while !link.reader.take_finished() {
            match link.next().await {
                // It returns credit for what was sent last.
                Ok(Some(_)) => {}
                Ok(None) if link.reader.take_finished() => break,
                Ok(None) | Err(_) => return,
            }
        }
        self.keep(session).await;
    }

    async fn opened<M: Message>(
        &self,
        idle: Option<Session>,
        request: &M,
    ) -> Result<Opened, AskError> {
        let mut session = match idle {
            Some(session) => {
                let begun = session.link.outbox().begin(request);
                begun.map_err(|error| self.host.broken(error.into()))?;
                session
            }
            None => self.host.attempt(request, false, &Cell::new(Stage::Connect)).await?,
        };
        let answer = timeout(CONNECTING, session.answer::<Connected>()).await;
        let answer = answer.unwrap_or(Err(LinkError::Silent.into()));
        match answer {
            Ok(connected) => Ok(Opened { session, connected }),
            Err(error) => {
                // The session of a request that failed is fine.
                if matches!(error, Broken::Failed(_)) {
                    let _ = timeout(FINISHING, self.keep_finished(session)).await;
                }
                Err(self.host.broken(error))
            }
        }
    }
}

/// A connection through a host, which exists and has carried nothing yet. Dropping it closes it.
pub struct Opened {
    session: Session,
    connected: Connected,
}

impl Opened {
    /// The address that it goes to, as the host says.
    pub fn address(&self) -> &str {
        &self.connected.address
    }
}

/// Whether the host has no session free for this key.
pub(super) fn is_full(failure: &Failure) -> bool {
    failure.cause == Cause::AtLimit(Limit::Sessions)
}
