//! What an agent looks up when a login names a key.

use crate::auth::proof::Verifier;
use lariat_base::name::KeyId;
use lariat_base::secret::{NoRandomness, Secret};

/// What a login is checked against.
pub struct Candidate {
    /// Checks the login's proof.
    pub verifier: Verifier,
    /// Whether everything but the proof allows the login: the key is known, and its dates and networks match.
    pub allowed: bool,
}

/// Makes candidates for unknown keys, so that their logins take the same path.
pub struct Decoys(Secret);

impl Decoys {
    /// Decoys from a new secret.
    pub fn new() -> Result<Self, NoRandomness> {
        Secret::generate().map(Self)
    }

    /// The candidate for an unknown key: always the same for an id, never allowed.
    pub fn candidate(&self, id: KeyId) -> Candidate {
        let derive = |label: &[u8]| {
            let mut hash = blake3::Hasher::new_keyed(self.0.expose());
            hash.update(label).update(&id.0);
            Secret::new(hash.finalize().into())
        };
        let verifier = Verifier { stored: derive(b"stored"), agent: derive(b"agent") };
        Candidate { verifier, allowed: false }
    }
}
