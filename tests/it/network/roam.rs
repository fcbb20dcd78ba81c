//! Addresses that change, a link that is down, small packets, IPv6 alone: what is under way goes on.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::files::{assert_same, text};
use lariat_testing::network::{Conditions, FAR, LINK, NEAR};
use lariat_testing::wait;
use rustix::process::Signal;

use super::{MBIT, MIB, World};

/// An address that an end gets in place of its own.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 77);

/// How long the link is down, or an end has no address: `LARIAT_DOWN=90` makes it a soak.
fn down() -> Duration {
    Duration::from_secs(std::env::var("LARIAT_DOWN").map_or(4, |down| down.parse().unwrap()))
}

/// A link on which the file takes some seconds.
fn world() -> Option<World> {
    World::new(Conditions::new(Duration::from_millis(5), 0, 20 * MBIT), 8 * MIB + 77)
}

/// A command that goes on once it is told to, and a transfer beside it.
struct UnderWay {
    run: Child,
    push: Child,
    go: PathBuf,
}

impl UnderWay {
    fn start(world: &World, lariat: impl Fn() -> Command) -> Self {
        let go = world.fleet.path("go");
        let line =
            format!("seq 3000; until [ -e {} ]; do sleep 0.1; done; seq 3000; exit 3", text(&go));
        let copy = format!("web1:{}", world.copy.display());
        let start = |words: &[&str]| {
            let mut command = lariat();
            command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
            world.network.near.enter(|| command.spawn().unwrap())
        };
        let run = start(&["run", "--reconnect", "4m", "web1", "--", &line]);
        let push = start(&["push", "--reconnect", "4m", &text(&world.source), &copy]);
        world.agent.wait_for("run job ");
        wait::until("a part of the file", || (world.network.bytes_out() > MIB).then_some(()));
        Self { run, push, go }
    }

    /// Lets both go on, and checks that nothing was lost and nothing done twice.
    fn finish(self, world: &World) {
        fs::write(&self.go, "").unwrap();
        let output = self.run.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{errors}");
        let twice = (1..=3000).chain(1..=3000).map(|n: u32| n.to_string());
        assert!(std::str::from_utf8(&output.stdout).unwrap().lines().eq(twice));
        let output = self.push.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_same(&world.source, &world.copy);
    }
}

/// Commands of `ip` that give an end another address.
fn moved(from: Ipv4Addr, to: Ipv4Addr) -> [String; 2] {
    [format!("address del {from}/24 dev {LINK}\n"), format!("address add {to}/24 dev {LINK}\n")]
}

#[test]
fn a_link_that_is_down_for_a_while_costs_only_that_while() {
    let Some(world) = world() else { return };
    let under_way = UnderWay::start(&world, || world.fleet.lariat());
    world.network.cut(true);
    sleep(down());
    world.network.cut(false);
    under_way.finish(&world);
}

#[test]
fn a_controller_whose_address_changes_goes_on() {
    let Some(world) = world() else { return };
    let under_way = UnderWay::start(&world, || world.fleet.lariat());
    let [gone, back] = moved(NEAR, OTHER);
    world.network.near.ip(&gone);
    sleep(down());
    world.network.near.ip(&back);
    under_way.finish(&world);
    // Not a connection of before.
    assert!(world.agent.log().iter().any(|line| line.contains(&format!("peer={OTHER}:"))));
}

/// Ends the agent, for one that listens somewhere else.
fn stop(agent: &mut Agent) {
    agent.signal(Signal::KILL);
    agent.wait();
}

/// The inventory has a name, which is resolved anew at each attempt.
#[test]
fn a_host_whose_address_changes_is_found_again() {
    let Some(mut world) = world() else { return };
    let config = world.fleet.bundle("web1").join("agent.toml");
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    stop(&mut world.agent);
    world.agent = world.network.far.enter(|| Agent::start(config, anywhere));
    let names = world.fleet.path("names");
    let name = |address: Ipv4Addr| fs::write(&names, format!("{address} web1.test\n")).unwrap();
    name(FAR);
    let inventory = world.fleet.home().join("hosts.toml");
    let hosts = fs::read_to_string(&inventory).unwrap();
    let start = hosts.rfind("address = ").unwrap();
    let end = start + hosts[start..].find('\n').unwrap();
    let port = world.agent.address.port();
    let hosts = format!("{}address = \"web1.test:{port}\"{}", &hosts[..start], &hosts[end..]);
    fs::write(&inventory, hosts).unwrap();
    // With a file of names of its own.
    let lariat = || {
        let plain = world.fleet.lariat();
        let mut command = Command::new("unshare");
        let mount = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", text(&names));
        command.args(["--mount", "sh", "-c", &mount]).arg(plain.get_program());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(plain.get_current_dir().unwrap()).stdin(Stdio::null());
        command
    };
    let under_way = UnderWay::start(&world, lariat);
    let [gone, back] = moved(FAR, OTHER);
    world.network.far.ip(&gone);
    sleep(down());
    world.network.far.ip(&back);
    name(OTHER);
    under_way.finish(&world);
}

