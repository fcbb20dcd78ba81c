//! What an agent looks up when a login names a key.

use crate::auth::proof::Verifier;
use lariat_base::name::KeyId;
use lariat_base::secret::{NoRandomness, Secret};

/// What is known of a key when its login is checked.
pub struct Candidate {
    /// Checks the login's proof.
    pub verifier: Verifier,
    /// Whether everything but the proof allows the login: the key is known, and its dates and
    /// networks fit.
    pub allowed: bool,
}

/// Makes entries for keys that are not there, so that an unknown key takes the identical path.
pub struct Decoys(Secret);

impl Decoys {
    /// A new secret for this process.
    pub fn new() -> Result<Self, NoRandomness> {
        Secret::generate().map(Self)
    }

    /// The entry for an unknown key: the same for the same id, never allowed.
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
