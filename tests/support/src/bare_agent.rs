//! An agent with a bundle made for one test, and a controller that sends frames of its own.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lariat_base::name::{EnrolmentId, HostName, TransferId};
use lariat_base::private::create;
use lariat_base::secret::Secret;
use lariat_certs::ca::Ca;
use lariat_wire::auth::controller::Proving;
use lariat_wire::auth::proof::{HostKeys, key_id};
use lariat_wire::link::{Link, hello_frame, read_hello};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::Welcome;
use lariat_wire::tls::{ALPN, exporter, provider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::agent::{Agent, lariatd};

/// The transfer id of tests that need only one.
pub const TRANSFER: TransferId = TransferId([7; 16]);

/// A running agent whose keys the test has. Dropping it kills the agent.
pub struct BareAgent {
    agent: Agent,
    /// The agent's directory.
    pub directory: tempfile::TempDir,
    /// The first key.
    pub key: Secret,
    /// A second key, with the same permissions unless the setup says otherwise.
    pub other_key: Secret,
    /// Further keys, with the first one's permissions.
    pub more_keys: Vec<Secret>,
    host: HostName,
    enrolment: EnrolmentId,
    ca: Ca,
}

impl Deref for BareAgent {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl DerefMut for BareAgent {
    fn deref_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }
}

/// How an agent is started.
pub struct Setup<'a> {
    /// More lines for `agent.toml`.
    pub config: &'a str,
    /// The verbs of every key, as in the keyring.
    pub verbs: &'a str,
    /// The second key's verbs, if they differ.
    pub other_verbs: Option<&'a str>,
    /// The number of keys besides these two.
    pub more_keys: usize,
    /// More variables of the agent's environment.
    pub environment: Vec<(&'a str, String)>,
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

impl BareAgent {
    /// Starts an agent whose keys may push.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// Starts an agent.
    pub fn with(setup: Setup<'_>) -> Self {
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
        let config = directory.path().join("agent.toml");
        let mut command = lariatd(&config);
        command.envs(setup.environment);
        let agent = Agent::spawn(command, config);
        Self { agent, directory, key, other_key, more_keys, host, enrolment, ca }
    }

    /// The TLS configuration of a controller that trusts only the fleet's CA.
    pub fn client_config(&self) -> ClientConfig {
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

    /// The name in the agent's certificate.
    pub fn server_name() -> ServerName<'static> {
        ServerName::try_from("web1").unwrap()
    }

    /// Connects, up to the challenge.
    pub async fn connect(&self) -> std::io::Result<Greeted> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.client_config()));
        let mut tls = connector.connect(Self::server_name(), stream).await?;
        let (kind, challenge) = read_hello(&mut tls).await.map_err(std::io::Error::other)?;
        assert_eq!(kind, Kind::Challenge);
        Ok(Greeted { tls, challenge })
    }

    /// Answers the challenge with the login of `key`.
    pub fn answer(&self, greeted: &Greeted, key: &Secret) -> (Proving, Vec<u8>) {
        let channel = exporter(greeted.tls.get_ref().1).unwrap();
        Proving::answer(key, &self.host, &self.enrolment, &channel, &greeted.challenge).unwrap()
    }

    /// Opens a session of the first key, with `request` sent along with the login.
    pub async fn log_in_with(
        &self,
        request: &[u8],
    ) -> std::io::Result<(Link<TlsStream<TcpStream>>, Welcome)> {
        self.log_in_as(&self.key, request).await
    }

    /// Opens a session of `key`, with `request` sent along with the login.
    pub async fn log_in_as(
        &self,
        key: &Secret,
        request: &[u8],
    ) -> std::io::Result<(Link<TlsStream<TcpStream>>, Welcome)> {
        let (tls, welcome) = self.log_in_raw(key, request).await?;
        // The number of the request that was sent along, if any.
        let number = request.get(6..8).map_or(0, |n| u16::from_le_bytes([n[0], n[1]]));
        Ok((Link::with_memory(tls, number, Memory::default()), welcome))
    }

    /// Opens a session of `key` and returns its TLS stream instead of a link.
    pub async fn log_in_raw(
        &self,
        key: &Secret,
        request: &[u8],
    ) -> std::io::Result<(TlsStream<TcpStream>, Welcome)> {
        self.finish_login(self.connect().await?, key, request).await
    }

    /// Logs in as `key` on a connection that has been sent its challenge.
    pub async fn finish_login(
        &self,
        mut greeted: Greeted,
        key: &Secret,
        request: &[u8],
    ) -> std::io::Result<(TlsStream<TcpStream>, Welcome)> {
        let (proving, login) = self.answer(&greeted, key);
        let flight = [&hello_frame(Kind::Login, &login)[..], request].concat();
        greeted.tls.write_all(&flight).await?;
        let (kind, payload) = read_hello(&mut greeted.tls).await.map_err(std::io::Error::other)?;
        if kind != Kind::Welcome {
            return Err(std::io::Error::other(format!("{kind:?} in place of a Welcome")));
        }
        let welcome = proving.welcome(&payload).unwrap();
        Ok((greeted.tls, welcome))
    }

    /// Opens a session of the first key.
    pub async fn log_in(&self) -> Link<TlsStream<TcpStream>> {
        self.log_in_with(&[]).await.unwrap().0
    }
}

/// A connection that has been sent its challenge.
pub struct Greeted {
    /// The connection.
    pub tls: TlsStream<TcpStream>,
    /// The challenge.
    pub challenge: Vec<u8>,
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
