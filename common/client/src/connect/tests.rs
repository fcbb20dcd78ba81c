//! Connects to an agent that the test plays, honest or hostile, over loopback.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lariat_base::name::{BootId, EnrolmentId, HostName};
use lariat_base::secret::Secret;
use lariat_certs::ca::Ca;
use lariat_wire::auth::agent::{Challenged, Said};
use lariat_wire::auth::keyring::Candidate;
use lariat_wire::auth::proof::HostKeys;
use lariat_wire::link::{Link, hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::Denied;
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::verb::Verbs;
use lariat_wire::tls::{ALPN, exporter, provider};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::dial::Tcp;
use crate::peer::Peer;

const LIMIT: Duration = Duration::from_secs(5);

struct World {
    ca: Ca,
    key: Secret,
    enrolment: EnrolmentId,
}

/// How the agent of a test misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agent {
    Honest,
    SaysNothing,
    NoTls,
    NoAlpn,
    HangsUp,
    SilentAtFirst,
    Denies,
    WrongProof,
    OtherHost,
    TruncatesChallenge,
    CutsAfterLogin,
    SilentAfterLogin,
    SendsRequestsFirst,
}

impl World {
    fn new() -> Self {
        Self {
            ca: Ca::create().unwrap(),
            key: Secret::generate().unwrap(),
            enrolment: EnrolmentId([7; 16]),
        }
    }

    fn connector(&self) -> Connector {
        let trust = Trust::new(self.ca.certificate().clone()).unwrap();
        Connector::new(trust, Arc::new(self.key.clone()))
    }

    /// Starts an agent whose certificate is for `name`, and returns its data as of `web1`.
    async fn agent(&self, name: &str, agent: Agent) -> Peer {
        let leaf = self.ca.issue(&name.parse().unwrap()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.certificate], key)
            .unwrap();
        config.send_half_rtt_data = true;
        config.send_tls13_tickets = 0;
        if agent != Agent::NoAlpn {
            config.alpn_protocols = vec![ALPN.to_vec()];
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().ok();
        let name: HostName = "web1".parse().unwrap();
        let (enrolment, spki) = (self.enrolment, leaf.spki);
        let peer = Peer { name, address, enrolment, spki, next_spki: None };
        let keys = HostKeys::derive(&self.key, &peer.name, &self.enrolment);
        tokio::spawn(async move {
            if agent == Agent::HangsUp {
                loop {
                    drop(listener.accept().await.unwrap());
                }
            }
            let first = listener.accept().await.unwrap();
            if agent != Agent::SilentAtFirst {
                return play(first.0, config, agent, &keys).await;
            }
            let (tcp, _) = listener.accept().await.unwrap();
            play(tcp, config, agent, &keys).await
        });
        peer
    }

    async fn try_connect(&self, peer: &Peer) -> Result<Session, ConnectError> {
        let (connector, stage) = (self.connector(), Cell::new(Stage::Connect));
        connector.connect((peer, &Tcp), &Ping { nonce: 5 }, LIMIT, false, &stage).await
    }

    async fn refused(&self, agent: Agent) -> ConnectError {
        let peer = self.agent("web1", agent).await;
        self.try_connect(&peer).await.err().unwrap()
    }
}

