//! The messages before authentication. Each has a fixed length, no lists, and does not use serde.

use crate::protocol::audit::AuditHead;
use crate::protocol::verb::Verbs;
use lariat_base::name::{BootId, HostName, KeyId, SessionId};

/// The first bytes of every challenge, which identify lariat.
pub const MAGIC: [u8; 8] = *b"lariat\0\0";

/// Oldest protocol version that this code speaks.
pub const VERSION_MIN: u16 = 2;

/// Newest protocol version that this code speaks.
pub const VERSION_MAX: u16 = 2;

/// The feature of an agent that answers a request which it does not know, and goes on.
pub const ANSWERS_UNKNOWN: u64 = 1;

/// The feature of an agent that tells of new notes while a login shell is followed, and of a controller that then
/// expects them.
pub const TELLS_NOTES: u64 = 2;

/// The features that this code has.
pub const FEATURES: u64 = ANSWERS_UNKNOWN | TELLS_NOTES;

/// Length of a proof, in bytes.
pub const PROOF_LEN: usize = 32;

/// A payload has the wrong length or content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct BadHello(pub &'static str);

/// Agent → controller, with the first TLS flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Oldest version that the agent speaks.
    pub version_min: u16,
    /// Newest version that the agent speaks.
    pub version_max: u16,
    /// Optional features that the agent offers, one bit each: see [`FEATURES`].
    pub features: u64,
    /// The host's name.
    pub host: HostName,
    /// Fresh for every connection.
    pub nonce: [u8; 32],
    /// Largest frame payload that the agent accepts after authentication, in bytes.
    pub max_frame: u32,
}

/// Length of a [`Challenge`] payload in bytes.
pub const CHALLENGE_LEN: usize = 8 + 2 + 2 + 8 + 64 + 32 + 4;

impl Challenge {
    /// Encodes the payload.
    pub fn encode(&self) -> [u8; CHALLENGE_LEN] {
        let mut host = [0; 64];
        host[..self.host.as_str().len()].copy_from_slice(self.host.as_str().as_bytes());
        let mut out = Writer::default();
        out.put(&MAGIC);
        out.put(&self.version_min.to_le_bytes());
        out.put(&self.version_max.to_le_bytes());
        out.put(&self.features.to_le_bytes());
        out.put(&host);
        out.put(&self.nonce);
        out.put(&self.max_frame.to_le_bytes());
        out.finish()
    }

    /// Decodes a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, BadHello> {
        Self::parse(payload).ok_or(BadHello("challenge"))
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let mut input = Reader(payload);
        if input.take::<8>()? != MAGIC {
            return None;
        }
        let version_min = u16::from_le_bytes(input.take()?);
        let version_max = u16::from_le_bytes(input.take()?);
        let features = u64::from_le_bytes(input.take()?);
        let host = input.take::<64>()?;
        let nonce = input.take()?;
        let max_frame = u32::from_le_bytes(input.take()?);
        input.end()?;
        let end = host.iter().position(|&b| b == 0)?;
        if host[end..].iter().any(|&b| b != 0) {
            return None;
        }
        let host = std::str::from_utf8(&host[..end]).ok()?.parse().ok()?;
        Some(Self { version_min, version_max, features, host, nonce, max_frame })
    }
}

/// Controller → agent. The proof comes last, so that the rest can be hashed as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The version to speak, within the challenge's range.
    pub version: u16,
    /// Features to use, a subset of the challenge's.
    pub features: u64,
    /// The key that logs in.
    pub key_id: KeyId,
    /// Fresh for every connection.
    pub nonce: [u8; 32],
}

/// Length of a [`Login`] payload in bytes, its proof included.
pub const LOGIN_LEN: usize = 2 + 8 + 16 + 32 + PROOF_LEN;

impl Login {
    /// Encodes the payload without the proof that follows it.
    pub fn encode_unproven(&self) -> [u8; LOGIN_LEN - PROOF_LEN] {
        let mut out = Writer::default();
        out.put(&self.version.to_le_bytes());
        out.put(&self.features.to_le_bytes());
        out.put(&self.key_id.0);
        out.put(&self.nonce);
        out.finish()
    }

    /// Decodes a payload into the message and its proof.
    pub fn decode(payload: &[u8]) -> Result<(Self, [u8; PROOF_LEN]), BadHello> {
        Self::parse(payload).ok_or(BadHello("login"))
    }

    fn parse(payload: &[u8]) -> Option<(Self, [u8; PROOF_LEN])> {
        let mut input = Reader(payload);
        let login = Self {
            version: u16::from_le_bytes(input.take()?),
            features: u64::from_le_bytes(input.take()?),
            key_id: KeyId(input.take()?),
            nonce: input.take()?,
        };
        let proof = input.take()?;
        input.end()?;
        Some((login, proof))
    }
}

/// Agent → controller: the login succeeded. Carries the agent's own proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Shows that the agent knows this key's AgentKey.
    pub proof: [u8; PROOF_LEN],
    /// Identifies this connection in both ends' logs.
    pub session: SessionId,
    /// The host's boot.
    pub boot: BootId,
    /// The agent's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The features that this session uses: those of the login.
    pub features: u64,
    /// What the key may do.
    pub verbs: Verbs,
    /// The key's limits on concurrent sessions and jobs.
    pub limits: KeyLimits,
    /// The newest audit line on the host's disk.
    pub audit: AuditHead,
    /// Notes that the key's owner has not seen: their number, and as many of the oldest as fit.
    pub notes: UnreadNotes,
}

/// A key's own limits; 0 where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Concurrent sessions.
    pub sessions: u32,
    /// Concurrent jobs.
    pub jobs: u32,
}

