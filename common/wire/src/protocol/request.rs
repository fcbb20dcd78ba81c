//! The requests: a table of their types, the verbs that they need, the users that they act as, and whether they may
//! be sent together with the login.

use super::Kind;
use super::audit::{AcceptAudit, ReadAudit};
use super::can::Can;
use super::clean::Clean;
use super::connect::{Connect, ConnectUnix, Park};
use super::doctor::Examine;
use super::exec::{Attach, Run};
use super::invalid::Invalid;
use super::job::{self, Kill, List, Logs};
use super::key::{KeyAdd, KeyAllow, KeyList, KeyRevoke, KeyRotate};
use super::listen::{Listen, Take};
use super::message::Message;
use super::note::{ClearNotes, ReadNotes, WriteNote};
use super::pull::Pull;
use super::renewal::{Install, Renew};
use super::status::Status;
use super::transfer::{Lane, Push};
use super::tree::PushTree;
use super::upgrade::{Confirm, SendAgent, Upgrade};
use super::verb::Verb;
use crate::codec::{self, CodecError};

macro_rules! requests {
    ($(
        $(#[$doc:meta])*
        enum $set:ident {
            $($(#[$about:meta])* $name:ident, $verb:expr, $user:expr, $flight:ident;)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "a session holds one at a time, and never moves it")]
        pub enum $set {
            $($(#[$about])* $name($name),)*
        }

        impl $set {
            /// The kinds of frame that open one of these requests.
            pub const KINDS: &[Kind] = &[$($name::KIND,)*];

            /// When a request of this kind may be sent; `None` for any other kind.
            const fn flight(kind: Kind) -> Option<Flight> {
                match kind {
                    $($name::KIND => Some(Flight::$flight),)*
                    _ => None,
                }
            }

            /// Decodes the frame of such a request, without [`Self::check`]. Returns `None` for any other
            /// kind.
            pub fn decode(kind: Kind, payload: &[u8]) -> Option<Result<Self, CodecError>> {
                match kind {
                    $($name::KIND => Some(codec::decode(payload).map(Self::$name)),)*
                    _ => None,
                }
            }

            /// Encodes the request's frame: its kind and payload.
            pub fn encode(&self) -> Result<(Kind, Vec<u8>), CodecError> {
                match self {
                    $(Self::$name(request) => Ok(($name::KIND, codec::encode(request)?)),)*
                }
            }

            /// Checks what the types can't ensure.
            pub fn check(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$name(request) => Message::check(request),)*
                }
            }

            /// The verb that the request needs.
            pub fn verb(&self) -> Verb {
                match self {
                    $(Self::$name(request) => {
                        let verb: fn(&$name) -> Verb = $verb;
                        verb(request)
                    })*
                }
            }

            /// The user that the request asks to act as, if not the agent's own.
            pub fn user(&self) -> Option<&str> {
                match self {
                    $(Self::$name(request) => {
                        let user: fn(&$name) -> Option<&str> = $user;
                        user(request)
                    })*
                }
            }
        }
    )*};
}

/// When a controller may send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    /// Together with the login, before the agent has proved itself. Only for what looks, or is itself made sure of.
    First,
    /// Once the agent's proof holds.
    Second,
}

requests! {
    /// Requests about jobs. Jobs run under supervisors, which have their user's rights.
    enum JobRequest {
        /// Run a command.
        Run, Run::verb, |run| run.user.as_deref(), First;
        /// Continue a command on another connection.
        Attach, |_| Verb::Run, |_| None, First;
        /// List jobs.
        List, |list| job::verb(list.all_keys), |_| None, First;
        /// Read a detached job's output.
        Logs, |logs| job::verb(logs.all_keys), |_| None, First;
        /// Signal a job.
        Kill, |kill| job::verb(kill.all_keys), |_| None, Second;
    }

    /// Requests about files, served with a user's rights.
    enum FileRequest {
        /// Send a file to the host.
        Push, |_| Verb::Push, |push| push.user.as_deref(), First;
        /// Send a directory to the host.
        PushTree, |_| Verb::Push, |push| push.user.as_deref(), First;
        /// Fetch a file or a directory from the host.
        Pull, |_| Verb::Pull, |pull| pull.user.as_deref(), First;
        /// Remove abandoned temporary files.
        Clean, |_| Verb::Push, |clean| clean.user.as_deref(), Second;
        /// Add this connection to a transfer. It acts as the agent's own user; a worker's transfer has no lanes.
        Lane, Lane::verb, |_| None, First;
    }

    /// Requests about the keyring.
    enum KeyRequest {
        /// List its keys.
        KeyList, |_| Verb::Keys, |_| None, First;
        /// Add a key.
        KeyAdd, |_| Verb::Keys, |_| None, Second;
        /// Replace a key's rules.
        KeyAllow, |_| Verb::Keys, |_| None, Second;
        /// Remove a key.
        KeyRevoke, |_| Verb::Keys, |_| None, Second;
        /// Replace the key that asks, which needs no verb.
        KeyRotate, |_| Verb::Keys, |_| None, Second;
    }

    /// Requests about the host's certificate.
    enum CertificateRequest {
        /// Ask for a signing request.
        Renew, |_| Verb::Keys, |_| None, Second;
        /// Try a certificate, or keep it.
        Install, |_| Verb::Keys, |_| None, Second;
    }

    /// Requests about the agent itself.
    enum AgentRequest {
        /// Replace it.
        Upgrade, |_| Verb::Upgrade, |_| None, Second;
        /// Send the one that replaces it.
        SendAgent, |_| Verb::Upgrade, |_| None, Second;
        /// Confirm that it was replaced.
        Confirm, |_| Verb::Upgrade, |_| None, Second;
        /// Examine its host.
        Examine, |_| Verb::Status, |_| None, First;
    }

    /// Requests about how the host is, and notes on it.
    enum SightRequest {
        /// Ask for everything.
        Status, |_| Verb::Status, |_| None, First;
        /// Read notes.
        ReadNotes, |_| Verb::Status, |_| None, First;
        /// Leave a note.
        WriteNote, |_| Verb::Note, |_| None, Second;
        /// Clear notes.
        ClearNotes, |_| Verb::Note, |_| None, Second;
    }

    /// Requests about the audit.
    enum AuditRequest {
        /// Read it.
        ReadAudit, |_| Verb::Audit, |_| None, First;
        /// Accept it as it is.
        AcceptAudit, |_| Verb::Audit, |_| None, Second;
    }

    /// Requests for connections through the host.
    enum ConnectRequest {
        /// To an address. A TCP connection has no user.
        Connect, |_| Verb::Connect, |_| None, Second;
        /// To a unix socket.
        ConnectUnix, |_| Verb::Connect, |connect| connect.user.as_deref(), Second;
        /// Offer this connection to controllers of another host. No verb permits it, but the rule `park`.
        Park, |_| Verb::Listen, |_| None, Second;
        /// To the controller, from a port of the host.
        Listen, |_| Verb::Listen, |_| None, Second;
        /// Take one that has arrived there.
        Take, |_| Verb::Listen, |_| None, Second;
    }

    /// Requests about rules.
    enum RuleRequest {
        /// Ask what a key may do. About itself every key may ask.
        Can, |_| Verb::Keys, |_| None, First;
    }
}

/// A request of a controller; a session serves one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// About jobs.
    Job(JobRequest),
    /// About files.
    File(FileRequest),
    /// About the audit.
    Audit(AuditRequest),
    /// About the keyring.
    Key(KeyRequest),
    /// About rules.
    Rule(RuleRequest),
    /// About the host's certificate.
    Certificate(CertificateRequest),
    /// About the agent itself.
    Agent(AgentRequest),
    /// For a connection through the host.
    Connect(ConnectRequest),
    /// About how the host is, and notes on it.
    Sight(SightRequest),
}

/// Why a frame is not a request.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// Its kind is not a request's.
    #[error("a {0:?} frame is no request")]
    Kind(Kind),
    /// Its payload does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Request {
    /// Decodes a request's frame, without [`Request::check`].
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, BadRequest> {
        if let Some(request) = JobRequest::decode(kind, payload) {
            return Ok(Self::Job(request?));
        }
        if let Some(request) = RuleRequest::decode(kind, payload) {
            return Ok(Self::Rule(request?));
        }
        if let Some(request) = FileRequest::decode(kind, payload) {
            return Ok(Self::File(request?));
        }
        if let Some(request) = KeyRequest::decode(kind, payload) {
            return Ok(Self::Key(request?));
        }
        if let Some(request) = AuditRequest::decode(kind, payload) {
            return Ok(Self::Audit(request?));
        }
        if let Some(request) = CertificateRequest::decode(kind, payload) {
            return Ok(Self::Certificate(request?));
        }
        if let Some(request) = AgentRequest::decode(kind, payload) {
            return Ok(Self::Agent(request?));
        }
        if let Some(request) = ConnectRequest::decode(kind, payload) {
            return Ok(Self::Connect(request?));
        }
        if let Some(request) = SightRequest::decode(kind, payload) {
            return Ok(Self::Sight(request?));
        }
        Err(BadRequest::Kind(kind))
    }

    /// Encodes the request's frame: its kind and payload.
    pub fn encode(&self) -> Result<(Kind, Vec<u8>), CodecError> {
        match self {
            Self::Job(request) => request.encode(),
            Self::File(request) => request.encode(),
            Self::Key(request) => request.encode(),
            Self::Audit(request) => request.encode(),
            Self::Rule(request) => request.encode(),
            Self::Certificate(request) => request.encode(),
            Self::Agent(request) => request.encode(),
            Self::Connect(request) => request.encode(),
            Self::Sight(request) => request.encode(),
        }
    }

    /// Checks what the types can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Job(request) => request.check(),
            Self::File(request) => request.check(),
            Self::Audit(request) => request.check(),
            Self::Key(request) => request.check(),
            Self::Rule(request) => request.check(),
            Self::Certificate(request) => request.check(),
            Self::Agent(request) => request.check(),
            Self::Connect(request) => request.check(),
            Self::Sight(request) => request.check(),
        }
    }

    /// The verb that the request needs.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Job(request) => request.verb(),
            Self::File(request) => request.verb(),
            Self::Audit(request) => request.verb(),
            Self::Key(request) => request.verb(),
            Self::Rule(request) => request.verb(),
            Self::Certificate(request) => request.verb(),
            Self::Agent(request) => request.verb(),
            Self::Connect(request) => request.verb(),
            Self::Sight(request) => request.verb(),
        }
    }

    /// The user that the request asks to act as, if not the agent's own.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Job(request) => request.user(),
            Self::File(request) => request.user(),
            Self::Audit(request) => request.user(),
            Self::Key(request) => request.user(),
            Self::Rule(request) => request.user(),
            Self::Certificate(request) => request.user(),
            Self::Agent(request) => request.user(),
            Self::Connect(request) => request.user(),
            Self::Sight(request) => request.user(),
        }
    }
}

