//! Sessions: one request after another, and what ends them.

use lariat_common::link::{LinkError, message_frame};
use lariat_common::name::JobId;
use lariat_common::protocol::exec::{Ack, Command, Run};
use lariat_common::protocol::failure::Failure;
use lariat_common::protocol::request::{Goodbye, Ping, Pong};
use rustix::process::Signal;

use crate::harness::{Agent, block_on};

fn run() -> Run {
    Run {
        job: JobId([1; 16]),
        command: Command::Shell(b"true".to_vec()),
        cwd: None,
        env: Vec::new(),
        stdin: false,
        timeout_ms: None,
        grace_ms: 0,
    }
}

#[test]
fn what_is_not_permitted_is_told_and_the_session_goes_on() {
    let agent = Agent::start();
    block_on(async {
        let request = message_frame(&run()).unwrap();
        let (mut link, _) = agent.log_in_with(&request).await.unwrap();
        for _ in 0..2 {
            let failure = link.expect::<Failure>().await.unwrap();
            assert_eq!(failure.to_string(), "this key is not permitted to run on this host");
            // What its controller sent before it knew is passed over.
            link.outbox().post(&Ack { stdout: 0, stderr: 0 }).unwrap();
            link.send(&run()).await.unwrap();
        }
        link.expect::<Failure>().await.unwrap();
        link.send(&Ping { nonce: 3 }).await.unwrap();
        assert_eq!(link.expect::<Pong>().await.unwrap(), Pong { nonce: 3 });
        link.writer.finish().await.unwrap();
        assert_eq!(link.next().await.unwrap(), None);
    });
    agent.wait_for("ended");
}

#[test]
fn what_is_no_request_ends_its_session_and_no_other() {
    let agent = Agent::start();
    block_on(async {
        let mut other = agent.log_in().await;
        let mut link = agent.log_in().await;
        link.send(&Ack { stdout: 0, stderr: 0 }).await.unwrap();
        assert!(matches!(link.next().await, Err(LinkError::Cut)));
        agent.wait_for("a Ack frame is no request");
        other.send(&Ping { nonce: 3 }).await.unwrap();
        other.expect::<Pong>().await.unwrap();
    });
}

#[test]
fn sigterm_says_goodbye_and_exits_0() {
    let mut agent = Agent::start();
    block_on(async {
        let mut link = agent.log_in().await;
        agent.signal(Signal::HUP);
        agent.wait_for("SIGHUP");
        link.send(&Ping { nonce: 3 }).await.unwrap();
        link.expect::<Pong>().await.unwrap();
        agent.signal(Signal::TERM);
        assert!(link.expect::<Goodbye>().await.unwrap().retry_after_ms > 0);
        assert_eq!(link.next().await.unwrap(), None);
    });
    assert_eq!(agent.wait().code(), Some(0));
}
