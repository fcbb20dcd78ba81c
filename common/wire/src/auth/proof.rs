//! Keys, the transcript and the two proofs. docs/PROTOCOL.md has the formulas and the test vector.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use lariat_base::name::{EnrolmentId, HostName, KeyId};
use lariat_base::secret::Secret;

/// Label of the TLS exporter that the proofs are bound to (RFC 9266); its context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The exporter's 32 bytes: different for every connection, the same at both of its ends.
pub type Exporter = [u8; 32];

/// A proof as it is on the wire.
pub type Proof = [u8; 32];

const PREFIX: &str = "lariat/1";

/// What a controller holds for one host, derived from its key when it connects.
pub struct HostKeys {
    controller: Secret,
    agent: Secret,
}

/// What an agent's keyring holds for one key: enough to check a login, not to make one.
#[derive(Clone)]
pub struct Verifier {
    /// SHA-256 of the ControllerKey.
    pub stored: Secret,
    /// Proves the agent to the controller.
    pub agent: Secret,
}

/// The hash of everything that was sent before a proof.
pub struct Transcript(Zeroizing<[u8; 32]>);

/// A key's id: derived from the key, and revealing nothing about it.
pub fn key_id(key: &Secret) -> KeyId {
    let hash = sha256(&[&labelled(" key id"), key.expose()]);
    KeyId(*hash.first_chunk().expect("16 of 32 bytes"))
}

impl HostKeys {
    /// Derives what proves `key` to this enrollment of this host, and to no other.
    pub fn derive(key: &Secret, host: &HostName, enrolment: &EnrolmentId) -> Self {
        let host_key = hmac(
            key,
            &[&labelled(" host key"), &prefixed(host.as_str().as_bytes()), &prefixed(&enrolment.0)],
        );
        Self {
            controller: hmac(&host_key, &[&labelled(" controller key")]),
            agent: hmac(&host_key, &[&labelled(" agent key")]),
        }
    }

    /// What the host's keyring stores.
    pub fn verifier(&self) -> Verifier {
        let stored = Secret::new(*sha256(&[self.controller.expose()]));
        Verifier { stored, agent: self.agent.clone() }
    }

    /// The proof that goes into Login.
    pub fn login_proof(&self, transcript: &Transcript) -> Proof {
        xor(self.controller.expose(), controller_mac(&self.verifier().stored, transcript).expose())
    }

    /// Whether Welcome's proof is this host's. In constant time.
    pub fn welcome_holds(&self, transcript: &Transcript, login: &Proof, welcome: &Proof) -> bool {
        agent_mac(&self.agent, transcript, login).matches(welcome)
    }
}

impl Verifier {
    /// Whether Login's proof is of the key that this verifier was made from. In constant time.
    pub fn login_holds(&self, transcript: &Transcript, login: &Proof) -> bool {
        let controller =
            Zeroizing::new(xor(login, controller_mac(&self.stored, transcript).expose()));
        self.stored.matches(&sha256(&[controller.as_slice()]))
    }

    /// The proof that goes into Welcome.
    pub fn welcome_proof(&self, transcript: &Transcript, login: &Proof) -> Proof {
        *agent_mac(&self.agent, transcript, login).expose()
    }
}

impl Transcript {
    /// Hashes the payloads as they were sent or received, never a re-encoding.
    pub fn new(exporter: &Exporter, challenge: &[u8], login_without_proof: &[u8]) -> Self {
        Self(sha256(&[
            &labelled(" transcript"),
            &prefixed(exporter),
            &prefixed(challenge),
            &prefixed(login_without_proof),
        ]))
    }
}

fn controller_mac(stored: &Secret, transcript: &Transcript) -> Secret {
    hmac(stored, &[&labelled(" controller proof"), transcript.0.as_slice()])
}

fn agent_mac(agent: &Secret, transcript: &Transcript, login: &Proof) -> Secret {
    hmac(agent, &[&labelled(" agent proof"), transcript.0.as_slice(), login])
}

/// LP(x): a 32-bit little-endian length, then x.
pub(super) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("what is hashed here is a frame at most");
    [&len.to_le_bytes(), bytes].concat()
}

pub(super) fn labelled(label: &str) -> Vec<u8> {
    prefixed(format!("{PREFIX}{label}").as_bytes())
}

fn sha256(parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    Zeroizing::new(hash.finalize().into())
}

fn hmac(key: &Secret, parts: &[&[u8]]) -> Secret {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes any key length");
    parts.iter().for_each(|part| mac.update(part));
    Secret::new(mac.finalize().into_bytes().into())
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        hex::encode(bytes)
    }

    /// The vector of docs/PROTOCOL.md.
    #[test]
    fn test_vector() {
        let key = Secret::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let host = "web-01".parse().unwrap();
        let keys = HostKeys::derive(&key, &host, &EnrolmentId([0xe1; 16]));
        let verifier = keys.verifier();
        let transcript = Transcript::new(
            &[0xcb; 32],
            b"challenge-frame-payload",
            b"login-frame-payload-without-proof",
        );
        let login = keys.login_proof(&transcript);
        let welcome = verifier.welcome_proof(&transcript, &login);

        assert_eq!(key_id(&key).to_string(), "f200b37c89fbd07ebda24f234f12c0af");
        assert_eq!(
            hex(keys.controller.expose()),
            "830625442b9bb19ad498ba2c56645ed23998008dddaaa319363667a07f982581"
        );
        assert_eq!(
            hex(keys.agent.expose()),
            "19d6acbbf3919e8c3b6d72a2ed47ebf92219d6df5fb66426d55072a15c9af604"
        );
        assert_eq!(
            hex(verifier.stored.expose()),
            "60133679ebeb586685b731e6dd85484cdcd2871538932b54ca419ca54d2ccae5"
        );
        assert_eq!(
            hex(transcript.0.as_slice()),
            "5913fff3e4183fef0fc0828875954f355e4fdb029a0924606f495d8724066479"
        );
        assert_eq!(hex(&login), "c41dec7f44debc214e1d1bacfcde82bb07cf683529087dc75c2b4cf91a171651");
        assert_eq!(
            hex(&welcome),
            "15d9709b62d96c1a420eac156e5dd75ac0b80387601dc1d1e98979a196267d9f"
        );
        assert!(verifier.login_holds(&transcript, &login));
        assert!(keys.welcome_holds(&transcript, &login, &welcome));
    }

    #[test]
    fn another_host_or_enrolment_shares_nothing() {
        let key = Secret::generate().unwrap();
        let derive =
            |host: &str, id| HostKeys::derive(&key, &host.parse().unwrap(), &EnrolmentId([id; 16]));
        let transcript = Transcript::new(&[1; 32], b"c", b"l");
        let login = derive("web1", 1).login_proof(&transcript);
        assert!(derive("web1", 1).verifier().login_holds(&transcript, &login));
        assert!(!derive("web2", 1).verifier().login_holds(&transcript, &login));
        assert!(!derive("web1", 2).verifier().login_holds(&transcript, &login));
    }
}
