//! Transfers over a real network: a link with delay, loss and a rate between two network namespaces.
//!
//! They need root and `/dev/net/tun`; elsewhere they say that they were passed over.

mod burst;
mod queue;
mod roam;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::files::{assert_same, random_file, remote, text};
use lariat_testing::fleet::TestFleet;
use lariat_testing::network::{Conditions, FAR, NEAR, Network};

const MIB: u64 = 1 << 20;
const MBIT: u64 = 1_000_000;

/// One percent, of a million.
const PERCENT: u32 = 10_000;

/// A controller at the near end of a link, an agent at its far end, and a file.
struct World {
    fleet: TestFleet,
    agent: Agent,
    network: Network,
    source: PathBuf,
    copy: PathBuf,
}

impl World {
    /// `None`, with a sentence, where there can't be such a network.
    fn new(conditions: Conditions, size: u64) -> Option<Self> {
        let network = match Network::new(conditions) {
            Ok(network) => network,
            Err(why) => {
                // Not by a macro, whose output is shown only for tests that fail.
                let skipped = format!("SKIPPED: a transfer over a real network: {why}");
                writeln!(std::io::stderr(), "{skipped}").expect("stderr is there");
                return None;
            }
        };
        let fleet = TestFleet::new();
        fleet.enroll("web1", "192.0.2.1:1");
        let config = fleet.bundle("web1").join("agent.toml");
        let agent = network.far.enter(|| Agent::start(config, SocketAddr::from((FAR, 0))));
        fleet.set_address("web1", agent.address);
        let (source, copy) = (fleet.path("source"), fleet.path("copy"));
        random_file(&source, size, 14);
        Some(Self { fleet, agent, network, source, copy })
    }

    fn start(&self, verb: &str, options: &[&str]) -> Child {
        let paths = match verb {
            "push" => [text(&self.source), remote(&self.copy)],
            _ => [remote(&self.source), text(&self.copy)],
        };
        let mut command = self.fleet.lariat();
        command.arg(verb).args(paths).arg("--json").args(options);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.network.near.enter(|| command.spawn().unwrap())
    }

    /// Checks that the copy is exact, and returns the controller's object.
    fn finished(&self, child: Child) -> serde_json::Value {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{}", self.agent.log().join("\n"));
        assert_same(&self.source, &self.copy);
        std::fs::remove_file(&self.copy).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_file_arrives_over_a_link_that_loses_one_packet_in_a_hundred() {
    let conditions = Conditions::new(Duration::from_millis(10), PERCENT, 400 * MBIT);
    let Some(world) = World::new(conditions, 64 * MIB + 77) else { return };
    for verb in ["push", "pull"] {
        let told = world.finished(world.start(verb, &["--streams", "4"]));
        assert_eq!(told["streams"], 4, "{told}");
    }
}

/// No end of the connection reaches either end: only silence shows that it is gone.
fn one_of_four_falls_silent(verb: &str) {
    let conditions = Conditions::new(Duration::from_millis(10), 0, 100 * MBIT);
    let Some(world) = World::new(conditions, 32 * MIB) else { return };
    let child = world.start(verb, &["--streams", "4"]);
    let line = world.agent.wait_for(&format!("{verb} lane of "));
    let port = line.split(&format!("peer={NEAR}:")).nth(1);
    let port = port.and_then(|rest| rest.split('}').next()?.parse().ok());
    world.network.lose(port.unwrap_or_else(|| panic!("no port in {line:?}")));
    let told = world.finished(child);
    assert!(told["streams"].as_u64().unwrap() >= 3, "{told}");
}

#[test]
fn a_push_goes_on_when_one_of_four_connections_falls_silent() {
    one_of_four_falls_silent("push");
}

#[test]
fn a_pull_goes_on_when_one_of_four_connections_falls_silent() {
    one_of_four_falls_silent("pull");
}

#[test]
fn auto_uses_several_connections_on_a_long_link() {
    let conditions = Conditions::new(Duration::from_millis(50), PERCENT / 10, 150 * MBIT);
    let Some(world) = World::new(conditions, 80 * MIB) else { return };
    let told = world.finished(world.start("push", &[]));
    assert!(told["streams"].as_u64().unwrap() > 1, "{told}");
}
