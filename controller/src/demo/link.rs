//! The network in front of one of the tour's agents: a proxy with a rate, which is cut once and then comes back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;

use crate::error::CliError;

/// Bytes that are copied at once.
const PART: usize = 64 * 1024;

/// A link to an agent. Its threads end with the process.
pub(super) struct Link {
    /// Where it listens.
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Bytes a second towards the agent, over all connections.
    rate: u64,
    /// When the next bytes may pass.
    next: Mutex<Instant>,
    /// Bytes towards the agent so far.
    passed: AtomicU64,
    /// The link is cut when so many have passed.
    cut_at: AtomicU64,
    /// How long it stays cut.
    down_for: Duration,
    is_down: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to `target`.
    pub(super) fn new(target: SocketAddr, rate: u64, down_for: Duration) -> Result<Self, CliError> {
        let failed = |e: std::io::Error| CliError::from(e).during("listen on loopback");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (passed, cut_at) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let (is_down, streams) = (AtomicBool::new(false), Mutex::default());
        let next = Mutex::new(Instant::now());
        let shared = Arc::new(Shared { rate, next, passed, cut_at, down_for, is_down, streams });
        let accepting = Arc::clone(&shared);
        spawn(move || {
            for controller in listener.incoming().map_while(Result::ok) {
                // A connection that fails is closed, as a broken network does.
                if !accepting.is_down.load(SeqCst) {
                    let _ = accepting.connect(&controller, target);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Cuts it once this many more bytes have passed.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.shared.cut_at.store(self.shared.passed.load(SeqCst) + bytes, SeqCst);
    }

    /// Whether it was cut.
    pub(super) fn was_cut(&self) -> bool {
        self.shared.cut_at.load(SeqCst) == u64::MAX
    }
}

impl Shared {
    fn connect(
        self: &Arc<Self>,
        controller: &TcpStream,
        target: SocketAddr,
    ) -> std::io::Result<()> {
        let agent = TcpStream::connect(target)?;
        lock(&self.streams).extend([controller.try_clone()?, agent.try_clone()?]);
        let (mut from, mut into) = (controller.try_clone()?, agent.try_clone()?);
        let shared = Arc::clone(self);
        spawn(move || {
            let _ = shared.up(&mut from, &mut into);
            shut(&from);
            shut(&into);
        });
        let (mut from, mut into) = (agent, controller.try_clone()?);
        spawn(move || {
            let _ = std::io::copy(&mut from, &mut into);
            shut(&from);
            shut(&into);
        });
        Ok(())
    }

    /// Copies towards the agent.
    fn up(self: &Arc<Self>, from: &mut TcpStream, into: &mut TcpStream) -> std::io::Result<()> {
        let mut part = vec![0; PART];
        loop {
            let len = from.read(&mut part)?;
            if len == 0 {
                return Ok(());
            }
            into.write_all(&part[..len])?;
            sleep(self.turn(len as u64).saturating_duration_since(Instant::now()));
            let passed = self.passed.fetch_add(len as u64, SeqCst) + len as u64;
            if passed >= self.cut_at.load(SeqCst) {
                self.cut();
            }
        }
    }

    /// When these bytes have passed.
    fn turn(&self, bytes: u64) -> Instant {
        let mut next = lock(&self.next);
        *next = (*next).max(Instant::now()) + Duration::from_micros(bytes * 1_000_000 / self.rate);
        *next
    }

    fn cut(self: &Arc<Self>) {
        self.is_down.store(true, SeqCst);
        self.cut_at.store(u64::MAX, SeqCst);
        lock(&self.streams).drain(..).for_each(|stream| shut(&stream));
        let shared = Arc::clone(self);
        spawn(move || {
            sleep(shared.down_for);
            shared.is_down.store(false, SeqCst);
        });
    }
}

fn shut(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}
