//! Many agents on loopback, for fan-outs: all in one process, each with an address, a state folder and a
//! bundle of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use crate::binaries::binaries;
use crate::fleet::TestFleet;

/// Running agents. They are killed when this is dropped.
pub struct Crowd {
    child: Child,
    /// The hosts, `h0001` and so on, with their addresses.
    pub hosts: Vec<(String, SocketAddr)>,
}

impl Crowd {
    /// Enrols this many hosts and starts their agents.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn start(fleet: &TestFleet, count: usize) -> Self {
        Self::start_by(fleet, count, &mut Command::new(&binaries().agents))
    }

    /// The same with a command of the caller's own for the process.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn start_by(fleet: &TestFleet, count: usize, command: &mut Command) -> Self {
        let hosts: Vec<_> = (1..=count).map(|n| (format!("h{n:04}"), address(n))).collect();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("agents can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        for (host, address) in &hosts {
            fleet.enroll(host, &address.to_string());
            let config = fleet.bundle(host).join("agent.toml");
            writeln!(stdin, "{address} {}", config.display()).expect("it reads");
        }
        drop(stdin);
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut ready = 0;
        while ready < count {
            let line = lines.next().expect("all agents start").expect("text");
            assert!(!line.starts_with("agents: "), "{line}");
            ready += usize::from(line.contains("listening on "));
        }
        // What they log further is read, so that nobody waits for room.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, hosts }
    }

    /// The process of all of them.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback that no other host of this crowd has, with a port that nobody else uses there.
fn address(number: usize) -> SocketAddr {
    let [high, low] = u16::try_from(number).expect("so many hosts are never tried").to_be_bytes();
    let ip = Ipv4Addr::new(127, 77, high, low);
    // Between this and the agent's start nobody else is likely to take it, on an address of its own.
    let listener = TcpListener::bind((ip, 0)).expect("a port on loopback");
    listener.local_addr().expect("it is bound")
}
