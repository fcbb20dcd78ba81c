//! SIGHUP: configuration and keyring are reloaded while sessions continue.

use lariat_testing::bare_agent::{BareAgent, Setup};
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
            refused
                .to_string()
                .starts_with("this key is not permitted to jobs on this host: verbs: ")
        );
        // What counts from the next start on is named.
        let path = agent.directory.path().join("agent.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}\n[exec]\ngrace_max = \"5s\"\n")).unwrap();
        agent.signal(Signal::HUP);
        agent.wait_for("a restart is needed for what has changed in [exec]");
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
