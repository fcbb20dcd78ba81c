//! The controller's end of the login: a state machine without I/O.

use crate::auth::proof::{Exporter, HostKeys, Proof, Transcript, key_id};
use crate::limits::MAX_FRAME;
use crate::protocol::hello::{
    BadHello, Challenge, FEATURES, Login, VERSION_MAX, VERSION_MIN, Welcome,
};
use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::secret::{NoRandomness, Secret, random};

/// A controller that has sent its login and waits for the agent's proof.
pub struct Proving {
    keys: HostKeys,
    transcript: Transcript,
    proof: Proof,
}

/// Why the login can't continue.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A message of the agent is malformed.
    #[error("the agent sent a {0}")]
    Malformed(#[from] BadHello),
    /// The agent names another host.
    #[error("the agent says that it is {0}")]
    OtherHost(HostName),
    /// The two ends have no version in common.
    #[error(
        "the agent speaks protocol versions {min} to {max}, this lariat {VERSION_MIN} to {VERSION_MAX}"
    )]
    Version {
        /// The agent's oldest version.
        min: u16,
        /// The agent's newest version.
        max: u16,
    },
    /// The agent accepts only smaller frames than this version needs.
    #[error("the agent takes frames of {0} bytes at most, which is too little")]
    Frame(u32),
    /// The agent does not have the key that enrollment gave it.
    #[error("the agent could not prove that it is the host that was enrolled")]
    WrongProof,
    /// The system's random generator failed.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Proving {
    /// Answers a challenge. Returns the Login payload to send.
    pub fn answer(
        key: &Secret,
        host: &HostName,
        enrolment: &EnrolmentId,
        exporter: &Exporter,
        challenge_payload: &[u8],
    ) -> Result<(Self, Vec<u8>), LoginError> {
        let challenge = Challenge::decode(challenge_payload)?;
        if challenge.host != *host {
            return Err(LoginError::OtherHost(challenge.host));
        }
        let (min, max) = (challenge.version_min, challenge.version_max);
        if min > VERSION_MAX || max < VERSION_MIN || min > max {
            return Err(LoginError::Version { min, max });
        }
        if (challenge.max_frame as usize) < MAX_FRAME {
            return Err(LoginError::Frame(challenge.max_frame));
        }
        let version = max.min(VERSION_MAX);
        let features = challenge.features & FEATURES;
        let login = Login { version, features, key_id: key_id(key), nonce: random()? };
        let unproven = login.encode_unproven();
        let keys = HostKeys::derive(key, host, enrolment);
        let transcript = Transcript::new(exporter, challenge_payload, &unproven);
        let proof = keys.login_proof(&transcript);
        let payload = [&unproven[..], &proof].concat();
        Ok((Self { keys, transcript, proof }, payload))
    }

    /// Checks the agent's proof. Nothing that the agent sends may be used before.
    pub fn welcome(self, payload: &[u8]) -> Result<Welcome, LoginError> {
        let welcome = Welcome::decode(payload)?;
        if self.keys.welcome_holds(&self.transcript, &self.proof, &welcome.proof) {
            Ok(welcome)
        } else {
            Err(LoginError::WrongProof)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::agent::{Challenged, LoggedIn, Refused, Said};
    use crate::auth::keyring::{Candidate, Decoys};
    use crate::protocol::verb::Verbs;
    use lariat_base::name::BootId;

    const EXPORTER: Exporter = [5; 32];

    struct World {
        key: Secret,
        host: HostName,
        enrolment: EnrolmentId,
    }

    impl World {
        fn new() -> Self {
            Self {
                key: Secret::generate().unwrap(),
                host: "web1".parse().unwrap(),
                enrolment: EnrolmentId([1; 16]),
            }
        }

        fn answer(&self, challenged: &Challenged) -> (Proving, Vec<u8>) {
            Proving::answer(&self.key, &self.host, &self.enrolment, &EXPORTER, challenged.payload())
                .unwrap()
        }

        fn candidate(&self) -> Candidate {
            let keys = HostKeys::derive(&self.key, &self.host, &self.enrolment);
            Candidate { verifier: keys.verifier(), allowed: true }
        }

        fn decide(&self, challenged: Challenged, login: &[u8]) -> Result<LoggedIn, Refused> {
            challenged.login(&EXPORTER, login, |_| self.candidate())
        }
    }

    fn said() -> Said {
        Said::new(BootId([2; 16]), 3, Verbs::all())
    }

    #[test]
    fn both_prove_themselves() {
        let world = World::new();
        let challenged = Challenged::new(&world.host).unwrap();
        let (proving, login) = world.answer(&challenged);
        let logged_in = world.decide(challenged, &login).unwrap();
        assert_eq!(logged_in.key_id, key_id(&world.key));
        let welcome = proving.welcome(&logged_in.welcome(said())).unwrap();
        assert_eq!((welcome.boot, welcome.time_ms), (BootId([2; 16]), 3));
        assert_eq!(welcome.session, logged_in.session);
    }

    #[test]
    fn wrong_key_is_refused() {
        let (world, other) = (World::new(), World::new());
        let challenged = Challenged::new(&world.host).unwrap();
        let (_, login) = other.answer(&challenged);
        assert!(matches!(world.decide(challenged, &login).unwrap_err(), Refused::Key(_)));
    }

    #[test]
    fn unknown_key_is_refused_the_same_way() {
        let world = World::new();
        let decoys = Decoys::new().unwrap();
        let challenged = Challenged::new(&world.host).unwrap();
        let (_, login) = world.answer(&challenged);
        let refused = challenged.login(&EXPORTER, &login, |id| decoys.candidate(id));
        assert!(matches!(refused.unwrap_err(), Refused::Key(_)));
    }

    #[test]
    fn a_right_proof_of_a_key_that_is_not_allowed_is_refused() {
        let world = World::new();
        let challenged = Challenged::new(&world.host).unwrap();
        let (_, login) = world.answer(&challenged);
        let candidate = Candidate { allowed: false, ..world.candidate() };
        let refused = challenged.login(&EXPORTER, &login, |_| candidate);
        assert!(matches!(refused.unwrap_err(), Refused::Now(_)));
    }

    #[test]
    fn a_replayed_login_is_refused() {
        let world = World::new();
        let first = Challenged::new(&world.host).unwrap();
        let (_, login) = world.answer(&first);
        assert!(world.decide(first, &login).is_ok());
        let second = Challenged::new(&world.host).unwrap();
        assert!(matches!(world.decide(second, &login).unwrap_err(), Refused::Key(_)));
    }

    #[test]
    fn a_login_relayed_over_another_tls_connection_is_refused() {
        let world = World::new();
        let challenged = Challenged::new(&world.host).unwrap();
        let (_, login) = world.answer(&challenged);
        let refused = challenged.login(&[6; 32], &login, |_| world.candidate());
        assert!(matches!(refused.unwrap_err(), Refused::Key(_)));
    }

    #[test]
    fn another_hosts_challenge_is_not_answered() {
        let world = World::new();
        let challenged = Challenged::new(&"web2".parse().unwrap()).unwrap();
        let answer = Proving::answer(
            &world.key,
            &world.host,
            &world.enrolment,
            &EXPORTER,
            challenged.payload(),
        );
        assert!(matches!(answer, Err(LoginError::OtherHost(_))));
    }

    #[test]
    fn an_agent_that_knows_no_agent_key_is_found_out() {
        let world = World::new();
        let challenged = Challenged::new(&world.host).unwrap();
        let (proving, login) = world.answer(&challenged);
        let logged_in = world.decide(challenged, &login).unwrap();
        let mut welcome = logged_in.welcome(said());
        welcome[0] ^= 1;
        assert!(matches!(proving.welcome(&welcome), Err(LoginError::WrongProof)));
    }

    #[test]
    fn every_single_bit_flip_of_a_login_and_every_truncation_is_refused() {
        let world = World::new();
        for bit in 0..crate::protocol::hello::LOGIN_LEN * 8 {
            let challenged = Challenged::new(&world.host).unwrap();
            let (_, mut login) = world.answer(&challenged);
            login[bit / 8] ^= 1 << (bit % 8);
            assert!(world.decide(challenged, &login).is_err(), "bit {bit}");
        }
        for len in 0..crate::protocol::hello::LOGIN_LEN {
            let challenged = Challenged::new(&world.host).unwrap();
            let (_, login) = world.answer(&challenged);
            let refused = world.decide(challenged, &login[..len]);
            assert_eq!(refused.unwrap_err(), Refused::Malformed);
        }
    }
}
