//! A fake agent: a real handshake, and commands that are scripts of this file. It can be as exact, as fast
//! and as hostile as a test needs. It is an old one: it ends the connection when it gets a request that it does not know.

mod tree;

use std::fs;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lariat_base::name::BootId;
use lariat_base::secret::Secret;
use lariat_wire::auth::agent::{Challenged, Said};
use lariat_wire::auth::keyring::Candidate;
use lariat_wire::auth::proof::Verifier;
use lariat_wire::frame::Header;
use lariat_wire::link::{Link, hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::{
    Ack, Attach, Command, End, Exit, Run, Signal, Started, StdinEnd, StdinTaken,
};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::verb::Verbs;
use lariat_wire::tls::{ALPN, exporter, provider};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type AgentLink = Link<TlsStream<TcpStream>>;

/// Most bytes of unacknowledged output, as with a real agent.
const TAIL: u64 = 4 * 1024 * 1024;

/// A running fake agent. It ends with the test's process.
pub struct FakeAgent {
    /// What the controller has sent, in order.
    pub heard: Receiver<Heard>,
    /// Whether it cuts every connection after the login and its request, without an answer.
    pub cuts_logins: Arc<AtomicBool>,
    /// The number of connections that it has cut in this way.
    pub cut: Arc<AtomicU8>,
    /// Whether it sends single bytes for ever after it has answered a login.
    pub dribbles: Arc<AtomicBool>,
}

/// Something that the controller has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A command to run.
    Run(Run),
    /// A job to continue.
    Attach(Attach),
    /// A signal for the command.
    Signal(u8),
    /// The command's whole stdin.
    Stdin(Vec<u8>),
    /// The acknowledgement after the end.
    LastAck(Ack),
}

impl FakeAgent {
    /// Serves the bundle in `directory` on `listener`, one connection at a time.
    pub fn start(directory: &Path, listener: StdListener) -> Self {
        let (tell, heard) = channel();
        let keyring = fs::read_to_string(directory.join("keyring.toml")).unwrap();
        let keyring: toml::Table = keyring.parse().unwrap();
        let secret =
            |name: &str| Secret::from_hex(keyring["key"][0][name].as_str().unwrap()).unwrap();
        let verifier = Verifier { stored: secret("stored"), agent: secret("agent") };
        let config = config(directory);
        let cuts_logins = Arc::new(AtomicBool::new(false));
        let cuts = cuts_logins.clone();
        let dribbles = Arc::new(AtomicBool::new(false));
        let slow = dribbles.clone();
        let cut = Arc::new(AtomicU8::new(0));
        let counter = cut.clone();
        // The byte that its boot id consists of, changed by a simulated reboot.
        let boot = AtomicU8::new(3);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    let cut = cuts.load(Ordering::Relaxed).then_some(&*counter);
                    let slow = slow.load(Ordering::Relaxed);
                    serve(tcp, config.clone(), verifier.clone(), &tell, cut, &boot, slow).await;
                }
            });
        });
        Self { heard, cuts_logins, cut, dribbles }
    }
}

