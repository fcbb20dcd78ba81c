//! What unauthenticated peers may use, and what failed logins cost them.

use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lariat_base::secret::Secret;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::{PATIENCE, block_on, until_told};
use lariat_wire::link::{hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::session::{Ping, Pong};
use tokio::io::AsyncWriteExt;
use tokio::task::{LocalSet, spawn_local};

#[test]
fn who_stalls_is_dropped_at_the_deadline() {
    let config = "[admission]\nlogin_deadline = \"300ms\"\n";
    // At this level folded lines are logged one by one.
    let environment = vec![("RUST_LOG", "debug".to_owned())];
    let agent = BareAgent::with(Setup { config, environment, ..Setup::default() });
    let began = Instant::now();
    let mut silent = TcpStream::connect(agent.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(300));
    agent.wait_for("no login in time");
    // One deadline for TLS and login together.
    block_on(async {
        let mut greeted = agent.connect().await.unwrap();
        greeted.tls.write_all(&[90, 0, 0]).await.unwrap();
        assert!(read_hello(&mut greeted.tls).await.is_err());
    });
    agent.wait_for("no login in time");
}

/// Connections that begin a login and never finish it, from this many sources.
fn half_open(agent: &BareAgent, connections: u32, sources: u32) -> Vec<socket2::Socket> {
    let connect = |i| {
        let source = std::net::Ipv4Addr::from_bits(0x7f00_0101 + i % sources);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&std::net::SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&agent.address.into()).unwrap();
        socket.send(&[0x16, 3, 1]).unwrap();
        socket
    };
    (0..connections).map(connect).collect()
}

fn gets_in_within_a_second(agent: &BareAgent) {
    block_on(async {
        let began = Instant::now();
        let mut link = agent.log_in().await;
        link.send(&Ping { nonce: 1 }).await.unwrap();
        link.expect::<Pong>().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

#[test]
fn three_hundred_half_open_connections_keep_nobody_out() {
    // From many sources, so that all slots are taken; and from one.
    for sources in [20, 300, 1] {
        let agent = BareAgent::start();
        let _crowd = half_open(&agent, 300, sources);
        gets_in_within_a_second(&agent);
    }
}

#[test]
fn a_hundred_honest_logins_at_once_are_all_let_in() {
    let agent = Rc::new(BareAgent::start());
    block_on(LocalSet::new().run_until(async {
        // No key has logged in from there before, and the logins delay each other.
        let log_in = || {
            let agent = Rc::clone(&agent);
            spawn_local(async move { agent.log_in_with(&[]).await.map(drop) })
        };
        let logins: Vec<_> = (0..100).map(|_| log_in()).collect();
        for login in logins {
            login.await.unwrap().unwrap();
        }
    }));
}

#[test]
fn failing_again_and_again_closes_the_door_for_a_while_and_a_probe_does_not() {
    // At this level folded lines are logged one by one.
    let environment = vec![("RUST_LOG", "debug".to_owned())];
    let agent = BareAgent::with(Setup { environment, ..Setup::default() });
    for _ in 0..50 {
        drop(TcpStream::connect(agent.address).unwrap());
    }
    block_on(async {
        let stranger = Secret::generate().unwrap();
        let deny = async || {
            let mut greeted = agent.connect().await?;
            let (_, login) = agent.answer(&greeted, &stranger);
            greeted.tls.write_all(&hello_frame(Kind::Login, &login)).await?;
            let denied = read_hello(&mut greeted.tls).await.map_err(std::io::Error::other)?;
            // The agent records the failure only once we have hung up.
            greeted.tls.shutdown().await?;
            let _ = read_hello(&mut greeted.tls).await;
            std::io::Result::Ok(denied)
        };
        for _ in 0..3 {
            deny().await.unwrap();
            agent.wait_for("login denied");
        }
        let began = Instant::now();
        assert!(deny().await.is_err());
        // The source is admitted again after a while.
        until_told(async || agent.log_in_with(&[]).await.ok()).await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    });
}
