//! `lariat discover`: hosts that are found on the local network.

use std::fs;
use std::net::SocketAddr;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::fleet::TestFleet;

/// An agent on the address that answers on loopback come from, which is to be found.
fn found(fleet: &TestFleet, host: &str, discover: bool) -> Agent {
    fleet.enroll(host, "127.0.0.1:1");
    let config = fleet.bundle(host).join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("discover = {discover}\n{text}")).unwrap();
    Agent::start(config, SocketAddr::from(([127, 0, 0, 1], 0)))
}

#[test]
fn hosts_that_want_to_be_found_are_and_those_of_other_fleets_are_not() {
    let (fleet, other) = (TestFleet::new(), TestFleet::new());
    let (web1, _web2) = (found(&fleet, "web1", true), found(&fleet, "web2", false));
    let _web3 = found(&other, "web3", true);
    let line = format!("web1 {}\n", web1.address);
    assert_eq!(fleet.ok(["discover"]), line);
    let told: serde_json::Value = serde_json::from_str(&fleet.ok(["discover", "--json"])).unwrap();
    assert_eq!(
        (&told["host"], &told["enrolled"], &told["updated"]),
        (&"web1".into(), &true.into(), &false.into())
    );
    // Nobody answers at the address of the inventory, and web1 does at the one where it was found.
    let output = fleet.run(["discover", "--update"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), line);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("inventory is {} now", web1.address)), "{errors}");
    fleet.ok(["run", "web1", "--", "true"]);
}

#[test]
fn an_address_that_works_stays() {
    let fleet = TestFleet::new();
    let web1 = found(&fleet, "web1", true);
    let proxy = Faulty::start(web1.address, Fault::default());
    fleet.set_address("web1", proxy.address);
    let output = fleet.run(["discover", "--update"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("it still does at {}", proxy.address)), "{errors}");
    let listed = fleet.ok(["hosts"]);
    assert!(listed.contains(&proxy.address.to_string()), "{listed}");
    // A host that was enrolled anew has another key: it is none of the inventory's.
    let inventory = fleet.home().join("hosts.toml");
    let text = fs::read_to_string(&inventory).unwrap();
    let spki = text.rfind("spki = \"").unwrap() + 8;
    fs::write(&inventory, format!("{}{}{}", &text[..spki], "0".repeat(64), &text[spki + 64..]))
        .unwrap();
    assert_eq!(fleet.ok(["discover"]), "");
}

#[test]
fn what_keeps_an_agent_from_being_found_is_told() {
    let fleet = TestFleet::new();
    let agent = found(&fleet, "web1", true);
    let told = agent.log().join("\n");
    assert!(told.contains("answering probes on UDP port 7433"), "{told}");
    drop(agent);
    let config = fleet.bundle("web1").join("agent.toml");
    fs::remove_file(fleet.bundle("web1").join("ca.pem")).unwrap();
    let agent = Agent::start(config, SocketAddr::from(([127, 0, 0, 1], 0)));
    let told = agent.log().join("\n");
    assert!(told.contains("probes can't be answered: ") && told.contains("ca.pem"), "{told}");
}