fn config(directory: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(directory.join("host.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("host.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.send_half_rtt_data = true;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

async fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    verifier: Verifier,
    tell: &Sender<Heard>,
    cut: Option<&AtomicU8>,
    boot: &AtomicU8,
    dribbles: bool,
) {
    tcp.set_nodelay(true).unwrap();
    let challenged = Challenged::offering(&"web1".parse().unwrap(), 0).unwrap();
    let challenge = hello_frame(Kind::Challenge, challenged.payload());
    let accept = TlsAcceptor::from(config).accept_with(tcp, |connection| {
        std::io::Write::write_all(&mut connection.writer(), &challenge).unwrap();
    });
    let mut stream = accept.await.unwrap();
    let (_, login) = read_hello(&mut stream).await.unwrap();
    if let Some(counter) = cut {
        counter.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let exporter = exporter(stream.get_ref().1).unwrap();
    let candidate = Candidate { verifier, allowed: true };
    let logged_in = challenged.login(&exporter, &login, |_| candidate).unwrap();
    let welcome =
        logged_in.welcome(Said::new(BootId([boot.load(Ordering::Relaxed); 16]), 1, Verbs::all()));
    let welcome = hello_frame(Kind::Welcome, &welcome);
    tokio::io::AsyncWriteExt::write_all(&mut stream, &welcome).await.unwrap();
    if dribbles {
        let header = Header { kind: Kind::Stdout, request: 1, len: 100_000 }.encode();
        for byte in header.into_iter().chain(std::iter::repeat(0)) {
            if tokio::io::AsyncWriteExt::write_all(&mut stream, &[byte]).await.is_err() {
                return;
            }
            // The pace of a peer that sends byte after byte.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let mut link = Link::new(stream);
    match link.next().await.unwrap() {
        Some(frame) if frame.kind == Kind::Run => {}
        Some(frame) if frame.kind == Kind::Pull => {
            // The controller may hang up at any moment.
            let _ = tree::play(&mut link).await;
            return;
        }
        Some(frame) if frame.kind == Kind::Attach => {
            // The fake agent keeps no jobs, and claims to have been up longer than any test runs.
            tell.send(Heard::Attach(link.reader.message().unwrap())).unwrap();
            let up_ms = 1_000_000_000;
            link.send(&Failure::request(Cause::NoSuchJob { up_ms })).await.unwrap();
            match link.next_request().await {
                Ok(Some(Ok(frame))) if frame.kind == Kind::Run => {}
                _ => return,
            }
        }
        // A ping was answered on the way.
        _ => return,
    }
    let run: Run = link.reader.message().unwrap();
    tell.send(Heard::Run(run.clone())).unwrap();
    let mut script = Script { link, tell, stdout: 0, stderr: 0, acked: Ack::default(), boot };
    script.play(&run).await;
}

/// One job. Errors of the connection end it.
struct Script<'a> {
    link: AgentLink,
    tell: &'a Sender<Heard>,
    stdout: u64,
    stderr: u64,
    acked: Ack,
    boot: &'a AtomicU8,
}

impl Script<'_> {
    async fn play(&mut self, run: &Run) -> Option<()> {
        let line = match &run.command {
            Command::Shell(line) => String::from_utf8_lossy(line).into_owned(),
            Command::Argv(words) => String::from_utf8_lossy(&words.join(&b' ')).into_owned(),
            Command::Script { body, .. } => String::from_utf8_lossy(body).into_owned(),
            Command::Login => panic!("a shell"),
        };
        if line == "reboot before" {
            self.boot.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if line == "nodirectory" {
            let (action, path) = (Action::EnterDirectory, Some(b"/no".to_vec()));
            self.link.send(&Failure { action, path, cause: Cause::Os(2) }).await.ok()?;
            return self.linger().await;
        }
        if line == "nothing" {
            return std::future::pending().await;
        }
        if line == "late" {
            // A controller that would leave without waiting does so in this time.
            let left = tokio::time::timeout(Duration::from_millis(200), self.link.next()).await;
            assert!(left.is_err(), "it left, or sent something before it was told of the start");
        }
        self.link.send(&Started { pid: 1 }).await.ok()?;
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u64 = number.parse().unwrap_or_default();
        let small = u8::try_from(number & 0xff).unwrap();
        let end = match word {
            "exit" => End::Exited(small),
            "die" => End::Signaled(small),
            "timeout" => End::TimedOut,
            "missing" => End::NotRun(2),
            "both" => {
                self.output(Kind::Stdout, b"out\x00\xff\n").await?;
                self.output(Kind::Stderr, b"err\n").await?;
                End::Exited(0)
            }
            "big" => self.big(number).await?,
            "cat" => self.cat().await?,
            "sleep" | "late" => self.sleep().await?,
            "cut" => {
                self.output(Kind::Stdout, b"half").await?;
                return None;
            }
            "reboot" => {
                self.boot.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            "gap" => {
                self.stdout += 1;
                self.output(Kind::Stdout, b"x").await?;
                End::Exited(0)
            }
            other => panic!("no script for {other:?}"),
        };
        self.link.send(&Exit { end, stdout: self.stdout, stderr: self.stderr }).await.ok()?;
        self.linger().await
    }

    /// Reads until the controller ends the connection.
    async fn linger(&mut self) -> Option<()> {
        let mut last = None;
        while let Some(frame) = self.link.next().await.ok()? {
            if frame.kind == Kind::Ack {
                last = Some(self.link.reader.message::<Ack>().ok()?);
            }
        }
        self.tell.send(Heard::LastAck(last?)).ok()
    }

    async fn output(&mut self, kind: Kind, bytes: &[u8]) -> Option<()> {
        let offset = if kind == Kind::Stdout { &mut self.stdout } else { &mut self.stderr };
        let head = offset.to_le_bytes();
        *offset += bytes.len() as u64;
        self.link.writer.bulk(kind, &head, bytes).await.ok()
    }

    /// Sends output of this length, and ends early on a signal.
    async fn big(&mut self, len: u64) -> Option<End> {
        let piece = vec![b'y'; 256 * 1024];
        while self.stdout < len {
            let now = usize::try_from(len - self.stdout).unwrap().min(piece.len());
            self.output(Kind::Stdout, &piece[..now]).await?;
            while self.stdout - self.acked.stdout > TAIL {
                let frame = self.link.next().await.ok()??;
                if let Some(end) = self.control(frame.kind)? {
                    return Some(end);
                }
            }
        }
        Some(End::Exited(0))
    }

    /// Echoes stdin.
    async fn cat(&mut self) -> Option<End> {
        let mut all = Vec::new();
        loop {
            let frame = self.link.next().await.ok()??;
            match frame.kind {
                Kind::Stdin => {
                    let offset = u64::from_le_bytes(self.link.reader.bulk_array().await.ok()?);
                    assert_eq!(offset, all.len() as u64);
                    let mut bytes = vec![0; self.link.reader.bulk_left()];
                    self.link.reader.bulk(&mut bytes).await.ok()?;
                    all.extend_from_slice(&bytes);
                    self.output(Kind::Stdout, &bytes).await?;
                    let taken = StdinTaken { upto: all.len() as u64, closed: false };
                    self.link.outbox().post(&taken).ok()?;
                }
                Kind::StdinEnd => {
                    let end: StdinEnd = self.link.reader.message().ok()?;
                    assert_eq!(end.len, all.len() as u64);
                    self.tell.send(Heard::Stdin(all)).ok()?;
                    return Some(End::Exited(0));
                }
                kind => drop(self.control(kind)?),
            }
        }
    }

    /// Waits for a signal that ends the command; SIGINT does not.
    async fn sleep(&mut self) -> Option<End> {
        self.output(Kind::Stdout, b"sleeping\n").await?;
        loop {
            let frame = self.link.next().await.ok()??;
            match self.control(frame.kind)? {
                Some(End::Signaled(2)) | None => {}
                Some(end) => return Some(end),
            }
        }
    }

    /// Handles an acknowledgement or a signal; most commands end on a signal.
    #[allow(clippy::option_option, reason = "the outer one is for `?`")]
    fn control(&mut self, kind: Kind) -> Option<Option<End>> {
        match kind {
            Kind::Ack => self.acked = self.link.reader.message().ok()?,
            Kind::Signal => {
                let Signal { number } = self.link.reader.message().ok()?;
                self.tell.send(Heard::Signal(number)).ok()?;
                return Some(Some(End::Signaled(number)));
            }
            kind => panic!("unexpected {kind:?}"),
        }
        Some(None)
    }
}
