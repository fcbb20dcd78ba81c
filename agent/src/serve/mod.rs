//! The main loop: accepts connections, authenticates peers, starts sessions, and stops the agent.
//!
//! The loop never waits for a single peer: unauthenticated peers are tasks beside it, sessions are threads.

mod handshake;
mod job_ends;
mod pace;
mod session;
mod sessions;
mod signals;
mod threads;
mod unpermitted;

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lariat_base::clock::seconds;
use lariat_base::escape::escape;
use lariat_wire::auth::agent::{LoggedIn, Refused};
use lariat_wire::protocol::failure::{Cause, Limit};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, yield_now};
use tokio::time::{interval, interval_at, sleep, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::admission::{
    Admission, Hear, Outcome, Progress, Rules, Slot, Source, Tell, Verdict, progress,
};
use crate::audit::{FailedLogin, Refusal};
use crate::budget::{Exhausted, Holder, Resource};
use crate::config;
use crate::core::{Agent, Reloaded, Session};
use crate::dial::Dialling;
use crate::folded::Folded;
use crate::keyring::{Entry, is_local};
use crate::memory::Trim;
use crate::notify::{self, Watchdog};
use crate::transport::{Arrival, LocalListener, Origin, TcpListener};
use handshake::{Authenticated, Connection, Rejected};
use pace::Pace;
use sessions::Sessions;
use signals::{Heard, Signals};
use threads::Threads;

pub use handshake::Handshaker;

/// How long sessions may take to end when the agent stops. Sessions that still run after that are cut off.
const STOPPING: Duration = Duration::from_secs(4);

/// How long peers may take to log in when the agent stops, to be told when to come back.
const LAST_LOGINS: Duration = Duration::from_secs(2);

/// The most controllers at a time that are being told that no session is free for them.
const SENT_AWAY: usize = 64;

/// The pause before accepting again when descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// How often old jobs and old lines of the audit are swept.
const SWEEP: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

type Greeted = Result<Authenticated, Rejected>;

/// Why the agent stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// A signal asked for it.
    Asked,
    /// Another version is to be executed, by the same process.
    Replaced,
}

/// The agent while it serves.
pub struct Server {
    agent: Arc<Agent>,
    handshaker: Arc<Handshaker>,
    sessions: Sessions,
    threads: Threads,
    admission: Admission,
    unauthenticated: JoinSet<Greeted>,
    /// The task of each unauthenticated peer that holds a slot.
    tasks: HashMap<Slot, AbortHandle>,
    /// The peer that each task authenticates.
    peers: HashMap<Id, (Slot, Origin)>,
    /// Receives the stages that unauthenticated peers have reached.
    progress: Hear,
    /// Cloned for each peer's task.
    tell_progress: Tell,
    trim: Trim,
    /// Log lines about rejected peers.
    folded: Folded<String>,
    /// Limits how many controllers are being sent away at a time.
    sent_away: Arc<Semaphore>,
    /// Hosts that have logged in to park connections.
    parking: Pace<(Authenticated, Origin)>,
    /// Where connections through the gateways come from that this agent dials.
    dialling: Dialling,
}

impl Server {
    /// A server without connections.
    pub fn new(handshaker: Handshaker, agent: Arc<Agent>) -> Self {
        let (tell_progress, progress) = progress();
        Self {
            handshaker: Arc::new(handshaker),
            sessions: Sessions::default(),
            threads: Threads::default(),
            admission: Admission::new(rules(&agent.config().admission)),
            unauthenticated: JoinSet::new(),
            tasks: HashMap::new(),
            peers: HashMap::new(),
            progress,
            tell_progress,
            trim: Trim::default(),
            folded: Folded::default(),
            sent_away: Arc::new(Semaphore::new(SENT_AWAY)),
            parking: Pace::default(),
            dialling: Dialling::default(),
            agent,
        }
    }

