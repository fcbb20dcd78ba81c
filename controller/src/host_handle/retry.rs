//! What may be asked again, and when: the one mechanism of every verb.
//!
//! What was not asked yet is tried again, whatever the failure, until the host has been away for
//! `--reconnect`. What was asked is the caller's to judge: it repeats what may be done twice, and looks first
//! what became of anything else.

use std::cell::Cell;
use std::time::{Duration, Instant};

use lariat_wire::link::LinkError;
use lariat_wire::protocol::Message;
use tokio::time::{sleep, timeout};

use super::{Reach, Watched};
use crate::backoff::{Patience, is_broken_connection, may_be_there, may_come_back};
use crate::connect::{ConnectError, Session, Stage};
use crate::fanout::Failed;
use crate::run::Broken;

/// How long the answer to a small question may take, on a connection that is there.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a host that answers, but not to what was asked, is asked again on another connection.
const SECOND_AFTER: Duration = Duration::from_millis(2500);

/// The connections to a host, one after another, for one piece of work.
pub(crate) struct Retry<'a> {
    reach: &'a Reach,
    patience: Patience,
    /// One that is ready for the next request.
    ready: Option<Session>,
}

impl<'a> Retry<'a> {
    /// None yet.
    pub(crate) fn new(reach: &'a Reach) -> Self {
        Self { reach, patience: Patience::new(reach.reconnect), ready: None }
    }

    /// Another piece of work begins.
    pub(crate) fn anew(&mut self) {
        self.patience = Patience::new(self.reach.reconnect);
    }

    /// This connection is ready for another request.
    pub(crate) fn keep(&mut self, session: Session) {
        self.ready = Some(session);
    }

    /// Ends the connection that is left, in order.
    pub(crate) async fn finish(mut self) {
        if let Some(session) = self.ready.take() {
            session.leave().await;
        }
    }

    /// A connection on which `request` was sent. `stage` shows meanwhile how far the present one has come.
    pub(crate) async fn ask<M: Message>(
        &mut self,
        request: &M,
        stage: &Cell<Stage>,
    ) -> Result<Session, ConnectError> {
        if let Some(session) = self.ready.take()
            && session.link.outbox().begin(request).is_ok()
        {
            stage.set(Stage::Answer);
            return Ok(session);
        }
        let began = Instant::now();
        loop {
            let error = match self.reach.connect(request, stage).await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let again = if self.reach.is_met() { may_come_back } else { may_be_there };
            let is_late = began.elapsed() >= self.reach.asking;
            if error.may_have_asked() || !again(&error) || is_late || !self.broke(false).await {
                return Err(error);
            }
        }
    }

    /// The same for a request that may be asked twice: repeats also what may have been asked.
    pub(crate) async fn ask_again<M: Message>(
        &mut self,
        request: &M,
    ) -> Result<Session, ConnectError> {
        loop {
            match self.ask(request, &Cell::new(Stage::Connect)).await {
                Err(error) if error.may_have_asked() && may_come_back(&error) => {
                    if !self.broke(false).await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// The connection broke; `moved` says whether it got anywhere. Waits until it is time for the next one;
    /// `false` if it has been enough.
    pub(crate) async fn broke(&mut self, moved: bool) -> bool {
        let (outage, now) = (&self.reach.outage, Instant::now());
        let since = outage.lost(now);
        let Some(wait) = self.patience.broke(moved, since, now) else {
            outage.give_up();
            return false;
        };
        // Many of us may have lost it at once; they are not to come back at once.
        outage.during(sleep(wait.mul_f64(0.7 + 0.6 * rand::random::<f64>()))).await;
        true
    }

    /// Another connection has taken the place of one that was silent. `false` if that was often enough
    /// without any progress.
    pub(crate) fn replaced(&mut self, session: Box<Session>, moved: bool) -> bool {
        self.ready = Some(*session);
        let now = Instant::now();
        self.patience.broke(moved, now, now).is_some()
    }
}

impl Reach {
    /// Asks what may be asked twice, as often as it takes until `answer` has come; gives the connection
    /// too, which is good for another request.
    pub(crate) async fn ask<M: Message, T>(
        &self,
        request: &M,
        answer: impl AsyncFnMut(&mut Session) -> Result<T, Broken>,
    ) -> Result<(Session, T), Failed> {
        // Boxed, as it is a small part of what many verbs do.
        Box::pin(self.answered(request, answer)).await
    }

    async fn answered<M: Message, T>(
        &self,
        request: &M,
        mut answer: impl AsyncFnMut(&mut Session) -> Result<T, Broken>,
    ) -> Result<(Session, T), Failed> {
        let mut retry = Retry::new(self);
        loop {
            let mut session = retry.ask_again(request).await?;
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
            let again = matches!(&broken, Broken::Link(error) if is_broken_connection(error));
            if !again || !retry.broke(false).await {
                return Err(Failed::broken(broken, self));
            }
        }
    }
}
