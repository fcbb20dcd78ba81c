//! An agent in a directory of its own, and a controller written from the protocol alone.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::private::create;
use lariat_base::secret::Secret;
use lariat_certs::ca::Ca;
use lariat_wire::auth::controller::Proving;
use lariat_wire::auth::proof::{HostKeys, key_id};
use lariat_wire::link::{Link, hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::Welcome;
use lariat_wire::tls::{ALPN, exporter, provider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a test waits for at most. Only a failing test takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Agent {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) key: Secret,
    /// A second key, which may do the same unless the setup says otherwise.
    pub(crate) other_key: Secret,
    /// Further keys, which may do what the first one may.
    pub(crate) more_keys: Vec<Secret>,
    host: HostName,
    enrolment: EnrolmentId,
    ca: Ca,
    child: Child,
    lines: Receiver<String>,
    pub(crate) log: Arc<Mutex<String>>,
}

/// How an agent is started.
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a str,
    pub(crate) verbs: &'a str,
    /// Of the second key, if they are others.
    pub(crate) other_verbs: Option<&'a str>,
    pub(crate) more_keys: usize,
    pub(crate) environment: Vec<(&'a str, String)>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            config: "",
            verbs: "\"push\"",
            other_verbs: None,
            more_keys: 0,
            environment: Vec::new(),
        }
    }
}

impl Agent {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup<'_>) -> Self {
        let directory = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let [key, other_key] = [0, 1].map(|_| Secret::generate().unwrap());
        let more_keys: Vec<_> = (0..setup.more_keys).map(|_| Secret::generate().unwrap()).collect();
        let host = "web1".parse::<HostName>().unwrap();
        let (enrolment, ca) = (EnrolmentId([7; 16]), Ca::create().unwrap());
        let keys: Vec<_> = [&key, &other_key].into_iter().chain(&more_keys).collect();
        write_bundle(directory.path(), &ca, &keys, &host, &enrolment, &setup);
        let mut command = lariatd(directory.path());
        let mut child = command.envs(setup.environment).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                copy.lock().unwrap().extend([line.as_str(), "\n"]);
                let _ = sender.send(line);
            }
        });
        let address = "0.0.0.0:0".parse().unwrap();
        let mut agent = Self {
            directory,
            address,
            key,
            other_key,
            more_keys,
            host,
            enrolment,
            ca,
            child,
            lines,
            log,
        };
        let line = agent.wait_for("listening on ");
        agent.address = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        agent
    }

    /// Waits for a line of the log.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(error) => panic!("no {part:?} ({error}) in:\n{}", self.log.lock().unwrap()),
            }
        }
    }

    /// A figure of its /proc/PID/status in KiB.
    pub(crate) fn memory_kib(&self, figure: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    }

    pub(crate) fn server_name() -> ServerName<'static> {
        ServerName::try_from("web1").unwrap()
    }

    /// TCP and TLS, and the challenge.
    pub(crate) async fn connect(&self) -> std::io::Result<Greeted> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.client_config()));
        let mut tls = connector.connect(Self::server_name(), stream).await?;
        let (kind, challenge) = read_hello(&mut tls).await.map_err(std::io::Error::other)?;
        assert_eq!(kind, Kind::Challenge);
        Ok(Greeted { tls, challenge })
    }

    /// The login that `key` sends.
    pub(crate) fn answer(&self, greeted: &Greeted, key: &Secret) -> (Proving, Vec<u8>) {
        let channel = exporter(greeted.tls.get_ref().1).unwrap();
        Proving::answer(key, &self.host, &self.enrolment, &channel, &greeted.challenge).unwrap()
    }

    /// A session, with `request` sent along with the login.
    pub(crate) async fn log_in_with(
        &self,
        request: &[u8],
    ) -> std::io::Result<(Link<TlsStream<TcpStream>>, Welcome)> {
        self.log_in_as(&self.key, request).await
    }

    /// The same with another key.
    pub(crate) async fn log_in_as(
        &self,
        key: &Secret,
        request: &[u8],
    ) -> std::io::Result<(Link<TlsStream<TcpStream>>, Welcome)> {
        let (tls, welcome) = self.log_in_raw(key, request).await?;
        Ok((Link::new(tls), welcome))
    }

    /// A session as the stream that it is.
    pub(crate) async fn log_in_raw(
        &self,
        key: &Secret,
        request: &[u8],
    ) -> std::io::Result<(TlsStream<TcpStream>, Welcome)> {
        let mut greeted = self.connect().await?;
        let (proving, login) = self.answer(&greeted, key);
        let flight = [&hello_frame(Kind::Login, &login)[..], request].concat();
        greeted.tls.write_all(&flight).await?;
        let (kind, payload) = read_hello(&mut greeted.tls).await.map_err(std::io::Error::other)?;
        assert_eq!(kind, Kind::Welcome);
        let welcome = proving.welcome(&payload).unwrap();
        Ok((greeted.tls, welcome))
    }

    pub(crate) async fn log_in(&self) -> Link<TlsStream<TcpStream>> {
        self.log_in_with(&[]).await.unwrap().0
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that has been sent its challenge.
pub(crate) struct Greeted {
    pub(crate) tls: TlsStream<TcpStream>,
    pub(crate) challenge: Vec<u8>,
}

/// The binary, told to use the bundle in `directory`.
pub(crate) fn lariatd(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lariatd"));
    command.arg("--config").arg(directory.join("agent.toml"));
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn write_bundle(
    directory: &Path,
    ca: &Ca,
    keys: &[&Secret],
    host: &HostName,
    enrolment: &EnrolmentId,
    setup: &Setup<'_>,
) {
    let leaf = ca.issue(host).unwrap();
    create(&directory.join("host.pem"), leaf.certificate_pem.as_bytes()).unwrap();
    create(&directory.join("host.key"), leaf.key_pem.as_bytes()).unwrap();
    let entries = keys.iter().enumerate().map(|(place, key)| {
        let other = setup.other_verbs.filter(|_| place == 1);
        entry(key, host, enrolment, other.unwrap_or(setup.verbs))
    });
    let keyring = entries.collect::<String>();
    create(&directory.join("keyring.toml"), keyring.as_bytes()).unwrap();
    let mut config = Vec::new();
    write!(
        config,
        "name = \"{host}\"\nenrolment = \"{enrolment}\"\nlisten = \"127.0.0.1:0\"\n\
         certificate = \"host.pem\"\nkey = \"host.key\"\nkeyring = \"keyring.toml\"\n\
         state = \"state\"\n{}",
        setup.config
    )
    .unwrap();
    create(&directory.join("agent.toml"), &config).unwrap();
}

fn entry(key: &Secret, host: &HostName, enrolment: &EnrolmentId, verbs: &str) -> String {
    let verifier = HostKeys::derive(key, host, enrolment).verifier();
    format!(
        "[[key]]\nid = \"{}\"\nlabel = \"alice@box\"\nstored = \"{}\"\nagent = \"{}\"\nverbs = [{}]\n",
        key_id(key),
        *verifier.stored.to_hex(),
        *verifier.agent.to_hex(),
        verbs,
    )
}

/// Runs a test's asynchronous part, which must not take longer than [`PATIENCE`].
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    block_on_within(PATIENCE, work)
}

/// Runs what takes longer.
pub(crate) fn block_on_within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(limit, work).await.unwrap() })
}
