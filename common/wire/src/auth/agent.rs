//! The agent's end of the login: a state machine without I/O.

use crate::auth::keyring::Candidate;
use crate::auth::proof::{Exporter, Transcript};
use crate::limits::MAX_FRAME;
use crate::protocol::audit::AuditHead;
use crate::protocol::hello::{
    CHALLENGE_LEN, Challenge, FEATURES, KeyLimits, Login, PROOF_LEN, UnreadNotes, VERSION_MAX,
    VERSION_MIN, WELCOME_LEN, Welcome,
};
use crate::protocol::verb::Verbs;
use lariat_base::name::{BootId, HostName, KeyId, SessionId};
use lariat_base::secret::{NoRandomness, random};

/// A connection that has been sent its challenge and has not logged in.
pub struct Challenged {
    challenge: [u8; CHALLENGE_LEN],
}

/// A login that succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// The key that was proved.
    pub key_id: KeyId,
    /// Identifies this connection.
    pub session: SessionId,
    welcome_proof: [u8; PROOF_LEN],
    /// The features that both ends have.
    pub features: u64,
}

/// What an agent's welcome contains besides the proof.
#[derive(Clone, Debug)]
pub struct Said {
    /// The host's boot.
    pub boot: BootId,
    /// The agent's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// What the key may do.
    pub verbs: Verbs,
    /// The key's limits on concurrent sessions and jobs.
    pub limits: KeyLimits,
    /// The newest audit line on the host's disk.
    pub audit: AuditHead,
    /// Notes that the key's owner has not seen.
    pub notes: UnreadNotes,
}

impl Said {
    /// A welcome without limits, audit and notes.
    pub fn new(boot: BootId, time_ms: u64, verbs: Verbs) -> Self {
        let (limits, audit, notes) = <(KeyLimits, AuditHead, UnreadNotes)>::default();
        Self { boot, time_ms, verbs, limits, audit, notes }
    }
}

/// A login failed. The cause is for the agent's log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The payload does not decode as a login.
    #[error("malformed login")]
    Malformed,
    /// The login names a version or a feature that was not offered.
    #[error("version or features that were not offered")]
    Version,
    /// The key is unknown, or its proof is wrong.
    #[error("unknown key, or wrong proof")]
    Key(KeyId),
    /// The key proved itself, but may not log in now or from there.
    #[error("a key that may not log in now or from there")]
    Now(KeyId),
    /// The system's random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessFailed),
}

/// [`NoRandomness`] as a comparable value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct RandomnessFailed;

impl Challenged {
    /// Makes a challenge for a new connection.
    pub fn new(host: &HostName) -> Result<Self, NoRandomness> {
        Self::offering(host, FEATURES)
    }

    /// Makes a challenge of an agent that has some of the features.
    pub fn offering(host: &HostName, features: u64) -> Result<Self, NoRandomness> {
        let challenge = Challenge {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features,
            host: host.clone(),
            nonce: random()?,
            max_frame: u32::try_from(MAX_FRAME).expect("the limit is about 1 MiB"),
        };
        Ok(Self { challenge: challenge.encode() })
    }

    /// The challenge's payload.
    pub fn payload(&self) -> &[u8; CHALLENGE_LEN] {
        &self.challenge
    }

    /// Decides on a login. `find` returns the candidate for any id, known or not; its `allowed` is evaluated
    /// only together with the proof, in constant time.
    pub fn login(
        self,
        exporter: &Exporter,
        payload: &[u8],
        find: impl FnOnce(KeyId) -> Candidate,
    ) -> Result<LoggedIn, Refused> {
        let (login, proof) = Login::decode(payload).map_err(|_| Refused::Malformed)?;
        let is_offered = login.features & !FEATURES == 0;
        if !(VERSION_MIN..=VERSION_MAX).contains(&login.version) || !is_offered {
            return Err(Refused::Version);
        }
        let unproven = &payload[..payload.len() - PROOF_LEN];
        let transcript = Transcript::new(exporter, &self.challenge, unproven);
        let candidate = find(login.key_id);
        let holds = candidate.verifier.login_holds(&transcript, &proof);
        if !(holds & candidate.allowed) {
            let refused = if holds { Refused::Now } else { Refused::Key };
            return Err(refused(login.key_id));
        }
        let session = SessionId::generate().map_err(|_| RandomnessFailed)?;
        let welcome_proof = candidate.verifier.welcome_proof(&transcript, &proof);
        Ok(LoggedIn { key_id: login.key_id, session, welcome_proof, features: login.features })
    }
}

impl LoggedIn {
    /// The login of a peer that the system has authenticated. Its welcome proves nothing.
    pub fn local(key_id: KeyId) -> Result<Self, NoRandomness> {
        let (session, welcome_proof) = (SessionId::generate()?, [0; PROOF_LEN]);
        Ok(Self { key_id, session, welcome_proof, features: FEATURES })
    }

    /// The payload of the welcome.
    pub fn welcome(&self, said: Said) -> [u8; WELCOME_LEN] {
        let Said { boot, time_ms, verbs, limits, audit, notes } = said;
        let (proof, session, features) = (self.welcome_proof, self.session, self.features);
        Welcome { proof, session, boot, time_ms, features, verbs, limits, audit, notes }.encode()
    }
}
