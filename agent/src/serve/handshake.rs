//! TLS and the login of a new connection, under one deadline.
//!
//! Everything that an unauthenticated peer can reach is in this file and in what it calls. No request is read
//! before the login is decided, and every failed login gets the same denial, the same time after it arrived.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_base::secret::NoRandomness;
use lariat_wire::auth::agent::{Challenged, LoggedIn, Refused};
use lariat_wire::auth::keyring::Decoys;
use lariat_wire::limits::DENIAL_DELAY;
use lariat_wire::link::{LinkError, hello_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::Denied;
use lariat_wire::tls::{ALPN, Channel, RecordAligned, Secrets, TakeOverError, exporter, provider};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::{Progress, Stage};
use crate::core::{Agent, at_login};
use crate::identity::Identity;
use crate::keyring::Entry;
use crate::policy::admit;
use crate::transport::{BoxStream, Detached, Movable, Origin, Socket};

/// How long a denied peer may take to hang up. Closing with unread bytes would reset the connection, and the
/// denial might be lost.
const LINGER: Duration = Duration::from_secs(1);

/// Authenticates connections: the TLS configuration and what logins are checked against.
pub struct Handshaker {
    tls: ServerConfig,
    host: HostName,
    agent: Arc<Agent>,
    decoys: Decoys,
}

/// An unauthenticated peer's connection.
type Tls = TlsStream<RecordAligned<Socket>>;

/// A controller that has logged in.
pub struct Authenticated {
    /// The controller's connection.
    pub connection: Connection,
    /// What the login proved.
    pub login: LoggedIn,
    /// The controller's key.
    pub key: Arc<Entry>,
    /// The certificate that the connection was made with, if it has TLS.
    pub identity: Option<Arc<Identity>>,
}

/// A connection that is attached to no runtime yet, to be moved to its session's.
pub enum Connection {
    /// Secured by TLS.
    Tls(Box<Channel<Socket>>),
    /// From this host itself, where nobody can eavesdrop.
    Local(Detached),
}

impl Connection {
    /// Attaches the connection to the current runtime.
    pub fn attach(self) -> io::Result<BoxStream> {
        Ok(match self {
            Self::Tls(mut channel) => {
                channel.get_mut().attach()?;
                channel
            }
            Self::Local(stream) => Box::new(stream.attach()?),
        })
    }
}

/// Why a peer was rejected. For the log only.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The peer hung up before it sent a byte.
    #[error("nothing was sent")]
    Nothing,
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The peer speaks TLS, but not lariat.
    #[error("TLS without the protocol lariat/1")]
    Protocol,
    /// The peer sent something other than a login, or hung up.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The login was refused.
    #[error("login denied: {why}")]
    Denied {
        /// The reason, as the wire crate reports it.
        refused: Refused,
        /// The key, and why it was refused.
        why: String,
    },
    /// The peer did not log in before the deadline.
    #[error("no login in time")]
    Late,
    /// An error of the agent itself.
    #[error("can't greet: {0}")]
    Local(#[source] io::Error),
}

impl From<rustls::Error> for Rejected {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(io::Error::other(error))
    }
}

impl From<TakeOverError> for Rejected {
    fn from(error: TakeOverError) -> Self {
        Self::Tls(io::Error::other(error))
    }
}

impl From<NoRandomness> for Rejected {
    fn from(error: NoRandomness) -> Self {
        Self::Local(io::Error::other(error))
    }
}

impl Rejected {
    /// The kind under which the log counts it.
    pub fn sort(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing was sent",
            Self::Tls(_) => "TLS failed",
            Self::Protocol => "another protocol",
            Self::Link(_) => "no login came",
            Self::Denied { refused: Refused::Now(_), .. } => "a key at a wrong time",
            Self::Denied { .. } => "login denied",
            Self::Late => "no login in time",
            Self::Local(_) => "can't greet",
        }
    }
}

impl Handshaker {
    /// Prepares TLS and what logins are checked against.
    pub fn new(agent: Arc<Agent>) -> io::Result<Self> {
        Ok(Self {
            tls: server_config(&agent.certificates.present()).map_err(io::Error::other)?,
            host: agent.config().name.clone(),
            agent,
            decoys: Decoys::new().map_err(io::Error::other)?,
        })
    }

