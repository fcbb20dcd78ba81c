//! Ports that sessions listen on for their controllers, and the connections that have arrived there and wait to be
//! taken by another session of the same key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::name::KeyId;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::transport::Detached;

/// Most connections of a listener that wait to be taken. More wait to be accepted.
const MOST_WAITING: usize = 32;

/// How long a connection waits to be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked for those that have waited too long.
const EVERY: Duration = Duration::from_secs(5);

/// How long an earlier listener of the same key may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// The listeners of an agent, by number. Clones share their state.
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    listeners: HashMap<u64, Arc<Shared>>,
    count: u64,
}

/// What the session that listens and those that take connections share.
struct Shared {
    key: KeyId,
    address: SocketAddr,
    waiting: Mutex<Waiting>,
    /// A connection waits no longer.
    left: Notify,
    /// The key has begun another listener at this address.
    superseded: Notify,
    is_gone: watch::Sender<bool>,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    connections: HashMap<u64, (Instant, Detached, SocketAddr)>,
    count: u64,
}

/// A listener. Dropping it closes the connections that came by it.
pub(crate) struct Listener {
    listeners: Listeners,
    number: u64,
    shared: Arc<Shared>,
}

/// A connection that was taken.
pub(crate) struct Taken {
    /// The connection.
    pub(crate) stream: Detached,
    /// Where it comes from.
    pub(crate) from: SocketAddr,
    /// The listener that it came by.
    pub(crate) by: By,
}

/// The listener of a connection that was taken.
pub(crate) struct By(Arc<Shared>);

impl Listeners {
    /// Adds a listener of this key.
    pub(crate) fn add(&self, key: KeyId, address: SocketAddr) -> Listener {
        let shared = Arc::new(Shared {
            key,
            address,
            waiting: Mutex::default(),
            left: Notify::new(),
            superseded: Notify::new(),
            is_gone: watch::Sender::new(false),
            bytes: AtomicU64::new(0),
        });
        let mut known = lock(&self.0);
        known.count += 1;
        let number = known.count;
        known.listeners.insert(number, Arc::clone(&shared));
        Listener { listeners: self.clone(), number, shared }
    }

    /// Ends a listener of this key at this address, the connection of which may have broken unnoticed.
    pub(crate) async fn supersede(&self, key: KeyId, address: SocketAddr) {
        let is_it = |shared: &&Arc<Shared>| shared.key == key && shared.address == address;
        let earlier = lock(&self.0).listeners.values().find(is_it).cloned();
        if let Some(earlier) = earlier {
            earlier.superseded.notify_one();
            let _ = timeout(ENDING, earlier.gone()).await;
        }
    }

    /// Takes a connection that waits at a listener of this key.
    pub(crate) fn take(&self, key: KeyId, listener: u64, connection: u64) -> Option<Taken> {
        let shared = lock(&self.0).listeners.get(&listener).cloned()?;
        if shared.key != key {
            return None;
        }
        let (_, stream, from) = lock(&shared.waiting).connections.remove(&connection)?;
        shared.left.notify_one();
        Some(Taken { stream, from, by: By(shared) })
    }
}

impl Shared {
    async fn gone(&self) {
        // The sender is this one's own.
        let _ = self.is_gone.subscribe().wait_for(|is_gone| *is_gone).await;
    }
}

impl Listener {
    /// The number by which its connections are taken.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until another connection may wait. Cancel-safe.
    pub(crate) async fn room(&self) {
        while lock(&self.shared.waiting).connections.len() >= MOST_WAITING {
            self.shared.left.notified().await;
        }
    }

    /// A connection has arrived. Returns its number.
    pub(crate) fn arrived(&self, stream: Detached, from: SocketAddr) -> u64 {
        let mut waiting = lock(&self.shared.waiting);
        waiting.count += 1;
        let number = waiting.count;
        waiting.connections.insert(number, (Instant::now(), stream, from));
        number
    }

    /// Closes those that nobody takes, for ever.
    pub(crate) async fn expire(&self) -> std::convert::Infallible {
        loop {
            sleep(EVERY).await;
            lock(&self.shared.waiting)
                .connections
                .retain(|_, (since, ..)| since.elapsed() < PATIENCE);
            self.shared.left.notify_one();
        }
    }

    /// Waits until the same key listens there anew. Cancel-safe.
    pub(crate) async fn superseded(&self) {
        self.shared.superseded.notified().await;
    }

    /// How many connections have arrived, and how many bytes those had that have ended.
    pub(crate) fn carried(&self) -> (u64, u64) {
        let count = lock(&self.shared.waiting).count;
        (count, self.shared.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        lock(&self.listeners.0).listeners.remove(&self.number);
        lock(&self.shared.waiting).connections.clear();
        self.shared.is_gone.send_replace(true);
    }
}

impl By {
    /// Waits until the listener is gone. Cancel-safe.
    pub(crate) async fn gone(&self) {
        self.0.gone().await;
    }

    /// Adds to what its connections have carried.
    pub(crate) fn count(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::transport::Movable;

    async fn connection() -> (Detached, SocketAddr, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        (Movable::Tcp(stream).detach().unwrap(), from, client)
    }

    #[tokio::test]
    async fn only_its_own_key_takes_a_connection_and_only_once() {
        let listeners = Listeners::default();
        let (ours, theirs) = (KeyId([1; 16]), KeyId([2; 16]));
        let listener = listeners.add(ours, "127.0.0.1:80".parse().unwrap());
        let (stream, from, _client) = connection().await;
        let number = listener.arrived(stream, from);
        let at = listener.number();
        assert!(listeners.take(theirs, at, number).is_none());
        assert!(listeners.take(ours, at + 1, number).is_none());
        assert!(listeners.take(ours, at, number + 1).is_none());
        let taken = listeners.take(ours, at, number).unwrap();
        assert_eq!(taken.from, from);
        assert!(listeners.take(ours, at, number).is_none());
        taken.by.count(7);
        assert_eq!(listener.carried(), (1, 7));
        let (stream, from, _other) = connection().await;
        let number = listener.arrived(stream, from);
        drop(listener);
        taken.by.gone().await;
        assert!(listeners.take(ours, at, number).is_none());
        assert!(lock(&listeners.0).listeners.is_empty());
    }

    #[tokio::test]
    async fn a_few_wait_and_a_newer_listener_ends_an_older_one() {
        let listeners = Listeners::default();
        let (key, address) = (KeyId([1; 16]), "127.0.0.1:80".parse().unwrap());
        let listener = listeners.add(key, address);
        let mut clients = Vec::new();
        for _ in 0..MOST_WAITING {
            listener.room().await;
            let (stream, from, client) = connection().await;
            listener.arrived(stream, from);
            clients.push(client);
        }
        let full = timeout(Duration::from_millis(10), listener.room());
        assert!(full.await.is_err());
        listeners.take(key, listener.number(), 1).unwrap();
        listener.room().await;
        listeners.supersede(KeyId([2; 16]), address).await;
        listeners.supersede(key, "127.0.0.1:81".parse().unwrap()).await;
        assert!(timeout(Duration::from_millis(10), listener.superseded()).await.is_err());
        let newer = listeners.supersede(key, address);
        let older = async {
            listener.superseded().await;
            drop(listener);
        };
        tokio::join!(newer, older);
    }
}
