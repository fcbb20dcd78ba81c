//! Many agents on loopback, for fan-outs.

use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Pid;

use crate::agent::Agent;
use crate::fleet::TestFleet;

/// Running agents. Dropping them kills them.
pub struct ManyAgents {
    agents: Vec<Agent>,
    /// The hosts, `h0001` and so on, with their addresses.
    pub hosts: Vec<(String, SocketAddr)>,
}

/// A fleet of this many hosts, and their running agents.
pub fn fleet_of(count: usize) -> (TestFleet, ManyAgents) {
    let fleet = TestFleet::new();
    let agents = ManyAgents::start(&fleet, count);
    (fleet, agents)
}

impl ManyAgents {
    /// Enrolls this many hosts and starts their agents.
    pub fn start(fleet: &TestFleet, count: usize) -> Self {
        Self::start_by(fleet, count, |_| {})
    }

    /// Enrolls this many hosts and starts their agents, after changes to each command.
    pub fn start_by(fleet: &TestFleet, count: usize, change: impl Fn(&mut Command)) -> Self {
        let hosts = (1..=count).map(|number| {
            let host = format!("h{number:04}");
            let agent = fleet.agent_by(&host, &change);
            ((host, agent.address), agent)
        });
        let (hosts, agents) = hosts.unzip();
        Self { agents, hosts }
    }

    /// The agents' process ids.
    pub fn pids(&self) -> Vec<Pid> {
        self.agents.iter().map(Agent::pid).collect()
    }
}
