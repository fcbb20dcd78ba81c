//! The challenge's flight, logins that succeed and logins that fail.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::secret::Secret;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::{PATIENCE, block_on};
use lariat_wire::limits::DENIAL_DELAY;
use lariat_wire::link::{LinkError, hello_frame, message_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::{Challenge, Denied};
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::verb::{Verb, Verbs};
use rustls::ClientConnection;
use tokio::io::AsyncWriteExt;

/// The challenge arrives although nothing is sent after the ClientHello.
#[test]
fn the_challenge_rides_with_the_first_tls_flight() {
    let agent = BareAgent::start();
    let config = Arc::new(agent.client_config());
    let mut tls = ClientConnection::new(config, BareAgent::server_name()).unwrap();
    let mut stream = TcpStream::connect(agent.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tls.write_tls(&mut stream).unwrap();
    let mut challenge = [0; 8 + lariat_wire::protocol::hello::CHALLENGE_LEN];
    let mut filled = 0;
    while filled < challenge.len() {
        match tls.reader().read(&mut challenge[filled..]) {
            Ok(0) => panic!("the agent hung up"),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert_ne!(tls.read_tls(&mut stream).unwrap(), 0);
                tls.process_new_packets().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(Challenge::decode(&challenge[8..]).unwrap().host.as_str(), "web1");
}

#[test]
fn a_request_may_come_with_the_login_and_the_welcome_comes_first() {
    let agent = BareAgent::start();
    block_on(async {
        let ping = message_frame(1, &Ping { nonce: 7 }).unwrap();
        let (mut link, welcome) = agent.log_in_with(&ping).await.unwrap();
        assert_eq!(welcome.verbs, Verbs::from_iter([Verb::Push]));
        assert_eq!(link.expect::<Pong>().await.unwrap(), Pong { nonce: 7 });
    });
}

/// Sends a login made from the right one, and returns how long the denial took; `None` if there was none.
async fn denial(
    agent: &BareAgent,
    key: &Secret,
    change: impl FnOnce(&mut Vec<u8>),
) -> Option<Duration> {
    let mut greeted = agent.connect().await.unwrap();
    let (_, mut login) = agent.answer(&greeted, key);
    change(&mut login);
    let ping = message_frame(1, &Ping { nonce: 7 }).unwrap();
    let flight = [hello_frame(Kind::Login, &login), ping].concat();
    let began = Instant::now();
    greeted.tls.write_all(&flight).await.unwrap();
    let (kind, payload) = read_hello(&mut greeted.tls).await.ok()?;
    assert_eq!(kind, Kind::Denied);
    assert_eq!(Denied::decode(&payload), Ok(Denied));
    let took = began.elapsed();
    // An orderly end, and not a reset that could overtake the denial.
    assert!(matches!(read_hello(&mut greeted.tls).await, Err(LinkError::Cut)));
    Some(took)
}

#[test]
fn every_login_that_fails_gets_the_same_denial_at_the_same_time() {
    let agent = BareAgent::start();
    block_on(async {
        // A source from which a key has logged in is not penalised for what follows.
        drop(agent.log_in().await);
        let stranger = Secret::generate().unwrap();
        for denied in [
            denial(&agent, &stranger, |_| {}).await,
            denial(&agent, &agent.key, |login| *login.last_mut().unwrap() ^= 1).await,
            denial(&agent, &agent.key, |login| login[0] = 9).await,
            denial(&agent, &agent.key, |login| _ = login.pop()).await,
        ] {
            let took = denied.expect("a denial");
            assert!(took >= DENIAL_DELAY, "{took:?}");
        }
        agent.log_in().await;
    });
}

#[test]
fn what_is_no_login_is_closed_at_once() {
    let agent = BareAgent::start();
    block_on(async {
        drop(agent.log_in().await);
        let ping = message_frame(1, &Ping { nonce: 7 }).unwrap();
        let oversized = [&4097_u32.to_le_bytes()[..], &[2, 0, 0, 0]].concat();
        let flags = [&90_u32.to_le_bytes()[..], &[2, 0, 1, 0]].concat();
        for bytes in [ping, oversized, flags, vec![0xff; 8], hello_frame(Kind::Welcome, &[0; 76])] {
            let mut greeted = agent.connect().await.unwrap();
            greeted.tls.write_all(&bytes).await.unwrap();
            let began = Instant::now();
            assert!(read_hello(&mut greeted.tls).await.is_err(), "{bytes:?}");
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        // A login that breaks off.
        let mut greeted = agent.connect().await.unwrap();
        let (_, login) = agent.answer(&greeted, &agent.key);
        greeted.tls.write_all(&hello_frame(Kind::Login, &login)[..50]).await.unwrap();
        greeted.tls.shutdown().await.unwrap();
        assert!(read_hello(&mut greeted.tls).await.is_err());
        agent.log_in().await;
    });
}

#[test]
fn tls_without_our_protocol_and_what_is_no_tls_are_closed() {
    // At this level folded lines are logged one by one.
    let environment = vec![("RUST_LOG", "debug".to_owned())];
    let agent = BareAgent::with(Setup { environment, ..Setup::default() });
    // A source from which a key has logged in is not penalised for what follows.
    block_on(async { drop(agent.log_in().await) });
    let mut config = agent.client_config();
    config.alpn_protocols.clear();
    let mut tls = ClientConnection::new(Arc::new(config), BareAgent::server_name()).unwrap();
    let mut stream = TcpStream::connect(agent.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    agent.wait_for("TLS without the protocol");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1], &vec![0; 200_000]] {
        let mut stream = TcpStream::connect(agent.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The connection may be closed before everything is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        agent.wait_for("not let in: TLS");
    }
}
