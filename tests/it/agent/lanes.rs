//! Who may add a connection to a transfer.

use std::os::unix::ffi::OsStringExt;

use lariat_base::name::TransferId;
use lariat_testing::bare_agent::{BareAgent, Setup, TRANSFER};
use lariat_testing::wait::block_on;
use lariat_wire::link::{LinkError, message_frame};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::metadata::{Metadata, Preserve};
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::transfer::{
    Destination, Have, Identity, Lane, Offer, Overrides, Push, Taken, Way,
};
use lariat_wire::protocol::{Kind, Message};

const LANE: Lane = Lane { transfer: TRANSFER, way: Way::Push, number: 1 };

fn push(agent: &BareAgent) -> Vec<u8> {
    let path = agent.directory.path().join("file").into_os_string().into_vec();
    let offer = Offer {
        size: Some(1 << 30),
        sparse: true,
        metadata: Metadata { mode: 0o644, ..Metadata::default() },
        identity: Identity::default(),
        seed: 7,
    };
    let dest = Destination { path, name: b"file".to_vec() };
    let (overrides, preserve, user) = (Overrides::default(), Preserve::default(), None);
    let push = Push { transfer: TRANSFER, dest, offer, overrides, preserve, dry_run: false, user };
    message_frame(1, &push).unwrap()
}

#[test]
fn only_the_same_key_joins_its_transfer_as_long_as_it_runs() {
    let setup =
        Setup { verbs: "\"push\", \"pull\"", other_verbs: Some("\"push\""), ..Setup::default() };
    let agent = BareAgent::with(setup);
    block_on(async {
        let (mut first, _) = agent.log_in_with(&push(&agent)).await.unwrap();
        first.expect::<Have>().await.unwrap();
        let refused = async |key, lane: Lane| {
            let asked = agent.log_in_as(key, &message_frame(1, &lane).unwrap()).await;
            let (mut link, _) = asked.unwrap();
            link.expect::<Failure>().await.unwrap().cause
        };
        for (key, lane) in [
            (&agent.other_key, LANE),
            (&agent.key, Lane { way: Way::Pull, ..LANE }),
            (&agent.key, Lane { transfer: TransferId([8; 16]), ..LANE }),
            (&agent.key, Lane { number: 0, ..LANE }),
            (&agent.key, Lane { number: 8, ..LANE }),
        ] {
            assert!(matches!(refused(key, lane).await, Cause::BadRequest(_)), "{lane:?}");
        }
        let pull = Lane { way: Way::Pull, ..LANE };
        assert!(matches!(refused(&agent.other_key, pull).await, Cause::NotPermitted { .. }));

        let asked = agent.log_in_with(&message_frame(1, &LANE).unwrap()).await;
        let (mut lane, _) = asked.unwrap();
        // Zeros, whose body is empty; the sum is that of a whole chunk of them.
        let zeros = lariat_engine::sum(7, &vec![0; lariat_wire::limits::CHUNK]);
        let head = lariat_wire::protocol::transfer::ChunkHead { index: 9, sum: zeros, encoding: 1 };
        for chunks in 1..=2 {
            // The same chunk again is taken again.
            lane.writer.bulk(Kind::Chunk, &head.encode(), &[]).await.unwrap();
            assert_eq!(lane.expect::<Taken>().await.unwrap(), Taken { chunks });
        }
        drop(first);
        // The lane ends with the transfer, and the session goes on.
        assert!(matches!(lane.next().await, Ok(None)));
        lane.ask(&LANE).await.unwrap();
        let answer = lane.expect::<Failure>().await;
        assert!(matches!(answer, Ok(Failure { cause: Cause::BadRequest(_), .. })), "{answer:?}");
        lane.send(&Ping { nonce: 3 }).await.unwrap();
        lane.expect::<Pong>().await.unwrap();
    });
}

#[test]
fn a_lane_that_breaks_the_rules_ends_and_its_transfer_goes_on() {
    let agent = BareAgent::start();
    block_on(async {
        let (mut first, _) = agent.log_in_with(&push(&agent)).await.unwrap();
        first.expect::<Have>().await.unwrap();
        let (mut lane, _) = agent.log_in_with(&message_frame(1, &LANE).unwrap()).await.unwrap();
        lane.send(&Taken { chunks: 1 }).await.unwrap();
        assert!(matches!(lane.next().await, Err(LinkError::Cut)));
        first.send(&Ping { nonce: 3 }).await.unwrap();
        let frame = first.next().await.unwrap().unwrap();
        assert_eq!(frame.kind, Pong::KIND);
    });
}
