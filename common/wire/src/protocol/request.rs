//! What any session may say at any time, and the list of requests.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::MAX_NAME;
use crate::protocol::clean::Clean;
use crate::protocol::exec::{Attach, Command, Run};
use crate::protocol::grant::Verb;
use crate::protocol::job::{Kill, List, Logs};
use crate::protocol::transfer::{Pull, Push};
use crate::protocol::tree::PushTree;
use crate::protocol::{Kind, Message};

/// Asks for a [`Pong`] at once. Either end, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

/// Answers a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's.
    pub nonce: u64,
}

/// The agent takes no more requests on this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// When to come back, in milliseconds.
    pub retry_after_ms: u64,
}

/// What a controller may ask of an agent, one at a time.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a session holds one at a time, and never moves it")]
pub enum Request {
    /// Run a command.
    Run(Run),
    /// Go on with a command.
    Attach(Attach),
    /// Name the key's jobs.
    List(List),
    /// Read a detached job's output.
    Logs(Logs),
    /// Signal a job.
    Kill(Kill),
    /// Send files to the host, or fetch them.
    File(FileRequest),
}

/// The requests that are about files: those that are done with a user's rights over them.
#[derive(Clone, Debug)]
pub enum FileRequest {
    /// Send a file to the host.
    Push(Push),
    /// Send a directory to the host.
    PushTree(PushTree),
    /// Fetch a file or a directory from the host.
    Pull(Pull),
    /// Remove abandoned temporary files.
    Clean(Clean),
}

impl FileRequest {
    /// The user that it asks to be done as, if another than the agent's own.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Push(push) => push.user.as_deref(),
            Self::PushTree(push) => push.user.as_deref(),
            Self::Pull(pull) => pull.user.as_deref(),
            Self::Clean(clean) => clean.user.as_deref(),
        }
    }

    /// The verb that a key needs for it.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Push(_) | Self::PushTree(_) | Self::Clean(_) => Verb::Push,
            Self::Pull(_) => Verb::Pull,
        }
    }

    /// Bytes of memory that its rules and lists take once they are read, about.
    pub fn memory(&self) -> usize {
        const RULE: usize = 8 * 1024;
        const PATH: usize = 128;
        let options = match self {
            Self::Push(_) | Self::Clean(_) => return 0,
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

    /// The kind and the payload of its frame.
    pub fn encode(&self) -> Result<(Kind, Vec<u8>), CodecError> {
        Ok(match self {
            Self::Push(push) => (Push::KIND, codec::encode(push)?),
            Self::PushTree(push) => (PushTree::KIND, codec::encode(push)?),
            Self::Pull(pull) => (Pull::KIND, codec::encode(pull)?),
            Self::Clean(clean) => (Clean::KIND, codec::encode(clean)?),
        })
    }

    /// Reads such a request's frame.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, BadRequest> {
        match Request::decode(kind, payload)? {
            Request::File(request) => Ok(request),
            _ => Err(BadRequest::Kind(kind)),
        }
    }
}

/// Whether a user could have this name, if one is given; the host knows which there are.
pub(super) fn may_name_user(user: Option<&str>) -> bool {
    // A longer one no user database holds.
    user.is_none_or(|name| (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0'))
}

/// Why a frame is no request.
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
    /// Reads a request's frame.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, BadRequest> {
        match kind {
            Run::KIND => Ok(Self::Run(codec::decode(payload)?)),
            Attach::KIND => Ok(Self::Attach(codec::decode(payload)?)),
            List::KIND => Ok(Self::List(codec::decode(payload)?)),
            Logs::KIND => Ok(Self::Logs(codec::decode(payload)?)),
            Kill::KIND => Ok(Self::Kill(codec::decode(payload)?)),
            Push::KIND => Ok(Self::File(FileRequest::Push(codec::decode(payload)?))),
            PushTree::KIND => Ok(Self::File(FileRequest::PushTree(codec::decode(payload)?))),
            Pull::KIND => Ok(Self::File(FileRequest::Pull(codec::decode(payload)?))),
            Clean::KIND => Ok(Self::File(FileRequest::Clean(codec::decode(payload)?))),
            other => Err(BadRequest::Kind(other)),
        }
    }

    /// The user that it asks to be done as, if another than the agent's own.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Run(run) => run.user.as_deref(),
            // A job has its user.
            Self::Attach(_) | Self::List(_) | Self::Logs(_) | Self::Kill(_) => None,
            Self::File(request) => request.user(),
        }
    }

    /// Whether a frame of this kind asks for something.
    pub fn is_request(kind: Kind) -> bool {
        use Kind::{Attach, Clean, Kill, List, Logs, Pull, Push, PushTree, Run};
        matches!(kind, Run | Attach | List | Logs | Kill | Push | PushTree | Pull | Clean)
    }

    /// The verb that a key needs for it.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Run(Run { command: Command::Login, .. }) => Verb::Shell,
            Self::Run(_) | Self::Attach(_) => Verb::Run,
            Self::List(_) | Self::Logs(_) | Self::Kill(_) => Verb::Jobs,
            Self::File(request) => request.verb(),
        }
    }
}
