//! Many agents on loopback, for fan-outs: many in a process, each with an address, a state directory and a
//! bundle of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

use rustix::process::Pid;

use crate::binaries::binaries;
use crate::fleet::TestFleet;

/// Agents of one process. A process that starts another copies its descriptors, of which each agent has
/// some: with too many agents that would be what is measured.
const EACH: usize = 25;

/// Running agents. They are killed when this is dropped.
pub struct Crowd {
    children: Vec<Child>,
    /// The hosts, `h0001` and so on, with their addresses.
    pub hosts: Vec<(String, SocketAddr)>,
}

/// A fleet of this many hosts, and their running agents.
///
/// # Panics
/// When one of them does not start.
pub fn fleet_of(count: usize) -> (TestFleet, Crowd) {
    let fleet = TestFleet::new();
    let crowd = Crowd::start(&fleet, count);
    (fleet, crowd)
}

impl Crowd {
    /// Enrols this many hosts and starts their agents.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn start(fleet: &TestFleet, count: usize) -> Self {
        Self::start_by(fleet, count, |_| {})
    }

    /// The same with changes of the caller's own to the command for each process.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn start_by(fleet: &TestFleet, count: usize, change: impl Fn(&mut Command)) -> Self {
        let hosts: Vec<_> = (1..=count).map(|n| (format!("h{n:04}"), address(n))).collect();
        let mut crowd = Self { children: Vec::new(), hosts };
        for hosts in crowd.hosts.chunks(EACH) {
            let mut command = Command::new(&binaries().agents);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            change(&mut command);
            let mut child = command.spawn().expect("agents can be run");
            let stdin = child.stdin.take().expect("it is piped");
            let stderr = child.stderr.take().expect("it is piped");
            crowd.children.push(child);
            begin(fleet, hosts, stdin);
            await_all(hosts.len(), stderr);
        }
        crowd
    }

    /// The processes of all of them.
    pub fn pids(&self) -> Vec<Pid> {
        self.children.iter().map(Pid::from_child).collect()
    }
}

fn begin(fleet: &TestFleet, hosts: &[(String, SocketAddr)], mut stdin: ChildStdin) {
    for (host, address) in hosts {
        fleet.enroll(host, &address.to_string());
        let config = fleet.bundle(host).join("agent.toml");
        writeln!(stdin, "{address} {}", config.display()).expect("it reads");
    }
}

fn await_all(count: usize, stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    let mut ready = 0;
    while ready < count {
        let line = lines.next().expect("all agents start").expect("text");
        assert!(!line.starts_with("agents: "), "{line}");
        ready += usize::from(line.contains("listening on "));
    }
    // What they log further is read, so that nobody waits for room.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
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
