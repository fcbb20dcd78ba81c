//! Where a client has the key from that it proves itself with.

use lariat_base::name::KeyId;
use lariat_base::secret::Secret;

use crate::peer::Peer;

/// The keys of a controller. Most have one, a [`Secret`]; while it is being replaced there are two.
pub trait KeySource: Send + Sync {
    /// The key to log in to a host with.
    fn key(&self, peer: &Peer) -> Secret;

    /// Another key to try at a host that has denied the login with these.
    fn another(&self, peer: &Peer, denied: &[KeyId]) -> Option<Secret>;

    /// The host has let the key of this id in, and has proved that it knows it.
    fn accepted(&self, _peer: &Peer, _id: KeyId) {}
}

impl KeySource for Secret {
    fn key(&self, _: &Peer) -> Secret {
        self.clone()
    }

    fn another(&self, _: &Peer, _: &[KeyId]) -> Option<Secret> {
        None
    }
}
