//! Messages that give a host a new certificate. Its private key never leaves it.
//!
//! ```text
//! controller          agent
//!   Renew        →
//!                ←    SigningRequest | Failed
//!   Install      →                              on this connection: the certificate is tried
//!                ←    Installed | Failed
//!   Install      →                              on a connection that was made with it: it is kept
//!                ←    Installed | Failed
//! ```

use serde::{Deserialize, Serialize};

use crate::limits::MAX_CERTIFICATE;
use crate::protocol::invalid::Invalid;

/// Asks for a signing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Whether the host creates a new private key. Otherwise the certificate is for the one that it has.
    pub new_key: bool,
}

/// Answers [`Renew`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRequest {
    /// A PKCS#10 request in DER (RFC 2986), signed by the private key.
    pub request: Vec<u8>,
    /// The end of the present certificate, in seconds since 1970.
    pub not_after: i64,
}

/// Hands over a certificate for the key of the last [`SigningRequest`]. It may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// The certificate in DER.
    pub certificate: Vec<u8>,
}

/// Answers [`Install`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Whether the certificate is on disk. Otherwise new connections are made with it for a minute.
    pub is_kept: bool,
}

impl SigningRequest {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        check_len(&self.request)
    }
}

impl Install {
    /// Checks what the type can't ensure.
    pub fn check(&self) -> Result<(), Invalid> {
        check_len(&self.certificate)
    }
}

fn check_len(der: &[u8]) -> Result<(), Invalid> {
    if der.len() <= MAX_CERTIFICATE { Ok(()) } else { Err(Invalid::Certificate) }
}