#[test]
fn packets_of_576_bytes_are_enough() {
    let Some(world) = world() else { return };
    for end in [&world.network.near, &world.network.far] {
        end.ip(&format!("link set {LINK} mtu 576\n"));
    }
    UnderWay::start(&world, || world.fleet.lariat()).finish(&world);
    let told = world.finished(world.start("pull", &[]));
    assert_eq!(told["ok"], true, "{told}");
}

#[test]
fn ipv6_alone_is_enough() {
    let Some(mut world) = world() else { return };
    let addresses = [1, 2].map(|end| Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, end));
    let ends = [(&world.network.near, NEAR), (&world.network.far, FAR)];
    for ((end, old), new) in ends.into_iter().zip(addresses) {
        end.ip(&format!(
            "address del {old}/24 dev {LINK}\naddress add {new}/64 dev {LINK} nodad\n"
        ));
    }
    let config = world.fleet.bundle("web1").join("agent.toml");
    let at = SocketAddr::from((addresses[1], 0));
    stop(&mut world.agent);
    world.agent = world.network.far.enter(|| Agent::start(config, at));
    world.fleet.set_address("web1", world.agent.address);
    UnderWay::start(&world, || world.fleet.lariat()).finish(&world);
}

#[test]
fn a_host_on_the_same_network_is_found_at_its_new_address() {
    let Some(mut world) = world() else { return };
    let config = world.fleet.bundle("web1").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("discover = true\n{text}")).unwrap();
    stop(&mut world.agent);
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    world.agent = world.network.far.enter(|| Agent::start(config, anywhere));
    let port = world.agent.address.port();
    world.fleet.set_address("web1", SocketAddr::from((FAR, port)));
    let lariat = |words: &[&str]| world.network.near.enter(|| world.fleet.ok(words));
    assert_eq!(lariat(&["discover"]), format!("web1 {FAR}:{port}\n"));
    moved(FAR, OTHER).iter().for_each(|commands| world.network.far.ip(commands));
    assert_eq!(lariat(&["discover", "--update"]), format!("web1 {OTHER}:{port}\n"));
    assert_eq!(lariat(&["run", "web1", "--", "echo out"]), "out\n");
}

/// An agent that dials out, on a host that gets another address: so it is with a mapping of NAT that is forgotten.
#[test]
fn a_host_that_dials_out_comes_back_from_another_address() {
    let Some(mut world) = world() else { return };
    let at = SocketAddr::from((NEAR, 0));
    world.fleet.enroll("gw1", "192.0.2.1:1");
    let config = world.fleet.bundle("gw1").join("agent.toml");
    let gateway = world.network.near.enter(|| Agent::start(config, at));
    world.fleet.set_address("gw1", gateway.address);
    stop(&mut world.agent);
    world.network.near.enter(|| {
        world.fleet.ok(["forget", "web1"]);
        fs::remove_dir_all(world.fleet.bundle("web1")).unwrap();
        world.fleet.enroll_dialling("web1", None, &["gw1"]);
    });
    let config = world.fleet.bundle("web1").join("agent.toml");
    world.agent = world.network.far.enter(|| Agent::start_dialling(config));
    world.agent.wait_for("parked at gw1 (");
    let under_way = UnderWay::start(&world, || world.fleet.lariat());
    let [gone, back] = moved(FAR, OTHER);
    world.network.far.ip(&gone);
    sleep(down());
    world.network.far.ip(&back);
    // Only silence shows that what is parked is gone.
    gateway.wait_for(&format!("key=@web1 peer={OTHER}:"));
    under_way.finish(&world);
}
