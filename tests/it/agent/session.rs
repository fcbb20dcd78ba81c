//! Sessions: one request after another, and what ends them.

use std::os::unix::ffi::OsStringExt;

use lariat_base::name::JobId;
use lariat_testing::bare_agent::{BareAgent, Setup, TRANSFER};
use lariat_testing::wait::block_on;
use lariat_wire::link::{Link, LinkError, message_frame};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::exec::{Ack, Command, Run, Started, Streams};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::hello::FEATURES;
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve};
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::transfer::{Destination, Have, Identity, Offer, Overrides, Push};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

fn run() -> Run {
    Run {
        job: JobId([1; 16]),
        command: Command::Shell(b"true".to_vec()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: 0,
    }
}

#[test]
fn what_is_not_permitted_is_told_and_the_session_goes_on() {
    let agent = BareAgent::start();
    block_on(async {
        let request = message_frame(1, &run()).unwrap();
        let (mut link, _) = agent.log_in_with(&request).await.unwrap();
        for _ in 0..2 {
            let failure = link.expect::<Failure>().await.unwrap();
            assert_eq!(
                failure.to_string(),
                "this key is not permitted to run this on this host: verbs: keyring.toml:6 has no run"
            );
            // Late frames of the previous request are skipped.
            link.outbox().post(&Ack { stdout: 0, stderr: 0 }).unwrap();
            link.ask(&run()).await.unwrap();
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
    let agent = BareAgent::start();
    block_on(async {
        let mut other = agent.log_in().await;
        let mut link = agent.log_in().await;
        link.send(&Ack { stdout: 0, stderr: 0 }).await.unwrap();
        assert!(matches!(link.next().await, Err(LinkError::Cut)));
        agent.wait_for("a Ack frame can't belong to request 0");
        other.send(&Ping { nonce: 3 }).await.unwrap();
        other.expect::<Pong>().await.unwrap();
    });
}

#[test]
fn a_request_of_a_newer_controller_is_told_and_the_session_goes_on() {
    let agent = BareAgent::start();
    let request = message_frame(1, &run()).unwrap();
    let mut kind = request.clone();
    kind[4..6].copy_from_slice(&[0xfe, 0xff]);
    let mut field = [&request[..], b"!"].concat();
    field[0] += 1;
    block_on(async {
        for unknown in [kind, field] {
            let (mut link, welcome) = agent.log_in_with(&unknown).await.unwrap();
            assert_eq!(welcome.features, FEATURES);
            let failure = link.expect::<Failure>().await.unwrap();
            let told = "its lariatd 0.1.0 does not know this request";
            assert_eq!(failure.to_string(), told.replace("0.1.0", env!("CARGO_PKG_VERSION")));
            link.ask(&run()).await.unwrap();
            let failure = link.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::NotPermitted { .. }), "{failure}");
        }
    });
}

#[test]
fn sigterm_says_goodbye_and_exits_0() {
    let mut agent = BareAgent::start();
    block_on(async {
        let mut link = agent.log_in().await;
        agent.signal(Signal::HUP);
        agent.wait_for("were read anew");
        link.send(&Ping { nonce: 3 }).await.unwrap();
        link.expect::<Pong>().await.unwrap();
        agent.signal(Signal::TERM);
        says_goodbye(&mut link).await;
    });
    assert_eq!(agent.wait().code(), Some(0));
}

async fn says_goodbye(link: &mut Link<TlsStream<TcpStream>>) {
    let goodbye = link.next().await;
    assert!(matches!(goodbye, Err(LinkError::Goodbye { retry_after_ms: 1.. })), "{goodbye:?}");
    link.writer.finish().await.unwrap();
    assert_eq!(link.next().await.unwrap(), None);
}

#[test]
fn sigterm_says_goodbye_while_a_command_runs_too() {
    let mut agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    block_on(async {
        let command = Command::Shell(b"sleep 30".to_vec());
        let request = message_frame(1, &Run { command, ..run() }).unwrap();
        let (mut link, _) = agent.log_in_with(&request).await.unwrap();
        link.expect::<Started>().await.unwrap();
        agent.signal(Signal::TERM);
        says_goodbye(&mut link).await;
    });
    assert_eq!(agent.wait().code(), Some(0));
}

/// Otherwise its controller could not know whether the request was served.
#[test]
fn sigterm_says_goodbye_to_a_login_that_comes_later() {
    let mut agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    block_on(async {
        let greeted = agent.connect().await.unwrap();
        agent.signal(Signal::TERM);
        agent.wait_for("stopping");
        let request = message_frame(1, &run()).unwrap();
        let (tls, _) = agent.finish_login(greeted, &agent.key, &request).await.unwrap();
        says_goodbye(&mut Link::with_memory(tls, 1, Memory::default())).await;
    });
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn sigterm_stops_a_transfer_with_a_word_and_exits_0() {
    let mut agent = BareAgent::start();
    let path = agent.directory.path().join("file").into_os_string().into_vec();
    block_on(async {
        let time = Time { secs: 1, nanos: 0 };
        let identity = Identity { device: 1, inode: 2, ctime: time };
        let metadata = Metadata { mode: 0o644, mtime: time, ..Metadata::default() };
        let offer = Offer { size: Some(1 << 30), sparse: true, metadata, identity, seed: 7 };
        let dest = Destination { path, name: b"file".to_vec() };
        let (overrides, preserve, user) = (Overrides::default(), Preserve::default(), None);
        let push = message_frame(
            1,
            &Push { transfer: TRANSFER, dest, offer, overrides, preserve, dry_run: false, user },
        )
        .unwrap();
        let (mut link, _) = agent.log_in_with(&push).await.unwrap();
        link.expect::<Have>().await.unwrap();
        agent.signal(Signal::TERM);
        let failure = link.expect::<Failure>().await.unwrap();
        assert_eq!(failure.cause, Cause::Stopping);
        // The sender ends the connection then; the agent reads on until it does.
        link.writer.finish().await.unwrap();
        assert_eq!(link.next().await.unwrap(), None);
    });
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn two_hundred_idle_sessions_cost_little() {
    let agent = BareAgent::start();
    let resident = || agent.memory_kib("VmRSS:");
    block_on(async {
        let _first = agent.log_in().await;
        let before = resident();
        let mut links = Vec::new();
        for _ in 0..200 {
            links.push(agent.log_in().await);
        }
        let each = (resident() - before) / 200;
        // Without optimisation the stacks are far larger.
        let most = if cfg!(debug_assertions) { 384 } else { 128 };
        assert!(each < most, "{each} KiB");
    });
}