    /// Authenticates a peer, from its first byte to its login, within the configured deadline.
    pub async fn greet(
        &self,
        stream: Movable,
        origin: &Origin,
        progress: Progress,
    ) -> Result<Authenticated, Rejected> {
        let deadline = self.agent.config().admission.login_deadline;
        timeout(deadline, self.login(stream, origin, progress)).await.unwrap_or(Err(Rejected::Late))
    }

    async fn login(
        &self,
        stream: Movable,
        origin: &Origin,
        progress: Progress,
    ) -> Result<Authenticated, Rejected> {
        let challenged = Challenged::new(&self.host)?;
        let socket = Socket::unauthenticated(stream).telling(progress.clone());
        let secrets = Secrets::default();
        let identity = self.agent.certificates.present();
        let mut tls = self.accept(socket, &challenged, &identity, &secrets).await?;
        let channel = exporter(tls.get_ref().1)?;
        let hello = read_hello(&mut tls).await;
        let arrived = Instant::now();
        let payload = match hello? {
            (Kind::Login, payload) => {
                progress.reached(Stage::Decided);
                payload
            }
            (other, _) => return Err(LinkError::Unexpected(other).into()),
        };
        let (keyring, config, clock) =
            (self.agent.keyring(), self.agent.config(), self.agent.clock());
        let admit = |key: &Entry| admit(key, &at_login(&config, clock, origin, key));
        let find = |id| keyring.candidate(&self.decoys, id, clock.now, |key| admit(key).is_ok());
        let decided = challenged.login(&channel, &payload, find);
        let found = decided.and_then(|login| {
            let login_id = login.key_id;
            let key = keyring.entry(login_id).cloned();
            key.map(|key| (login, key)).ok_or(Refused::Key(login_id))
        });
        match found {
            Ok((login, key)) => {
                let (stream, connection) = tls.into_inner();
                let mut channel = Channel::take_over(stream, connection, &secrets)?;
                let socket = channel.get_mut();
                socket.trust();
                socket.detach().map_err(Rejected::Local)?;
                let connection = Connection::Tls(Box::new(channel));
                Ok(Authenticated { connection, login, key, identity: Some(identity) })
            }
            Err(refused) => {
                deny(&mut tls, arrived).await;
                // Looked up only after the denial, so that its timing reveals nothing about the key.
                let why = |key: &Entry| match admit(key) {
                    Ok(()) => "it may not log in now".to_owned(),
                    Err((_, why)) => why,
                };
                Err(Rejected::Denied { refused, why: keyring.why_denied(refused, why) })
            }
        }
    }

    /// TLS, with the challenge in the agent's first flight.
    async fn accept(
        &self,
        socket: Socket,
        challenged: &Challenged,
        identity: &Identity,
        secrets: &Secrets,
    ) -> Result<Tls, Rejected> {
        let frame = hello_frame(Kind::Challenge, challenged.payload());
        let mut written = Ok(());
        let write = |tls: &mut ServerConnection| written = tls.writer().write_all(&frame);
        let mut config = self.tls.clone();
        config.cert_resolver = identity.resolver();
        secrets.keep_server(&mut config);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accept = acceptor.accept_with(RecordAligned::new(socket), write);
        written.map_err(Rejected::Local)?;
        let tls = accept.into_fallible().await.map_err(|(error, stream)| {
            match stream.get_ref().received() {
                0 => Rejected::Nothing,
                _ => Rejected::Tls(error),
            }
        })?;
        if tls.get_ref().1.alpn_protocol() == Some(ALPN) {
            Ok(tls)
        } else {
            Err(Rejected::Protocol)
        }
    }
}

/// TLS 1.3 with this host's certificate, without resumption or early data.
fn server_config(identity: &Identity) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_half_rtt_data = true;
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Sends the one denial that every failed login gets, at its fixed time. Errors are ignored.
async fn deny(tls: &mut Tls, arrived: Instant) {
    sleep_until(arrived + DENIAL_DELAY).await;
    if tls.write_all(&hello_frame(Kind::Denied, &Denied.encode())).await.is_err() {
        return;
    }
    // Discards what was sent along with the login, without decrypting it.
    let drain = async {
        tls.shutdown().await?;
        let mut buffer = [0; 4096];
        while tls.get_mut().0.get_mut().read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, drain).await;
}