/// Room for notes in a [`Welcome`], in bytes.
pub const NOTES_LEN: usize = 1024;

/// Notes that other operators left on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadNotes {
    /// The number of notes.
    pub count: u32,
    /// The oldest of them, in an encoding of their own, padded with zeros.
    pub room: Box<[u8; NOTES_LEN]>,
}

impl Default for UnreadNotes {
    fn default() -> Self {
        Self { count: 0, room: Box::new([0; NOTES_LEN]) }
    }
}

/// Length of a [`Welcome`] payload in bytes.
pub const WELCOME_LEN: usize =
    PROOF_LEN + 16 + 16 + 8 + 8 + 4 + 2 * 4 + (16 + 8 + 32) + 4 + NOTES_LEN;

impl Welcome {
    /// Encodes the payload.
    pub fn encode(&self) -> [u8; WELCOME_LEN] {
        let mut out = Writer(Vec::with_capacity(WELCOME_LEN));
        out.put(&self.proof);
        out.put(&self.session.0);
        out.put(&self.boot.0);
        out.put(&self.time_ms.to_le_bytes());
        out.put(&self.features.to_le_bytes());
        out.put(&self.verbs.bits().to_le_bytes());
        out.put(&self.limits.sessions.to_le_bytes());
        out.put(&self.limits.jobs.to_le_bytes());
        out.put(&self.audit.chain);
        out.put(&self.audit.seq.to_le_bytes());
        out.put(&self.audit.hash);
        out.put(&self.notes.count.to_le_bytes());
        out.put(&*self.notes.room);
        out.finish()
    }

    /// Decodes a payload. The proof is not checked here.
    pub fn decode(payload: &[u8]) -> Result<Self, BadHello> {
        Self::parse(payload).ok_or(BadHello("welcome"))
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let mut input = Reader(payload);
        let welcome = Self {
            proof: input.take()?,
            session: SessionId(input.take()?),
            boot: BootId(input.take()?),
            time_ms: u64::from_le_bytes(input.take()?),
            features: u64::from_le_bytes(input.take()?),
            verbs: Verbs::from_bits(u32::from_le_bytes(input.take()?)),
            limits: KeyLimits {
                sessions: u32::from_le_bytes(input.take()?),
                jobs: u32::from_le_bytes(input.take()?),
            },
            audit: AuditHead {
                chain: input.take()?,
                seq: u64::from_le_bytes(input.take()?),
                hash: input.take()?,
            },
            notes: UnreadNotes {
                count: u32::from_le_bytes(input.take()?),
                room: Box::new(input.take()?),
            },
        };
        input.end()?;
        Some(welcome)
    }
}

/// Agent → controller: the only answer to a failed login, whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

impl Denied {
    /// Encodes the payload: code 1.
    pub fn encode(self) -> [u8; 2] {
        1_u16.to_le_bytes()
    }

    /// Decodes a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, BadHello> {
        if payload == Self.encode() { Ok(Self) } else { Err(BadHello("denial")) }
    }
}

/// Builds a payload of exactly `N` bytes.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish<const N: usize>(self) -> [u8; N] {
        self.0.try_into().expect("the fields' lengths add up to the payload's")
    }
}

/// Takes fixed-size fields off a slice, and never reads past its end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_FRAME_UNAUTHENTICATED;
    use proptest::prelude::*;

    fn challenge() -> Challenge {
        Challenge {
            version_min: 2,
            version_max: 2,
            features: 0,
            host: "web-01".parse().unwrap(),
            nonce: [7; 32],
            max_frame: 1 << 20,
        }
    }

    fn login() -> Login {
        Login { version: 2, features: 0, key_id: KeyId([1; 16]), nonce: [2; 32] }
    }

    #[test]
    fn each_goes_there_and_back() {
        assert_eq!(Challenge::decode(&challenge().encode()), Ok(challenge()));
        let mut bytes = login().encode_unproven().to_vec();
        bytes.extend_from_slice(&[9; PROOF_LEN]);
        assert_eq!(Login::decode(&bytes), Ok((login(), [9; PROOF_LEN])));
        let welcome = Welcome {
            proof: [3; 32],
            session: SessionId([4; 16]),
            boot: BootId([5; 16]),
            time_ms: 6,
            features: 0,
            verbs: Verbs::all(),
            limits: KeyLimits { sessions: 7, jobs: 8 },
            audit: AuditHead { chain: [9; 16], seq: 10, hash: [11; 32] },
            notes: UnreadNotes { count: 12, room: Box::new([13; NOTES_LEN]) },
        };
        assert!(welcome.encode().len() <= MAX_FRAME_UNAUTHENTICATED);
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
        assert_eq!(Denied::decode(&Denied.encode()), Ok(Denied));
    }

    #[test]
    fn every_truncation_and_every_longer_payload_is_refused() {
        let whole = challenge().encode();
        for len in 0..whole.len() {
            assert!(Challenge::decode(&whole[..len]).is_err());
        }
        assert!(Challenge::decode(&[&whole[..], &[0]].concat()).is_err());
        let login = [&login().encode_unproven()[..], &[0; PROOF_LEN]].concat();
        for len in 0..login.len() {
            assert!(Login::decode(&login[..len]).is_err());
        }
    }

    #[test]
    fn a_name_that_goes_on_after_its_zero_is_refused() {
        let mut bytes = challenge().encode();
        bytes[8 + 2 + 2 + 8 + 63] = b'x';
        assert!(Challenge::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Challenge::decode(&bytes);
            let _ = Login::decode(&bytes);
            let _ = Welcome::decode(&bytes);
            let _ = Denied::decode(&bytes);
        }
    }
}