impl Kind {
    /// Whether a frame of this kind opens a request.
    pub fn is_request(self) -> bool {
        self.flight().is_some()
    }

    /// Whether a frame of this kind may be sent together with the login, before the agent has proved itself.
    pub fn may_precede_welcome(self) -> bool {
        self == Self::Ping || self.flight() == Some(Flight::First)
    }

    fn flight(self) -> Option<Flight> {
        let flight = JobRequest::flight(self).or_else(|| FileRequest::flight(self));
        flight
            .or_else(|| KeyRequest::flight(self))
            .or_else(|| AuditRequest::flight(self))
            .or_else(|| RuleRequest::flight(self))
            .or_else(|| CertificateRequest::flight(self))
            .or_else(|| AgentRequest::flight(self))
            .or_else(|| ConnectRequest::flight(self))
            .or_else(|| SightRequest::flight(self))
    }
}

impl FileRequest {
    /// Approximate bytes that its rules and lists take in memory once decoded.
    pub fn memory(&self) -> usize {
        const RULE: usize = 8 * 1024;
        const PATH: usize = 128;
        let options = match self {
            Self::Push(_) | Self::Clean(_) | Self::Lane(_) => return 0,
            Self::PushTree(push) => &push.options,
            Self::Pull(pull) => match &pull.tree {
                Some(options) => options,
                None => return 0,
            },
        };
        let rules = options.rules.len() * RULE;
        let only: usize = options.only.iter().map(|path| 2 * (PATH + path.len())).sum();
        rules + only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_of_the_table_open_requests() {
        for &kind in Kind::ALL {
            let decoded = Request::decode(kind, &[0xff; 3]);
            assert_eq!(matches!(decoded, Err(BadRequest::Codec(_))), kind.is_request(), "{kind:?}");
            assert!(!(kind.is_request() && (kind.is_session() || kind.is_bulk())), "{kind:?}");
        }
        assert_eq!(Kind::ALL.iter().filter(|kind| kind.is_request()).count(), 33);
    }

    #[test]
    fn what_changes_a_host_for_good_waits_for_its_proof() {
        use Kind::{
            Attach, Can, Examine, KeyList, Lane, List, Logs, Ping, Pull, Push, PushTree, ReadAudit,
            ReadNotes, Run, Status,
        };

        let early: Vec<_> = Kind::ALL.iter().filter(|kind| kind.may_precede_welcome()).collect();
        assert_eq!(
            early,
            [
                &Ping, &Run, &Attach, &List, &Logs, &Push, &Pull, &Lane, &PushTree, &Can,
                &ReadAudit, &KeyList, &Examine, &Status, &ReadNotes
            ]
        );
    }
}
