//! A bad network: a proxy on loopback that delays, cuts, stalls or throttles what passes through it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use std::io::{Read, Write};

/// What a link with a rate holds, beside what is under way, in bytes.
const ROUTER: u64 = 256 * 1024;

/// What the network does to each connection.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// Added in each direction.
    pub delay: Duration,
    /// Connections are cut after this many bytes towards the agent.
    pub cut_up: Option<u64>,
    /// Connections are cut after this many bytes towards the controller.
    pub cut_down: Option<u64>,
    /// Nothing passes any more, but connections stay open.
    pub stall: bool,
    /// Bytes per second, in each direction of each connection.
    pub rate: Option<u64>,
}

/// A proxy in front of an agent. Dropping it ends the proxy.
pub struct Faulty {
    /// Where controllers connect to.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    connections: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    /// Connections numbered below this are stalled.
    forsaken: AtomicU64,
    accepted: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    awaited: Mutex<Option<(u64, mpsc::Sender<()>)>>,
}

impl Faulty {
    /// Starts a proxy to `target`.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(target: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            fault: Mutex::new(fault),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
            forsaken: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            awaited: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for controller in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connect(&controller);
            }
        });
        Self { address, shared }
    }

    /// Changes the fault, for open connections too.
    ///
    /// # Panics
    /// Never.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("no panic while it is held") = fault;
    }

    /// Leads new connections to another target.
    ///
    /// # Panics
    /// Never.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no panic while it is held") = target;
    }

    /// Cuts every connection at once.
    ///
    /// # Panics
    /// Never.
    pub fn cut(&self) {
        let mut connections = self.shared.connections.lock().expect("no panic while it is held");
        connections.drain(..).for_each(|stream| shut(&stream));
    }

    /// Cuts the newest connection, unless it is the only one.
    ///
    /// # Panics
    /// Never.
    pub fn cut_newest(&self) {
        let mut connections = self.shared.connections.lock().expect("no panic while it is held");
        // Both sides of it were added last.
        let kept = connections.len().saturating_sub(2).max(2).min(connections.len());
        connections.drain(kept..).for_each(|stream| shut(&stream));
    }

    /// Cuts the oldest connection that was not cut yet.
    ///
    /// # Panics
    /// Never.
    pub fn cut_oldest(&self) {
        let mut connections = self.shared.connections.lock().expect("no panic while it is held");
        let two = connections.len().min(2);
        connections.drain(..two).for_each(|stream| shut(&stream));
    }

    /// Stalls the connections that are open now, without closing them. Later connections work.
    pub fn forsake(&self) {
        self.shared.forsaken.store(self.accepted(), Ordering::SeqCst);
    }

    /// Sends one message as soon as this many more bytes have passed, counted in both directions.
    ///
    /// # Panics
    /// Never.
    pub fn after(&self, bytes: u64) -> mpsc::Receiver<()> {
        let (tell, told) = mpsc::channel();
        let when = self.bytes_up() + self.bytes_down() + bytes;
        *self.shared.awaited.lock().expect("no panic while it is held") = Some((when, tell));
        told
    }

    /// The number of connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes that have passed towards the agent.
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::SeqCst)
    }

    /// Bytes that have passed towards the controller.
    pub fn bytes_down(&self) -> u64 {
        self.shared.bytes_down.load(Ordering::SeqCst)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the accepting thread, so that it notices.
        let _ = TcpStream::connect(self.address);
    }
}

fn shut(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Shared {
    fn connect(self: &Arc<Self>, controller: &TcpStream) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let target = *self.target.lock().expect("no panic while it is held");
        let Ok(agent) = TcpStream::connect(target) else { return };
        for stream in [controller, &agent] {
            let _ = stream.set_nodelay(true);
        }
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor is left");
        let mut connections = self.connections.lock().expect("no panic while it is held");
        connections.extend([clone(controller), clone(&agent)]);
        drop(connections);
        self.pump(clone(controller), clone(&agent), Way::Up, number);
        self.pump(clone(&agent), clone(controller), Way::Down, number);
    }

    /// Notifies receivers whose number of bytes has passed.
    fn tell(&self) {
        let passed = [&self.bytes_up, &self.bytes_down].map(|bytes| bytes.load(Ordering::SeqCst));
        let mut awaited = self.awaited.lock().expect("no panic while it is held");
        if let Some((_, tell)) = awaited.take_if(|(when, _)| passed.iter().sum::<u64>() >= *when) {
            // The receiver may have been dropped.
            let _ = tell.send(());
        }
    }

    /// Waits until a link with a rate has room for more than what it holds.
    fn wait_for_room(&self, held: &AtomicU64) {
        let is_full = || {
            let Fault { rate, delay, .. } = *self.fault.lock().expect("no panic while it is held");
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let most = rate.map(|rate| ROUTER + rate.saturating_mul(millis) / 1000);
            most.is_some_and(|most| held.load(Ordering::SeqCst) > most)
        };
        while is_full() && !self.stopped.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Reads on one thread and writes on another, each piece when its time has come. With a rate, no more is read than
    /// the link and a router's buffer hold.
    fn pump(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, way: Way, number: u64) {
        let (pieces, due) = mpsc::channel::<(Instant, Vec<u8>)>();
        let reading = Arc::clone(self);
        let queued = Arc::<AtomicU64>::default();
        let held = Arc::clone(&queued);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut passed = 0;
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let fault = reading.fault.lock().expect("no panic while it is held").clone();
                let mut piece = &buffer[..read];
                let limit = match way {
                    Way::Up => fault.cut_up,
                    Way::Down => fault.cut_down,
                };
                let left = limit.map(|limit| limit.saturating_sub(passed));
                let cut = left.is_some_and(|left| (piece.len() as u64) >= left);
                if let Some(left) = left {
                    piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                }
                passed += piece.len() as u64;
                held.fetch_add(piece.len() as u64, Ordering::SeqCst);
                let sent = pieces.send((Instant::now() + fault.delay, piece.to_vec()));
                if cut || sent.is_err() {
                    break;
                }
                reading.wait_for_room(&held);
            }
        });
        let writing = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok((when, piece)) = due.recv() {
                wait_until(when);
                let fault = || writing.fault.lock().expect("no panic while it is held").clone();
                let is_stalled = || {
                    let forsaken = number < writing.forsaken.load(Ordering::SeqCst);
                    (forsaken || fault().stall) && !writing.stopped.load(Ordering::SeqCst)
                };
                while is_stalled() {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                if let Some(rate) = fault().rate {
                    let nanos = piece.len() as u64 * 1_000_000_000 / rate.max(1);
                    wait_until(Instant::now() + Duration::from_nanos(nanos));
                }
                if to.write_all(&piece).is_err() {
                    break;
                }
                let counter = match way {
                    Way::Up => &writing.bytes_up,
                    Way::Down => &writing.bytes_down,
                };
                counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
                queued.fetch_sub(piece.len() as u64, Ordering::SeqCst);
                writing.tell();
            }
            // Nobody waits for room any more.
            queued.store(0, Ordering::SeqCst);
            // An end is passed on as an end. A cut looks the same, but without TLS's close_notify before it.
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

fn wait_until(when: Instant) {
    while let Some(left) = when.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
        std::thread::park_timeout(left);
    }
}
