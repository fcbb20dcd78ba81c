//! Connections that other hosts have dialled and parked here, for controllers to take.
//!
//! They wait on one thread, whatever their number: a session of its own for each would cost a thread for every host
//! behind this gateway. Each is kept alive by pings from both ends, and ends when its key is revoked.

mod places;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use lariat_base::lock::lock;
use lariat_base::name::{HostName, KeyId};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::connect::{Handed, Parked};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::keyring::{Entry, Keyring};
use crate::policy::Clock;
use crate::transport::{BoxStream, Detached, Movable};
use places::{Place, Places};

/// How long a host may take to hand a connection over. After that another one is tried.
const HANDING: Duration = Duration::from_secs(3);

/// How long a host that was here lately is waited for: it parks another connection once one is taken. A controller begins
/// another attempt after 3 s.
const WAITING: Duration = Duration::from_secs(2);

/// How lately.
const LATELY: Duration = Duration::from_secs(60);

/// The longest time until dates of keys are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The connections that are parked here.
#[derive(Default)]
pub struct Parking {
    lot: Arc<Lot>,
    /// Where new ones go: the thread that they wait on. It is started with the first one.
    thread: OnceLock<Result<mpsc::UnboundedSender<Newcomer>, String>>,
}

#[derive(Default)]
struct Lot {
    places: Mutex<Places<Waiting>>,
    /// Changes with each new connection.
    arrivals: watch::Sender<u64>,
}

/// A parked connection, as seen by those who take it. Dropping it ends the connection.
struct Waiting {
    key: KeyId,
    take: oneshot::Sender<oneshot::Sender<Detached>>,
}

/// A connection that is about to be parked.
pub struct Newcomer {
    /// The host.
    pub host: HostName,
    /// The id that its key logged in with.
    pub key: KeyId,
    /// The connection, detached from its runtime.
    pub stream: BoxStream,
    /// The number of the request to park it.
    pub request: u16,
    /// What it may make this end keep.
    pub memory: Memory,
}

/// No connection of the host could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotParked {
    /// How long ago the last one was here, if there was one.
    pub since: Option<Duration>,
}

impl Parking {
    /// Parks a connection until it is taken, ends, or its key may no longer park it.
    pub fn park(
        &self,
        newcomer: Newcomer,
        keyring: watch::Receiver<Arc<Keyring>>,
    ) -> io::Result<()> {
        let start = || start(Arc::clone(&self.lot), keyring).map_err(|error| error.to_string());
        let thread = self.thread.get_or_init(start);
        let thread = thread.as_ref().map_err(|why| io::Error::other(why.clone()))?;
        thread.send(newcomer).map_err(|_| io::Error::other("the thread for it has ended"))
    }

    /// Whether a host has a connection here.
    pub fn has(&self, host: &HostName) -> bool {
        self.lot.places().has(host)
    }

    /// Takes a connection of a host, for the current runtime. One that is dead is passed over; a host that was here
    /// lately is waited for.
    pub async fn take(&self, host: &HostName) -> Result<Movable, NotParked> {
        let until = tokio::time::Instant::now() + WAITING;
        let mut arrivals = self.lot.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let now = Instant::now();
            let (waiting, since) = {
                let mut places = self.lot.places();
                let since = places.last_seen(host, now);
                (places.take(host, now), since)
            };
            if let Some(Waiting { take, .. }) = waiting {
                let (give, given) = oneshot::channel();
                // It has ended just now, or does not answer.
                if take.send(give).is_ok()
                    && let Ok(Ok(stream)) = timeout(HANDING, given).await
                    && let Ok(stream) = stream.attach()
                {
                    return Ok(stream);
                }
                continue;
            }
            let is_expected = since.is_some_and(|since| since < LATELY);
            let arrival = timeout_at(until, arrivals.changed());
            if !is_expected || !matches!(arrival.await, Ok(Ok(()))) {
                return Err(NotParked { since });
            }
        }
    }
}

