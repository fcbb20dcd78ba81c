//! What hosts show of their audits and certificates, for whoever remembers it.

use lariat_base::certificate::CertificateInfo;
use lariat_wire::protocol::audit::AuditHead;

use crate::peer::Peer;

/// Remembers what hosts show: the newest lines of their audits, and their certificates.
pub trait Witness: Send + Sync {
    /// A connection to this host is about to be begun. What the host shows on it goes to the result. An honest host
    /// shows nothing on it that is older than what it had shown before this call.
    fn connecting(&self, peer: &Peer) -> Shown;

    /// This host has proved itself with this certificate.
    fn certified(&self, peer: &Peer, certificate: &CertificateInfo);
}

/// Is called with each line that a host shows on a connection.
pub type Shown = Box<dyn FnMut(AuditHead) + Send + Sync>;

impl Witness for () {
    fn connecting(&self, _: &Peer) -> Shown {
        Box::new(|_| ())
    }

    fn certified(&self, _: &Peer, _: &CertificateInfo) {}
}