    /// Serves until SIGTERM or SIGINT, or until another version is to take its place, then shuts down in order.
    pub async fn serve(
        mut self,
        mut listener: Option<TcpListener>,
        local: Option<LocalListener>,
    ) -> io::Result<Stopped> {
        let mut signals = Signals::new()?;
        let mut watchdog = Watchdog::new();
        let address = listener.as_ref().map(TcpListener::address).transpose()?;
        let place = place(address);
        info!("{place}{}", listener.as_ref().map(TcpListener::origin).unwrap_or_default());
        // First, so that a restart right after the start finds it.
        listener.iter().filter_map(TcpListener::to_store).for_each(notify::store);
        notify::ready(&place, "");
        self.dialling.configured(&self.agent)?;
        let mut sweep = interval(SWEEP);
        let agent = Arc::clone(&self.agent);
        // The start has warned already.
        let mut daily = interval_at(tokio::time::Instant::now() + DAY, DAY);
        let mut keyring = self.agent.keyring.subscribe();
        tokio::spawn(job_ends::watch(Arc::clone(&self.agent)));
        tokio::spawn(unpermitted::watch(Arc::clone(&self.agent)));
        // Keys may have been revoked while the agent was not there.
        keyring.mark_changed();
        let stopped = loop {
            // In this order, so that a finished login frees its slot before another connection is accepted.
            tokio::select! {
                biased;
                heard = signals.next() => match heard {
                    Heard::Stop => break Stopped::Asked,
                    Heard::Reload => self.reload(&place),
                },
                () = agent.replaced.notified() => break Stopped::Replaced,
                () = watchdog.ping() => {}
                _ = sweep.tick() => self.sweep(),
                _ = daily.tick() => agent.certificates.kept().warn(&agent.config().name),
                _ = keyring.changed() => self.keys_changed(),
                () = due(self.folded.due()) => self.tell_folded(),
                () = due(self.parking.due(Instant::now())) => {
                    if let Some((arrived, origin)) = self.parking.pop(Instant::now()) {
                        self.logged_in(arrived, &origin);
                    }
                }
                () = self.trim.due() => {
                    let has_peers = self.admission.unauthenticated() + self.sessions.count() > 0;
                    self.trim.give_back(has_peers);
                }
                Some(greeted) = self.unauthenticated.join_next_with_id() => self.greeted(greeted),
                arrival = accept(listener.as_mut()) => {
                    self.connected(arrival);
                    // Peers that are in already make progress, however many wait in the backlog.
                    yield_now().await;
                }
                arrival = self.dialling.arrival() => self.connected(arrival),
                arrival = accept_local(local.as_ref()) => self.connected_locally(arrival),
            }
        };
        drop((listener, local));
        if stopped == Stopped::Asked {
            notify::stopping(self.sessions.count());
        }
        self.stop(signals).await;
        Ok(stopped)
    }

    /// Runs on a blocking thread: there may be many jobs.
    fn sweep(&self) {
        let agent = Arc::clone(&self.agent);
        let keyring = agent.keyring();
        tokio::task::spawn_blocking(move || {
            agent.set_aside();
            agent.audit.drop_old();
            agent.jobs.sweep(SystemTime::now(), |key| Holder::named(key, &keyring).is_owner());
        });
    }

    /// Ends the sessions of keys that were replaced. Each session looks itself whether its key is there.
    fn keys_changed(&self) {
        let keyring = self.agent.keyring();
        self.sessions.stop_where(|login| keyring.replaced(login).is_some());
    }

    /// Writes down when keys have last logged in. Runs on a blocking thread.
    fn save_last_used(&self) {
        let agent = Arc::clone(&self.agent);
        tokio::task::spawn_blocking(move || {
            let keyring = agent.keyring();
            let is_kept = |id| keyring.entries().any(|entry| entry.ids().any(|own| own == id));
            if let Err(error) = agent.last_used.save(is_kept) {
                warn!("{error}");
            }
        });
    }

    /// Reloads configuration, keyring and certificate.
    fn reload(&mut self, place: &str) {
        notify::reloading();
        let failed = match self.agent.reload() {
            Reloaded::Done(later) => {
                info!("configuration, keyring and certificate were read anew");
                if !later.is_empty() {
                    warn!("a restart is needed for what has changed in {}", later.join(", "));
                }
                if let Err(error) = self.dialling.configured(&self.agent) {
                    error!("gateways can't be dialled: {error}");
                }
                None
            }
            Reloaded::Unchanged(why) => {
                error!("nothing was read anew: {why}");
                Some(format!("; nothing was read anew: {}", escape(why.as_bytes())))
            }
        };
        notify::ready(place, &failed.unwrap_or_default());
    }