impl Lot {
    fn places(&self) -> MutexGuard<'_, Places<Waiting>> {
        lock(&self.places)
    }

    /// Gives a connection a place. Returns how it is told that it is taken.
    fn park(
        &self,
        host: &HostName,
        key: KeyId,
    ) -> (Place, oneshot::Receiver<oneshot::Sender<Detached>>) {
        let (take, taken) = oneshot::channel();
        let (place, oldest) = self.places().park(host, Waiting { key, take }, Instant::now());
        drop(oldest);
        self.arrivals.send_modify(|count| *count += 1);
        (place, taken)
    }
}

/// Starts the thread on which connections wait.
fn start(
    lot: Arc<Lot>,
    keyring: watch::Receiver<Arc<Keyring>>,
) -> io::Result<mpsc::UnboundedSender<Newcomer>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (sender, mut newcomers) = mpsc::unbounded_channel::<Newcomer>();
    let work = async move {
        tokio::spawn(end_unpermitted(Arc::clone(&lot), keyring));
        while let Some(newcomer) = newcomers.recv().await {
            tokio::spawn(wait(newcomer, Arc::clone(&lot)));
        }
    };
    std::thread::Builder::new().name("parking".into()).spawn(move || runtime.block_on(work))?;
    Ok(sender)
}

/// Ends the connections whose keys may no longer park them.
async fn end_unpermitted(lot: Arc<Lot>, mut keyring: watch::Receiver<Arc<Keyring>>) {
    loop {
        let present = Arc::clone(&keyring.borrow_and_update());
        // The key has logged in: its dates counted then.
        let clock = Clock { now: SystemTime::now(), is_set: true };
        lot.places().retain(|host, waiting| {
            let may = |entry: &Arc<Entry>| {
                entry.is_current(clock)
                    && entry.park.as_ref().is_some_and(|park| park.value == *host)
            };
            present.entry(waiting.key).is_some_and(may)
        });
        tokio::select! {
            changed = keyring.changed() => if changed.is_err() { return },
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Waits with a connection until it is taken or ends.
async fn wait(newcomer: Newcomer, lot: Arc<Lot>) {
    let Newcomer { host, key, mut stream, request, memory } = newcomer;
    if let Err(error) = stream.attach() {
        return warn!("{host} can't park a connection: {error}");
    }
    let mut link = Link::with_memory(stream, request, memory);
    if let Err(error) = link.send(&Parked).await {
        return debug!("a connection of {host} has ended: {error}");
    }
    let (place, taken) = lot.park(&host, key);
    debug!("{host} has parked a connection");
    let order = tokio::select! {
        biased;
        taken = taken => taken.ok(),
        frame = link.next() => {
            let why = match frame {
                Ok(Some(frame)) => LinkError::Unexpected(frame.kind).to_string(),
                Ok(None) => "the host has ended it".to_owned(),
                Err(error) => error.to_string(),
            };
            info!("a parked connection of {host} has ended: {why}");
            None
        }
    };
    lot.places().ended(&host, place, Instant::now());
    let Some(give) = order else { return };
    match timeout(HANDING, hand(link)).await {
        // Who does not wait any longer has taken another.
        Ok(Ok(stream)) => drop(give.send(stream)),
        Ok(Err(error)) => info!("a parked connection of {host} was dead: {error}"),
        Err(_) => info!("a parked connection of {host} was dead: no answer"),
    }
}

/// Tells the host that its connection is taken, and ends TLS. The host is the server of what follows, so it says nothing
/// yet.
async fn hand(mut link: Link<BoxStream>) -> Result<Detached, LinkError> {
    link.send(&Handed).await?;
    let (stream, first) = link.into_stream().bare().await?;
    if !first.is_empty() {
        return Err(LinkError::Misbehaved("it talks before it is asked"));
    }
    Ok(stream.detach()?)
}
