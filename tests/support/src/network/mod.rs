//! A real network of two hosts: two network namespaces, and between them a link with a rate, a queue, a delay and loss.
//!
//! TCP runs in the kernel, as between any two hosts; the link is two TUN devices and a thread for each direction. What
//! the link does to a packet is decided in [`queue`]. Everything disappears with the processes that use it.

pub mod burst;
pub mod queue;

mod direction;
mod ip;
mod namespace;
mod tun;

use std::io::{PipeWriter, pipe};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

pub use namespace::Namespace;
pub use queue::Conditions;

use direction::{Direction, Lost};
use queue::Queue;
use tun::Tun;

/// The address of the near end, which tests give to controllers.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The address of the far end, where agents are.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// The device of the link, in each namespace.
pub const LINK: &str = "link0";

/// Two namespaces and the link between them. Dropping it ends the link.
pub struct Network {
    /// The end of [`NEAR`].
    pub near: Namespace,
    /// The end of [`FAR`].
    pub far: Namespace,
    lost: Arc<Lost>,
    /// Bytes that have arrived at the far end, and at the near one.
    arrived: [Arc<AtomicU64>; 2],
    /// Closing it ends the threads.
    stop: Option<PipeWriter>,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    /// Creates the namespaces and starts the link, which treats packets of both directions alike.
    ///
    /// # Errors
    /// Says why this machine has no such network: it takes root, `/dev/net/tun` and `ip`.
    pub fn new(conditions: Conditions) -> Result<Self, String> {
        let namespace = || Namespace::new().map_err(|e| format!("no network namespace: {e}"));
        let (near, far) = (namespace()?, namespace()?);
        let [near_tun, far_tun] = [near.enter(|| join(NEAR))?, far.enter(|| join(FAR))?];
        let (stopped, stop) = pipe().map_err(|e| format!("no pipe: {e}"))?;
        let (stopped, lost) = (Arc::new(stopped), Arc::<Lost>::default());
        let arrived = [(); 2].map(|()| Arc::<AtomicU64>::default());
        let tuns = [near_tun, far_tun].map(Arc::new);
        let mut threads = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            let direction = Direction {
                queue: Queue::new(conditions, from as u64),
                arrived: Arc::clone(&arrived[from]),
                from: Arc::clone(&tuns[from]),
                to: Arc::clone(&tuns[to]),
                lost: Arc::clone(&lost),
                stopped: Arc::clone(&stopped),
            };
            let thread = std::thread::Builder::new().name("link".to_owned());
            let thread = thread.spawn(move || direction.run());
            threads.push(thread.map_err(|e| format!("no thread: {e}"))?);
        }
        Ok(Self { near, far, lost, arrived, stop: Some(stop), threads })
    }

    /// Bytes that have arrived at the far end so far, with the headers of packets and bursts.
    pub fn bytes_out(&self) -> u64 {
        self.arrived[0].load(Ordering::Relaxed)
    }

    /// Loses every packet of the TCP connection that has this port at either end, from now on, in place of the
    /// connection that was named before.
    pub fn lose(&self, port: u16) {
        self.lost.set(port);
    }

    /// Loses every packet from now on, or none any longer.
    pub fn cut(&self, is_cut: bool) {
        self.lost.set_all(is_cut);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A panic of its was printed, and a test that needs the link has failed.
            let _ = thread.join();
        }
    }
}

/// Gives the namespace of this thread its end of the link.
fn join(address: Ipv4Addr) -> Result<Tun, String> {
    let tun = Tun::new(LINK).map_err(|e| format!("no TUN device: {e}"))?;
    // The device's own queue must hold whatever comes until the link reads it.
    let settings = format!(
        "link set lo up\nlink set {LINK} mtu 1500 txqueuelen 20000\n\
         address add {address}/24 dev {LINK}\nlink set {LINK} up\n"
    );
    ip::configure(&settings)?;
    Ok(tun)
}