    fn peer_arrived(&mut self) {
        self.trim.peer_arrived();
        if self.agent.jobs.is_sweep_due() {
            self.sweep();
        }
    }

    /// Starts a session for a process on this host, which the kernel has authenticated.
    fn connected_locally(&mut self, Arrival { stream, origin }: Arrival) {
        self.peer_arrived();
        let Origin::Local { uid, .. } = origin else { return };
        let key = Arc::new(Entry::local(uid, self.agent.config().local.iter().copied().collect()));
        let login = LoggedIn::local(key.id);
        let arrived = stream.detach().map_err(|error| error.to_string()).and_then(|stream| {
            let login = login.map_err(|error| error.to_string())?;
            Ok(Authenticated { connection: Connection::Local(stream), login, key, identity: None })
        });
        match arrived {
            Ok(arrived) => self.logged_in(arrived, &origin),
            Err(why) => error!(peer = %origin, "can't begin a session: {why}"),
        }
    }

    fn connected(&mut self, Arrival { stream, origin }: Arrival) {
        self.peer_arrived();
        self.progressed();
        let now = Instant::now();
        let verdict = match &origin {
            Origin::Tcp(peer) => self.admission.connected(peer.ip(), now),
            Origin::Gateway { .. } => self.admission.connected_through_gateway(now),
            Origin::Local { .. } => return,
        };
        match verdict {
            Verdict::Penalised(until) => {
                let left = until.saturating_duration_since(now);
                debug!(peer = %origin, "closed: its source is penalised for {left:?} more");
            }
            Verdict::Admitted { place, evicted } => {
                self.cut_off(evicted);
                let handshaker = Arc::clone(&self.handshaker);
                let progress = Progress::new(place, &self.tell_progress);
                let from = origin.clone();
                let greeting = async move { handshaker.greet(stream, &from, progress).await };
                let task = self.unauthenticated.spawn(greeting);
                self.peers.insert(task.id(), (place, origin));
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
            Ok((_, Ok(arrived))) if arrived.key.park.is_some() => {
                if self.parking.push((arrived, peer)).is_err() {
                    debug!("too many hosts park connections at the same time");
                }
                Outcome::LoggedIn
            }
            Ok((_, Ok(arrived))) => {
                self.logged_in(arrived, &peer);
                Outcome::LoggedIn
            }
            Ok((_, Err(Rejected::Nothing))) => Outcome::Nothing,
            Ok((_, Err(rejected @ Rejected::Local(_)))) => {
                if self.is_news(&peer, rejected.sort()) {
                    error!(%peer, "{rejected}");
                }
                Outcome::Nothing
            }
            Ok((_, Err(rejected))) => {
                if let Rejected::Denied { refused, why } = &rejected {
                    self.login_failed(&peer, *refused, why);
                }
                if self.is_news(&peer, rejected.sort()) {
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
            // The panic hook has logged it.
            Err(_) => Outcome::Failed,
        };
        self.admission.ended(place, outcome, Instant::now());
    }

    fn login_failed(&self, peer: &Origin, refused: Refused, why: &str) {
        self.agent.counters.login_failed(&refused);
        let keyring = self.agent.keyring();
        let known = match refused {
            Refused::Key(id) | Refused::Now(id) => keyring.entry(id),
            Refused::Malformed | Refused::Version | Refused::Randomness(_) => None,
        };
        let refusal = Refusal::of_login(known.map(Arc::as_ref), &refused);
        self.agent.audit.refused(&refusal, &[&refusal, &FailedLogin::new(peer, why)]);
    }

    /// Whether a line of this kind about this source is to be logged now.
    fn is_news(&mut self, peer: &Origin, sort: &str) -> bool {
        let from = match peer {
            Origin::Tcp(address) => Source::of(address.ip()).to_string(),
            Origin::Gateway { .. } | Origin::Local { .. } => peer.to_string(),
        };
        let sort = format!("not let in from {from}: {sort}");
        self.folded.is_news(sort, Instant::now())
    }

    fn tell_folded(&mut self) {
        for (sort, count) in self.folded.take(Instant::now()) {
            let sort = sort.as_deref().unwrap_or("from other sources");
            warn!("{sort}: {count} more in the last minute");
        }
    }

    fn logged_in(&mut self, arrived: Authenticated, origin: &Origin) {
        let (id, login, key) =
            (arrived.login.session, arrived.login.key_id, Arc::clone(&arrived.key));
        let share = match self.agent.budget.take(Holder::of(&key), Resource::Session, 1) {
            Ok(share) => share,
            Err(exhausted) => return self.send_away(arrived, exhausted, origin),
        };
        let now = seconds(SystemTime::now());
        if !is_local(login) && self.agent.last_used.logged_in(login, now) {
            self.save_last_used();
        }
        let membership = self.sessions.enter(id, login, share);
        if self.agent.keyring().replaced(login).is_some() {
            // It was replaced between its login and now.
            membership.stop().send_replace(Some(Cause::Stopping));
        }
        let mut session =
            Session::new(id, login, key, origin.clone(), &self.agent, membership.stop());
        session.identity.clone_from(&arrived.identity);
        session.features = arrived.login.features;
        if let Err(error) = session::start(&self.threads, arrived, session, membership) {
            error!(peer = %origin, "can't start a thread for a session: {error}");
        }
    }

    /// Tells an authenticated controller why no session is free for it. Runs as a task of its own.
    fn send_away(&mut self, arrived: Authenticated, why: Exhausted, origin: &Origin) {
        self.agent.counters.limit_reached(Limit::Sessions);
        let label = escape(arrived.key.label.as_bytes());
        if self.folded.is_news(format!("no more sessions for {label}"), Instant::now()) {
            warn!(peer = %origin, key = %label, "sent away: {why}");
        }
        // Beyond the limit, the connection is closed without a reason.
        if let Ok(place) = Arc::clone(&self.sent_away).try_acquire_owned() {
            let agent = Arc::clone(&self.agent);
            tokio::spawn(async move {
                let _ = session::send_away(arrived, &agent, why).await;
                drop(place);
            });
        }
    }

    async fn stop(mut self, mut signals: Signals) {
        info!("stopping");
        self.sessions.stop_all();
        self.save_last_used();
        let sessions = self.sessions.clone();
        tokio::select! {
            () = self.end() => info!("stopped"),
            () = sleep(STOPPING) => warn!("stopped; {} sessions were cut off", sessions.count()),
            () = signals.stopped() => warn!("stopped at once; {} sessions were cut off", sessions.count()),
        }
    }

    /// Waits for the ends of all sessions. A peer that has been answered may have sent its login with a request: it is
    /// not cut off, but told that nothing was done and when to come back.
    async fn end(&mut self) {
        self.progressed();
        for place in self.admission.unanswered() {
            self.cut_off(Some(place));
        }
        let logins = async {
            while let Some(greeted) = self.unauthenticated.join_next_with_id().await {
                self.greeted(greeted);
            }
        };
        let _ = timeout(LAST_LOGINS, logins).await;
        self.unauthenticated.abort_all();
        self.sessions.ended().await;
    }
}

/// Where the agent listens, for people.
fn place(address: Option<SocketAddr>) -> String {
    address.map_or_else(
        || "listening nowhere, dialling gateways".to_owned(),
        |address| format!("listening on {address}"),
    )
}

/// The next connection over TCP; never resolves if the agent listens nowhere.
async fn accept(listener: Option<&mut TcpListener>) -> Arrival {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// The next connection from this host; never resolves if the agent doesn't listen for any.
async fn accept_local(listener: Option<&LocalListener>) -> Arrival {
    let Some(listener) = listener else { return pending().await };
    loop {
        match listener.accept().await {
            Ok(arrival) => return arrival,
            // Descriptors ran out, or the peer has gone.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Waits for this moment; never resolves if there is none.
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
