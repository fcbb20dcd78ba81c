//! SIGHUP: configuration, keyring and certificate are reloaded while sessions continue.

use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::fleet::TestFleet;
use lariat_testing::wait::block_on;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::job::{List, Listed};
use lariat_wire::protocol::session::{Ping, Pong};
use rustix::process::Signal;

fn list() -> List {
    List { prefix: String::new(), all_keys: false }
}

#[test]
fn a_new_keyring_counts_at_once_and_one_with_a_mistake_changes_nothing() {
    let agent = BareAgent::with(Setup { verbs: "\"jobs\"", ..Setup::default() });
    let path = agent.directory.path().join("keyring.toml");
    let keyring = std::fs::read_to_string(&path).unwrap();
    let reload = |text: &str, told: &str| {
        std::fs::write(&path, text).unwrap();
        agent.signal(Signal::HUP);
        agent.wait_for(told);
    };
    block_on(async {
        let mut first = agent.log_in().await;
        let (mut other, _) = agent.log_in_as(&agent.other_key, b"").await.unwrap();
        reload(&format!("{keyring}colour = 1\n"), "nothing was read anew: ");
        for link in [&mut first, &mut other] {
            link.ask(&list()).await.unwrap();
            link.expect::<Listed>().await.unwrap();
        }
        // The second key loses verbs, and its session continues.
        let (one, two) = keyring.rsplit_once("\"jobs\"").unwrap();
        reload(&format!("{one}\"run\"{two}"), "were read anew");
        other.ask(&list()).await.unwrap();
        let refused = other.expect::<Failure>().await.unwrap();
        assert!(
            refused.to_string().starts_with(
                "this key is not permitted to see or change jobs on this host: verbs: "
            )
        );
        // What counts from the next start on is named.
        let path = agent.directory.path().join("agent.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}\n[limits]\njobs = 5\n")).unwrap();
        agent.signal(Signal::HUP);
        agent.wait_for("a restart is needed for what has changed in [limits]");
        // Then it is removed, and its session ends.
        let (kept, _) = keyring.rsplit_once("[[key]]").unwrap();
        reload(kept, "were read anew");
        let ended = loop {
            if let Err(error) = other.next().await {
                break error;
            }
        };
        assert!(matches!(ended, LinkError::Goodbye { .. }), "{ended}");
        assert!(agent.log_in_as(&agent.other_key, b"").await.is_err());
        first.send(&Ping { nonce: 5 }).await.unwrap();
        assert_eq!(first.expect::<Pong>().await.unwrap(), Pong { nonce: 5 });
        first.ask(&list()).await.unwrap();
        first.expect::<Listed>().await.unwrap();
    });
}

#[test]
fn how_commands_run_is_changed_without_a_restart() {
    let (fleet, agent) = TestFleet::with_agent();
    let config = fleet.bundle("web1").join("agent.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[exec]\npath = \"/bin:/elsewhere\"\n")).unwrap();
    agent.signal(Signal::HUP);
    agent.wait_for("were read anew");
    assert_eq!(fleet.ok(["run", "web1", "--", "echo $PATH"]), "/bin:/elsewhere\n");
    assert!(!agent.log().iter().any(|line| line.contains("a restart is needed")));
}

#[test]
fn a_certificate_that_no_controller_accepts_changes_nothing() {
    let (fleet, agent) = TestFleet::with_agent();
    fleet.enroll("web2", "127.0.0.1:1");
    for file in ["host.pem", "host.key"] {
        std::fs::copy(fleet.bundle("web2").join(file), fleet.bundle("web1").join(file)).unwrap();
    }
    agent.signal(Signal::HUP);
    let told = agent.wait_for("nothing was read anew: ");
    assert!(told.contains("host.pem: the certificate is for web2, not for web1"), "{told}");
    fleet.ok(["ping", "web1"]);
}
