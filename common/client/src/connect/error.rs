//! Why a host could not be reached: which host, where, the cause, and what to do about it.

use std::io;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_base::os_error::io_error;
use lariat_wire::auth::controller::LoginError;
use lariat_wire::link::LinkError;

use super::verify::Rejected;
use crate::dial::DialError;

/// A host could not be reached, or one end refused the other.
#[derive(Debug, thiserror::Error)]
#[error("{host}{}: {}", way(via.as_deref(), place), self.told())]
pub struct ConnectError {
    /// The host.
    pub host: HostName,
    /// The gateways on the way, if there are any.
    pub via: Option<String>,
    /// The address, or the socket of a local agent.
    pub place: String,
    /// The cause.
    #[source]
    pub cause: Box<Cause>,
    pub(super) stage: Stage,
    /// There was a connection, which was lost, and the attempts to replace it were given up after this time.
    pub(crate) lost: Option<Duration>,
}

/// How the host was to be reached, behind its name.
pub(crate) fn way(via: Option<&str>, place: &str) -> String {
    via.map_or_else(|| format!(" ({place})"), |via| format!(" via {via}"))
}

impl ConnectError {
    /// The connection to the host was lost before, and was not back within this time.
    pub(crate) fn after_loss(self, limit: Option<Duration>) -> Self {
        Self { lost: limit, ..self }
    }

    /// Whether there was a connection, which was lost and did not come back in its time.
    pub fn is_loss(&self) -> bool {
        self.lost.is_some()
    }

    fn told(&self) -> String {
        let cause = self.cause.to_string();
        let Some(limit) = self.lost else { return cause };
        // Advice for a host that has never answered is of no use here.
        let cause = cause.split("; ").next().unwrap_or_default();
        let cause = cause.strip_prefix("connect: ").unwrap_or(cause);
        format!("connection lost, and not back within {} s ({cause})", limit.as_secs_f32())
    }

    /// Whether one end refused the other, so that the same attempt fails again.
    pub fn is_refusal(&self) -> bool {
        match &*self.cause {
            Cause::Denied | Cause::Rejected(_) | Cause::Login(_) => true,
            Cause::Dial(DialError::Leg { is_refusal, .. }) => *is_refusal,
            _ => false,
        }
    }

    /// Whether the host itself has denied the login, with each key that there was to try.
    pub fn is_denial(&self) -> bool {
        matches!(*self.cause, Cause::Denied)
    }

    /// Whether the agent may have received the login and acted on the first request.
    pub fn may_have_asked(&self) -> bool {
        self.stage == Stage::Answer
    }

    /// Whether a connection existed before this happened.
    pub fn had_connection(&self) -> bool {
        self.stage != Stage::Connect
    }
}

/// How far an attempt to connect came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Resolving the address and connecting to it.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for the agent's challenge.
    Login,
    /// The login and the first request are sent; waiting for the agent's proof.
    Answer,
}

/// Why a host could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No connection to the address could be made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The deadline passed.
    #[error("no answer within {} s {}{}", limit.as_secs_f32(), stage.waiting(), stage.hint())]
    Timeout {
        /// The stage that did not end.
        stage: Stage,
        /// The time limit.
        limit: Duration,
    },
    /// The peer closed the connection in the TLS handshake.
    #[error(
        "it closed the connection at once; is it lariatd, or does it accept no more connections now?"
    )]
    Hangup,
    /// The stream failed in the TLS handshake.
    #[error("TLS handshake: {}", io_error(.0))]
    Io(#[source] io::Error),
    /// The peer does not speak TLS.
    #[error("what listens there does not speak TLS; is it lariatd's port?")]
    NotTls,
    /// The peer speaks TLS, but not `lariat/1`.
    #[error("what listens there speaks TLS but not lariat; is it lariatd's port?")]
    NotLariat,
    /// The certificate was not accepted.
    #[error(transparent)]
    Rejected(Rejected),
    /// TLS failed in another way.
    #[error("TLS handshake: {0}")]
    Tls(#[source] rustls::Error),
    /// The agent's messages in the login are wrong.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The agent denied the login.
    #[error(
        "the agent denied the login: this key is not in its keyring, may not log in now or from here, or the host was enrolled anew; the agent's log says which"
    )]
    Denied,
    /// The connection broke.
    #[error("the connection broke {}", .0.waiting())]
    Cut(Stage),
    /// The agent violated the protocol.
    #[error(transparent)]
    Link(LinkError),
}

impl Cause {
    pub(super) fn from_link(error: LinkError, stage: Stage) -> Self {
        match error {
            LinkError::Cut => Self::Cut(stage),
            error => Self::Link(error),
        }
    }
}

impl Stage {
    fn waiting(self) -> &'static str {
        match self {
            Self::Connect => "while connecting",
            Self::Tls => "in the TLS handshake",
            Self::Login => "before the login",
            Self::Answer => "after the login was sent",
        }
    }

    /// A likely reason why no answer comes.
    fn hint(self) -> &'static str {
        match self {
            // The handshake sends the first packets of full size.
            Self::Tls | Self::Login => {
                "; TCP connects, so either what listens there hangs, or large packets are lost on the way \
                 (MTU; try: ping -M do -s 1472 ADDRESS)"
            }
            Self::Connect => {
                "; is the host up, does a firewall let it through, and is the address in hosts.toml right?"
            }
            Self::Answer => "",
        }
    }
}
