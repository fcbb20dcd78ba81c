//! Disturbances of the attempts before the last one.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::agent::Agent;
use crate::faulty::{Fault, Faulty};
use crate::rng::Rng;

/// One attempt that is disturbed, and may or may not reach its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    /// The controller is sent a signal after this many bytes.
    Signal(u64, Signal),
    /// The agent is killed after this many bytes, and restarted.
    AgentKilled(u64),
    /// Every connection is cut after this many bytes, and the attempt continues by itself.
    Cut(u64),
}

impl Disturbance {
    /// Chooses up to three disturbances, or none.
    pub(super) fn choose(rng: &mut Rng) -> Vec<Self> {
        let count = if rng.one_in(3) { 0 } else { 1 + rng.below(3) };
        let one = |rng: &mut Rng| {
            // The handshake and the login take about 7,000 bytes.
            let bytes = if rng.one_in(2) { rng.below(60_000) } else { rng.below(4_000_000) };
            match rng.below(5) {
                0 => Self::Signal(bytes, Signal::KILL),
                1 => Self::Signal(bytes, Signal::INT),
                2 => Self::Signal(bytes, Signal::TERM),
                3 => Self::AgentKilled(bytes),
                _ => Self::Cut(bytes),
            }
        };
        (0..count).map(|_| one(rng)).collect()
    }

    /// Runs an attempt to its end, whatever that is.
    pub(super) fn play(self, mut lariat: Command, agent: &mut Agent, proxy: &Faulty) {
        proxy.set(Fault { rate: Some(200_000_000), ..Fault::default() });
        let (Self::Signal(bytes, _) | Self::AgentKilled(bytes) | Self::Cut(bytes)) = self;
        let passed = proxy.after(bytes);
        let mut child = lariat
            .args(["--reconnect", "10s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("lariat can be run");
        let reached = loop {
            if passed.recv_timeout(Duration::from_millis(5)).is_ok() {
                break true;
            }
            if child.try_wait().expect("it is our child").is_some() {
                break false;
            }
        };
        if reached {
            match self {
                // The process may have ended meanwhile.
                Self::Signal(_, signal) => drop(kill_process(Pid::from_child(&child), signal)),
                Self::AgentKilled(_) => {
                    agent.kill_and_restart();
                    proxy.cut();
                }
                Self::Cut(_) => proxy.cut(),
            }
        }
        child.wait().expect("it is our child");
        proxy.set(Fault::default());
    }
}
