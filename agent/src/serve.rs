//! The loop of the main thread: accepts, greets strangers, hands over who logged in, and stops.
//!
//! It never waits for a single peer: strangers are tasks beside it, sessions are threads.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lariat_base::escape::escape;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, yield_now};
use tokio::time::{interval, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use crate::admission::{
    Admission, Hear, Outcome, Progress, Rules, Slot, Source, Tell, Verdict, progress,
};
use crate::budget::{Exhausted, Holder, Resource};
use crate::config;
use crate::folded::Folded;
use crate::handshake::{Authenticated, Handshaker, Rejected};
use crate::listen::Listener;
use crate::memory::Trim;
use crate::notify::{self, Watchdog};
use crate::session::{self, Session, Shared};
use crate::sessions::Sessions;
use crate::signals::Signals;

/// How long sessions may take to end when the agent stops. What still runs then is cut off.
const STOPPING: Duration = Duration::from_secs(4);

/// Most who are told at a time that there is no session for them.
const SENT_AWAY: usize = 64;

/// How often old jobs are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

type Greeted = Result<Authenticated, Rejected>;

/// The agent while it serves.
pub struct Server {
    shared: Arc<Shared>,
    door: Arc<Handshaker>,
    sessions: Sessions,
    admission: Admission,
    strangers: JoinSet<Greeted>,
    /// The task of each stranger that has a place.
    tasks: HashMap<Slot, AbortHandle>,
    /// Who each task greets.
    peers: HashMap<Id, (Slot, SocketAddr)>,
    /// How far they have come.
    progress: Hear,
    /// For their tasks.
    tell_progress: Tell,
    trim: Trim,
    /// Lines about those who did not get in.
    folded: Folded<String>,
    /// Places of those who are told at present that there is no session for them.
    sent_away: Arc<Semaphore>,
}

impl Server {
    /// An agent that nobody has reached yet.
    pub fn new(door: Handshaker, shared: Arc<Shared>) -> Self {
        let (tell_progress, progress) = progress();
        Self {
            door: Arc::new(door),
            sessions: Sessions::default(),
            admission: Admission::new(rules(&shared.config.admission)),
            strangers: JoinSet::new(),
            tasks: HashMap::new(),
            peers: HashMap::new(),
            progress,
            tell_progress,
            trim: Trim::default(),
            folded: Folded::default(),
            sent_away: Arc::new(Semaphore::new(SENT_AWAY)),
            shared,
        }
    }

    /// Serves until SIGTERM or SIGINT, then ends in order.
    pub async fn serve(mut self, mut listener: Listener) -> io::Result<()> {
        let mut signals = Signals::new()?;
        let mut watchdog = Watchdog::new();
        let address = listener.address()?;
        info!("listening on {address}");
        notify::ready(address);
        let mut sweep = interval(SWEEP);
        loop {
            // Who is through with its login makes room before another comes in.
            tokio::select! {
                biased;
                () = signals.stop() => break,
                () = watchdog.ping() => {}
                _ = sweep.tick() => self.sweep(),
                () = due(self.folded.due()) => self.tell_folded(),
                () = self.trim.due() => {
                    let somebody = self.admission.strangers() + self.sessions.count() > 0;
                    self.trim.give_back(somebody);
                }
                Some(greeted) = self.strangers.join_next_with_id() => self.greeted(greeted),
                (stream, peer) = listener.accept() => {
                    self.connected(stream, peer);
                    // However many wait in the backlog, those who are in get on first.
                    yield_now().await;
                }
            }
        }
        drop(listener);
        self.stop(signals).await;
        Ok(())
    }

    /// Beside the loop, for there may be many.
    fn sweep(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.jobs.sweep(SystemTime::now()));
    }

    fn connected(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.trim.stir();
        if self.shared.jobs.is_sweep_due() {
            self.sweep();
        }
        self.progressed();
        match self.admission.connected(peer.ip(), Instant::now()) {
            Verdict::Penalised(until) => {
                let left = until.saturating_duration_since(Instant::now());
                debug!(%peer, "closed: its source is penalised for {left:?} more");
            }
            Verdict::Admitted { place, evicted } => {
                self.cut_off(evicted);
                let door = Arc::clone(&self.door);
                let progress = Progress::new(place, &self.tell_progress);
                let greeting = async move { door.greet(stream, progress).await };
                let task = self.strangers.spawn(greeting);
                self.peers.insert(task.id(), (place, peer));
                self.tasks.insert(place, task);
            }
        }
    }

    fn progressed(&mut self) {
        while let Ok((place, stage)) = self.progress.try_recv() {
            let evicted = self.admission.progressed(place, stage, Instant::now());
            self.cut_off(evicted);
        }
    }

    fn cut_off(&mut self, evicted: Option<Slot>) {
        if let Some(task) = evicted.and_then(|evicted| self.tasks.remove(&evicted)) {
            task.abort();
        }
    }

    fn greeted(&mut self, greeted: Result<(Id, Greeted), JoinError>) {
        let id = greeted.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((place, peer)) = self.peers.remove(&id) else { return };
        self.tasks.remove(&place);
        let outcome = match greeted {
            Ok((_, Ok(arrived))) => {
                self.logged_in(arrived, peer);
                Outcome::LoggedIn
            }
            Ok((_, Err(Rejected::Nothing))) => Outcome::Nothing,
            Ok((_, Err(rejected @ Rejected::Local(_)))) => {
                if self.is_news(peer, rejected.sort()) {
                    error!(%peer, "{rejected}");
                }
                Outcome::Nothing
            }
            Ok((_, Err(rejected))) => {
                if self.is_news(peer, rejected.sort()) {
                    warn!(%peer, "not let in: {rejected}");
                } else {
                    debug!(%peer, "not let in: {rejected}");
                }
                Outcome::Failed
            }
            Err(error) if error.is_cancelled() => {
                debug!(%peer, "made room for another");
                Outcome::Nothing
            }
            // The panic itself has been logged.
            Err(_) => Outcome::Failed,
        };
        self.admission.ended(place, outcome, Instant::now());
    }

    /// Whether a line of this sort about this source is to be written now.
    fn is_news(&mut self, peer: SocketAddr, sort: &str) -> bool {
        let sort = format!("not let in from {}: {sort}", Source::of(peer.ip()));
        self.folded.is_news(sort, Instant::now())
    }

    fn tell_folded(&mut self) {
        for line in self.folded.take(Instant::now()) {
            warn!("{line} in the last minute");
        }
    }

    fn logged_in(&mut self, arrived: Authenticated, peer: SocketAddr) {
        let holder = Holder::of(&arrived.key);
        let share = match self.shared.budget.take(holder, Resource::Session, 1) {
            Ok(share) => share,
            Err(exhausted) => return self.send_away(arrived, exhausted, peer),
        };
        let membership = self.sessions.enter(arrived.login.session, share);
        let session = Session::new(&arrived, peer, &self.shared, &membership);
        if let Err(error) = session::start(arrived, session, membership) {
            error!(%peer, "can't start a thread for a session: {error}");
        }
    }

    /// Tells somebody who logged in why there is no place. Nobody waits for that.
    fn send_away(&mut self, arrived: Authenticated, why: Exhausted, peer: SocketAddr) {
        let label = escape(arrived.key.label.as_bytes());
        if self.folded.is_news(format!("no more sessions for {label}"), Instant::now()) {
            warn!(%peer, key = %label, "sent away: {why}");
        }
        // Who comes faster than it can be told is not told.
        if let Ok(place) = Arc::clone(&self.sent_away).try_acquire_owned() {
            let work = session::send_away(arrived, self.shared.boot, why);
            tokio::spawn(async move {
                let _ = work.await;
                drop(place);
            });
        }
    }

    async fn stop(mut self, mut signals: Signals) {
        info!("stopping");
        notify::stopping(self.sessions.count());
        self.strangers.abort_all();
        self.sessions.stop_all();
        tokio::select! {
            () = self.sessions.ended() => info!("stopped"),
            () = sleep(STOPPING) => warn!("stopped; {} sessions were cut off", self.sessions.count()),
            () = signals.stop() => warn!("stopped at once; {} sessions were cut off", self.sessions.count()),
        }
    }
}

/// Waits for this moment, if there is one.
async fn due(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => pending().await,
    }
}

fn rules(config: &config::Admission) -> Rules {
    Rules {
        places_per_source: config.source_places,
        places: config.places,
        exempt: config.exempt.clone(),
        ..Rules::default()
    }
}