async fn play(
    mut tcp: TcpStream,
    config: ServerConfig,
    agent: Agent,
    keys: &HostKeys,
) -> Option<()> {
    match agent {
        Agent::SaysNothing => return std::future::pending().await,
        Agent::NoTls => {
            tcp.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.ok()?;
            return std::future::pending().await;
        }
        _ => {}
    }
    let says = if agent == Agent::OtherHost { "web2" } else { "web1" };
    let challenged = Challenged::new(&says.parse().unwrap()).unwrap();
    let mut challenge = hello_frame(Kind::Challenge, challenged.payload());
    if agent == Agent::TruncatesChallenge {
        challenge.truncate(20);
    }
    if agent == Agent::SendsRequestsFirst {
        challenge = hello_frame(Kind::Ping, &[0; 8]);
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accept = acceptor.accept_with(tcp, |connection| {
        std::io::Write::write_all(&mut connection.writer(), &challenge).unwrap();
    });
    let mut stream = accept.await.ok()?;
    if agent == Agent::TruncatesChallenge {
        stream.shutdown().await.ok()?;
        return None;
    }
    answer(&mut stream, challenged, agent, keys).await?;
    let mut link = Link::new(stream);
    // A ping is answered by whoever waits for the next frame.
    while link.next().await.ok()?.is_some() {}
    Some(())
}

async fn answer(
    stream: &mut TlsStream<TcpStream>,
    challenged: Challenged,
    agent: Agent,
    keys: &HostKeys,
) -> Option<()> {
    let (_, login) = read_hello(stream).await.ok()?;
    let exporter = exporter(stream.get_ref().1).unwrap();
    let candidate = Candidate { verifier: keys.verifier(), allowed: true };
    let logged_in = challenged.login(&exporter, &login, |_| candidate).unwrap();
    let mut welcome = logged_in.welcome(Said::new(BootId([3; 16]), 1, Verbs::all()));
    let reply = match agent {
        Agent::CutsAfterLogin => return None,
        Agent::SilentAfterLogin => return std::future::pending().await,
        Agent::Denies => hello_frame(Kind::Denied, &Denied.encode()),
        Agent::WrongProof => {
            welcome[31] ^= 1;
            hello_frame(Kind::Welcome, &welcome)
        }
        _ => hello_frame(Kind::Welcome, &welcome),
    };
    stream.write_all(&reply).await.ok()?;
    stream.flush().await.ok()
}

#[tokio::test]
async fn an_enrolled_host_is_reached_and_answers_what_came_with_the_login() {
    let world = World::new();
    let peer = world.agent("web1", Agent::Honest).await;
    let mut session = world.try_connect(&peer).await.unwrap();
    assert_eq!(session.welcome.boot, BootId([3; 16]));
    assert_eq!(session.link.expect::<Pong>().await.unwrap(), Pong { nonce: 5 });
}

/// If the first connection is lost on its path, only the time until the next attempt passes.
#[tokio::test]
async fn a_first_connection_without_an_answer_has_another_beside_it() {
    let world = World::new();
    let peer = world.agent("web1", Agent::SilentAtFirst).await;
    let stage = Cell::new(Stage::Connect);
    let (connector, ping) = (world.connector(), Ping { nonce: 5 });
    let mut session = connector.connect((&peer, &Tcp), &ping, LIMIT, true, &stage).await.unwrap();
    assert_eq!(session.link.expect::<Pong>().await.unwrap(), Pong { nonce: 5 });
}

#[test]
fn every_failure_tells_what_was_sent_and_whether_the_host_answered() {
    let error = |stage| ConnectError {
        host: "web1".parse().unwrap(),
        via: None,
        place: "127.0.0.1:7433".to_owned(),
        cause: Box::new(Cause::Cut(stage)),
        stage,
        lost: None,
    };
    let known = [Stage::Connect, Stage::Tls, Stage::Login, Stage::Answer]
        .map(error)
        .map(|error| (error.had_connection(), error.may_have_asked()));
    assert_eq!(known, [(false, false), (true, false), (true, false), (true, true)]);
}

#[tokio::test]
async fn another_fleets_host_is_refused_before_anything_is_sent_to_it() {
    let (world, other) = (World::new(), World::new());
    let peer = other.agent("web1", Agent::Honest).await;
    let error = world.try_connect(&peer).await.err().unwrap();
    assert!(matches!(*error.cause, Cause::Rejected(Rejected::OtherFleet)), "{error}");
    assert!(!error.may_have_asked());
    let told = error.to_string().replace(&peer.place(), "ADDRESS");
    insta::assert_snapshot!(told, @"web1 (ADDRESS): its certificate is not of this fleet; is the address right, and is it this fleet's host (--home, LARIAT_HOME)?");
}

#[tokio::test]
async fn another_host_of_the_fleet_and_a_newer_enrolment_are_refused() {
    let world = World::new();
    let peer = world.agent("web2", Agent::Honest).await;
    let error = world.try_connect(&peer).await.err().unwrap();
    assert!(
        matches!(&*error.cause, Cause::Rejected(Rejected::OtherHost(name)) if name == "web2"),
        "{error}"
    );
    let mut peer = world.agent("web1", Agent::Honest).await;
    peer.spki[0] ^= 1;
    let error = world.try_connect(&peer).await.err().unwrap();
    assert!(matches!(*error.cause, Cause::Rejected(Rejected::OtherKey)), "{error}");
}

#[tokio::test]
async fn every_misbehaviour_has_its_own_cause() {
    let world = World::new();
    let told = |e: ConnectError| e.cause.to_string();
    insta::assert_snapshot!(told(world.refused(Agent::NoTls).await), @"what listens there does not speak TLS; is it lariatd's port?");
    insta::assert_snapshot!(told(world.refused(Agent::NoAlpn).await), @"what listens there speaks TLS but not lariat; is it lariatd's port?");
    insta::assert_snapshot!(told(world.refused(Agent::HangsUp).await), @"it closed the connection at once; is it lariatd, or does it accept no more connections now?");
    insta::assert_snapshot!(told(world.refused(Agent::Denies).await), @"the agent denied the login: this key is not in its keyring, may not log in now or from here, or the host was enrolled anew; the agent's log says which");
    insta::assert_snapshot!(told(world.refused(Agent::WrongProof).await), @"the agent could not prove that it is the host that was enrolled");
    insta::assert_snapshot!(told(world.refused(Agent::OtherHost).await), @"the agent says that it is web2");
    insta::assert_snapshot!(told(world.refused(Agent::TruncatesChallenge).await), @"the connection broke before the login");
    insta::assert_snapshot!(told(world.refused(Agent::SendsRequestsFirst).await), @"the peer misbehaved: unexpected Ping frame");
    let cut = world.refused(Agent::CutsAfterLogin).await;
    assert!(cut.may_have_asked());
    insta::assert_snapshot!(told(cut), @"the connection broke after the login was sent");
}

#[tokio::test]
async fn one_deadline_covers_it_all() {
    let world = World::new();
    let limit = Duration::from_millis(200);
    for agent in [Agent::SaysNothing, Agent::SilentAfterLogin] {
        let peer = world.agent("web1", agent).await;
        let (connector, stage) = (world.connector(), Cell::new(Stage::Connect));
        let asked = connector.connect((&peer, &Tcp), &Ping { nonce: 0 }, limit, false, &stage);
        let error = asked.await.err().unwrap();
        assert!(matches!(*error.cause, Cause::Timeout { .. }), "{error}");
        assert_eq!(error.may_have_asked(), agent == Agent::SilentAfterLogin);
        // Packets of the handshake's size may be lost on the way.
        assert_eq!(error.to_string().contains("MTU"), agent == Agent::SaysNothing, "{error}");
    }
}

/// Counts changes of the sending side: TLS takes one round trip and the login another, which carries the first
/// request.
#[tokio::test]
async fn the_first_answer_is_there_after_two_round_trips_over_tcp() {
    let world = World::new();
    let peer = world.agent("web1", Agent::Honest).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = listener.local_addr().unwrap().to_string();
    let through = Peer { address: near.parse().ok(), ..peer.clone() };
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(peer.place()).await.unwrap();
        let (mut a, mut b) = (vec![0; 65536], vec![0; 65536]);
        let mut from_near = false;
        loop {
            let (n, to_far) = tokio::select! {
                n = near.read(&mut a) => (n.unwrap_or(0), true),
                n = far.read(&mut b) => (n.unwrap_or(0), false),
            };
            if n == 0 {
                return;
            }
            if to_far && !from_near {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            from_near = to_far;
            // What is sent together arrives together, as over a long path.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if to_far {
                far.write_all(&a[..n]).await.unwrap();
            } else {
                near.write_all(&b[..n]).await.unwrap();
            }
        }
    });
    let mut session = world.try_connect(&through).await.unwrap();
    session.link.expect::<Pong>().await.unwrap();
    assert_eq!(turns.load(Ordering::Relaxed), 2);
}
