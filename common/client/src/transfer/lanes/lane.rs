//! One lane: a thread with a runtime of its own, so that several use several cores.
//!
//! It connects whenever the transfer's first connection has begun an attempt, comes back by itself when its connection
//! breaks, and keeps the connection when the first one breaks, for the next attempt. What goes wrong here is at most
//! one lane less: the transfer's errors are those of its first connection.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lariat_engine::{ReceiveLanes, SendLanes, TransferError, receive_lane, send_lane};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{Lane, Way};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use crate::backoff::{is_broken_connection, may_come_back};
use crate::connect::{Route, Session, Stage};
use crate::watch::silent;

/// How long a connection may be silent before it is made anew.
const SILENT: Duration = Duration::from_secs(4);

/// The wait before a connection is made anew; it doubles each time that one brings nothing.
const FIRST_WAIT: Duration = Duration::from_millis(25);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(800);

/// Connections in a row that bring nothing, after which the lane is given up.
const MOST_USELESS: u32 = 10;

/// This end of a transfer's lanes.
#[derive(Clone)]
pub(in crate::transfer) enum Ends {
    /// It sends.
    Sends(SendLanes),
    /// It receives.
    Receives(ReceiveLanes),
}

impl Ends {
    /// Which way the transfer goes.
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Sends(_) => Way::Push,
            Self::Receives(_) => Way::Pull,
        }
    }

    /// Waits until lanes can join an attempt. Cancel-safe.
    pub(super) async fn opened(&self) {
        match self {
            Self::Sends(lanes) => lanes.opened().await,
            Self::Receives(lanes) => lanes.opened().await,
        }
    }

    async fn serve(
        &self,
        session: &mut Session,
        number: u8,
        taken: &AtomicU64,
    ) -> Result<(), TransferError> {
        match self {
            Self::Sends(lanes) => send_lane(&mut session.link, lanes, number, taken).await,
            Self::Receives(lanes) => receive_lane(&mut session.link, lanes, number, taken).await,
        }
    }
}

/// What a lane needs to connect and to join.
pub(super) struct Setup {
    pub(super) route: Route,
    /// How long an attempt to connect may take.
    pub(super) limit: Duration,
    pub(super) request: Lane,
    pub(super) ends: Ends,
}

/// A lane that runs. Dropping it ends the lane.
pub(super) struct RunningLane {
    /// Ends the lane when it is dropped.
    quit: watch::Sender<()>,
    ended: oneshot::Receiver<()>,
    /// Chunks that it has carried.
    carried: Arc<AtomicU64>,
}

impl RunningLane {
    /// Starts a lane. `None` if the system has no thread for it.
    pub(super) fn start(setup: Setup) -> Option<Self> {
        let (quit, quitting) = watch::channel(());
        let (end, ended) = oneshot::channel();
        let carried = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&carried);
        let work = move || {
            let worker = Worker { setup, session: None, carried: counter };
            worker.run(quitting);
            drop(end);
        };
        std::thread::Builder::new().name("lane".to_owned()).spawn(work).ok()?;
        Some(Self { quit, ended, carried })
    }

    /// Whether it runs still.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// Whether it has carried any chunk.
    pub(super) fn has_carried(&self) -> bool {
        self.carried.load(Ordering::Relaxed) > 0
    }

    /// Ends the lane, and waits until it has left in order.
    pub(super) async fn end(self) {
        drop(self.quit);
        // Its end is all that ever comes.
        let _ = self.ended.await;
    }
}

/// The lane's thread.
struct Worker {
    setup: Setup,
    session: Option<Session>,
    carried: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, mut quit: watch::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            tokio::select! {
                // Nothing is ever sent: it resolves when the other end is dropped.
                _ = quit.changed() => {}
                () = self.serve() => {}
            }
            if let Some(session) = self.session.take() {
                session.leave().await;
            }
        });
    }

    /// Serves one attempt of the transfer after another, until the lane is of no use.
    async fn serve(&mut self) {
        let (mut wait, mut useless) = (FIRST_WAIT, 0);
        loop {
            self.opened().await;
            let before = self.carried.load(Ordering::Relaxed);
            let goes_on = match self.connected().await {
                Ok(()) => self.joined().await,
                Err(goes_on) => goes_on,
            };
            let is_useful = self.carried.load(Ordering::Relaxed) > before;
            if is_useful {
                (wait, useless) = (FIRST_WAIT, 0);
            } else {
                useless += 1;
            }
            if !goes_on || useless > MOST_USELESS {
                return;
            }
            sleep(wait.mul_f64(0.7 + 0.6 * rand::random::<f64>())).await;
            if !is_useful {
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    /// Waits until the lane can join an attempt. Meanwhile the end of its last one is sent.
    async fn opened(&mut self) {
        let opened = self.setup.ends.opened();
        let Some(session) = &mut self.session else { return opened.await };
        tokio::select! {
            biased;
            () = opened => return,
            _broken = session.link.writer.drive() => {}
        }
        self.session = None;
        self.setup.ends.opened().await;
    }

    /// Sends the request, on the connection that is there or on a new one. Otherwise returns whether another attempt
    /// may succeed.
    async fn connected(&mut self) -> Result<(), bool> {
        let Setup { route, limit, request, .. } = &self.setup;
        let is_there = |session: &Session| session.link.outbox().begin(request).is_ok();
        if !self.session.as_ref().is_some_and(is_there) {
            let stage = Cell::new(Stage::Connect);
            let session = route.connect(request, *limit, false, &stage).await;
            self.session = Some(session.map_err(|error| may_come_back(&error))?);
        }
        Ok(())
    }

    /// Carries chunks. Returns whether the lane can be of use again.
    async fn joined(&mut self) -> bool {
        let Some(session) = &mut self.session else { return true };
        let pulse = session.link.reader.pulse().clone();
        let done = tokio::select! {
            biased;
            done = self.setup.ends.serve(session, self.setup.request.number, &self.carried) => done,
            _since = silent(&pulse, SILENT) => Err(LinkError::Silent.into()),
        };
        let goes_on = match done {
            Ok(()) => {
                // The connection may serve the next attempt. An agent that has ended the lane already drops this.
                let over = Failure::request(Cause::Superseded);
                match session.link.outbox().post(&over) {
                    Ok(()) => return true,
                    Err(error) => is_broken_connection(&error),
                }
            }
            Err(TransferError::Link(error)) => is_broken_connection(&error),
            Err(TransferError::Remote(failure)) => failure.cause == Cause::Stopping,
            Err(TransferError::Local(_) | TransferError::Missed(_)) => false,
        };
        self.session = None;
        goes_on
    }
}
